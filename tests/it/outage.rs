//! While the cloud answers with server errors, retries cost next to nothing.

use tidegate_sandbox::{Action, Fault};

use crate::drain::{DEVICES, fill};
use crate::support::{
    Daemon, Site, assert_content, cloud, probe_tables, skip, test_name, wait_until,
};

/// The states of each device: some batches, so that a read of the next batch would be seen.
const STATES: u64 = 2_000;

/// The calls that are observed.
const CALLS: u64 = 20;

/// The most bytes that may be written meanwhile: the pages of the file of calls, a few times.
const WRITTEN_MAX: u64 = 64 << 10;

/// The most bytes that may be read meanwhile: answers of the cloud. The batches of the observed
/// calls have ten times as many.
const READ_MAX: u64 = 64 << 10;

/// What the daemon has read with system calls and written to disk, in bytes.
#[derive(Debug, Clone, Copy)]
struct Io {
    read: u64,
    written: u64,
}

impl Io {
    fn of(daemon: &Daemon) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{}/io", daemon.id())).unwrap();
        let number = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().parse().unwrap()
        };
        Self { read: number("rchar:"), written: number("write_bytes:") }
    }
}

#[tokio::test]
async fn retries_of_an_outage_read_and_write_nothing() {
    let cloud = cloud().await;
    let unavailable = Fault::Status(503, String::new());
    cloud.fail_next(Action::SendState, usize::MAX, unavailable);
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    site.replace_in_config("info,tidegate=debug", "info");
    site.replace_in_config("[reporter]\n", "[reporter]\nbatch_states_max = 500\n");
    fill(&site, STATES);
    let daemon = site.start();
    let calls = || cloud.counters().calls.get("sendState").copied().unwrap_or_default();
    wait_until("each device has failed", || calls() >= 10);
    if std::fs::read(format!("/proc/{}/io", daemon.id())).is_err() {
        return skip(test_name!(), "this user may not read the counters of the daemon's disk use");
    }
    let (before, first) = (Io::of(&daemon), calls());
    wait_until("more calls fail", || calls() >= first + CALLS);
    let after = Io::of(&daemon);
    let (read, written) = (after.read - before.read, after.written - before.written);
    eprintln!("{} failed calls: {read} bytes read, {written} bytes written", calls() - first);
    assert!(written <= WRITTEN_MAX, "{written} bytes written");
    assert!(read <= READ_MAX, "{read} bytes read");
    cloud.clear_faults();
    daemon.wait_until_sent();
    assert!(daemon.terminate().success());
    for device in DEVICES {
        let values = cloud.states(device);
        let values = values.iter().filter_map(|state| state.data["n"].as_u64());
        assert!((0..STATES).eq(values), "{device}");
    }
    site.outbox();
    assert_content(&cloud);
}
