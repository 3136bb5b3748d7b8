//! `tidegate sensor probe` turns bytes on a real pseudo-terminal into a working configuration.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::{PROGRAM, Site, Tty, cloud, probe_tables, utf8, wait_until};

fn spawn(line: &Path, words: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(["sensor", "probe"]).arg(line).args(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn recording(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// Probes an instrument that sends these bytes repeatedly.
fn probe(site: &Site, bytes: &[u8]) -> Output {
    let mut tty = Tty::plugged(site.path("tty"));
    let mut child = spawn(&site.path("tty"), &["--for", "2s"]);
    wait_until("the probe ends", || {
        tty.try_write(bytes);
        child.try_wait().unwrap().is_some()
    });
    child.wait_with_output().unwrap()
}

#[test]
fn probed_tables_read_the_same_recording() {
    let frames: Vec<u8> = (0..9_u8)
        .flat_map(|n| [0xff, 0x86, 2, 3 * n, 0x47, 0, 0, 0, 0x31_u8.wrapping_sub(3 * n)])
        .collect();
    let cases = [
        ("key-value.txt", recording("key-value.txt"), "channel   flow = "),
        ("nmea.txt", recording("nmea.txt"), "channel   position = \"53."),
        ("obis.txt", recording("obis.txt"), "channel   1-0:1.8.1 = 576.239"),
        ("csv", b"t;h\n21.5;40\n21.6;41\n21.7;42\n".to_vec(), "\"t\":21.6"),
        ("json", b"{\"t\": 21.5}\r\n".to_vec(), "\"t\":21.5"),
        ("number", b"21.5\r\n21.7\r\n".to_vec(), "\"value\":21.7"),
        ("binary", frames, "channel   byte-3 = 24"),
    ];
    for (name, bytes, expected) in cases {
        let site = Site::at("http://127.0.0.1:1", "");
        let output = probe(&site, &bytes);
        let (tables, stderr) = (utf8(&output.stdout), utf8(&output.stderr));
        assert!(output.status.success(), "{name}: {stderr}");
        std::fs::create_dir(site.path("conf.d")).unwrap();
        std::fs::write(site.path("conf.d/probed.toml"), &tables).unwrap();
        let check = site.run(&["check"]);
        assert!(check.status.success(), "{name}: {}\nin:\n{tables}", utf8(&check.stderr));
        let record = site.path("record");
        std::fs::write(&record, &bytes).unwrap();
        let test = site.run(&["sensor", "test", "probed", "--input", record.to_str().unwrap()]);
        let shown = utf8(&test.stdout);
        assert!(shown.contains(expected), "{name}: {expected}\nin:\n{shown}\nby:\n{tables}");
    }
}

#[test]
fn silence_and_noise_give_advice() {
    let site = Site::at("http://127.0.0.1:1", "");
    let silent = Tty::plugged(site.path("silent"));
    let words = ["--for", "1s", "--baud-rate", "9600"];
    let output = spawn(&site.path("silent"), &words).wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(69), &b""[..]));
    assert!(utf8(&output.stderr).contains("no data arrived on"), "{}", utf8(&output.stderr));
    drop(silent);
    let mut noisy = Tty::plugged(site.path("noisy"));
    let mut child = spawn(&site.path("noisy"), &words);
    let mut state = 1_u32;
    wait_until("the probe ends", || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noisy.try_write(&[state.to_be_bytes()[0] | 0x80, state.to_be_bytes()[1]]);
        child.try_wait().unwrap().is_some()
    });
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", utf8(&output.stdout));
    assert!(utf8(&output.stderr).contains("no known format fits at any setting"));
}

#[test]
fn ctrl_c_prints_partial_findings() {
    let site = Site::at("http://127.0.0.1:1", "");
    let mut tty = Tty::plugged(site.path("tty"));
    let mut child = Command::new(PROGRAM)
        .args(["sensor", "probe", "--for", "1h"])
        .arg(site.path("tty"))
        .stdout(Stdio::piped())
        .stderr(std::fs::File::create(site.path("stderr")).unwrap())
        .spawn()
        .unwrap();
    // The probe discards bytes from before its start.
    wait_until("the probe has received bytes", || {
        tty.try_write(b"t=21.5\r\nt=21.6\r\n");
        std::fs::read_to_string(site.path("stderr")).unwrap().contains("receiving, ")
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    wait_until("the probe ends", || child.try_wait().unwrap().is_some());
    let output = child.wait_with_output().unwrap();
    assert!(utf8(&output.stdout).contains("format = \"key-value\""), "{}", utf8(&output.stdout));
}

#[tokio::test]
async fn probe_leaves_a_line_of_the_daemon_alone() {
    let site = Site::new(&cloud().await, &probe_tables(&["t"]));
    let _tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    let output = spawn(&site.path("tty"), &["--for", "1s"]).wait_with_output().unwrap();
    let stderr = utf8(&output.stderr);
    assert_eq!((output.status.code(), &*output.stdout), (Some(69), &b""[..]), "{stderr}");
    // A user who may not inspect the daemon's files gets the kernel's refusal.
    assert!(
        stderr.contains("is in use by tidegate") || stderr.contains("another program uses it"),
        "{stderr}"
    );
}

#[test]
fn probe_reports_a_path_that_is_no_tty() {
    let site = Site::at("http://127.0.0.1:1", "");
    std::fs::write(site.path("file"), "").unwrap();
    let cases =
        [("none", "is the adapter plugged in?"), ("file", "file: "), (".", "is it a serial port")];
    for (name, expected) in cases {
        let output = spawn(&site.path(name), &["--for", "1s"]).wait_with_output().unwrap();
        let stderr = utf8(&output.stderr);
        assert_eq!(
            (output.status.code(), &*output.stdout),
            (Some(69), &b""[..]),
            "{name}: {stderr}"
        );
        assert!(stderr.contains(expected), "{name}: {stderr}");
    }
}
