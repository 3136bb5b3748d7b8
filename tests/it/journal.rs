//! Under systemd, log lines reach the journal as entries with fields.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{PROGRAM, Site};

/// Runs a program whose /run is empty but for a journal's socket, in a mount namespace of its own.
const IN_A_RUN_OF_ITS_OWN: &str = r#"
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && touch /run/systemd/journal/socket &&
mount --bind "$0" /run/systemd/journal/socket && exec "$@"
"#;

/// Whether this system lets us make a namespace.
fn may_unshare() -> bool {
    let tried = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "true"])
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// The value of a field in an entry of the journal's native protocol.
fn field<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    entry.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn a_log_line_is_a_journal_entry_with_fields() {
    if !may_unshare() {
        eprintln!("not tested: user namespaces are not allowed here");
        return;
    }
    let site = Site::at("http://127.0.0.1:9", "");
    let socket = UnixDatagram::bind(site.path("j")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let stderr = File::create(site.path("log")).unwrap();
    let metadata = stderr.metadata().unwrap();
    let mut daemon = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", IN_A_RUN_OF_ITS_OWN])
        .arg(site.path("j"))
        .args([PROGRAM, "run", "--config"])
        .arg(site.config())
        .env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()))
        .stderr(stderr)
        .spawn()
        .unwrap();
    let mut entries = Vec::new();
    let mut buffer = vec![0; 65_536];
    while let Ok(length) = socket.recv(&mut buffer) {
        let entry = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let is_last = entry.contains("cloud") || entries.len() > 20;
        entries.push(entry);
        if is_last {
            break;
        }
    }
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    let starting = entries.iter().find(|entry| entry.contains("tidegate starting"));
    let starting = starting.unwrap_or_else(|| panic!("{entries:#?}"));
    assert_eq!(field(starting, "VERSION"), Some(env!("CARGO_PKG_VERSION")), "{starting}");
    assert_eq!(field(starting, "DEVICE_ID"), Some(tidegate_sandbox::GATEWAY_ID), "{starting}");
    assert_eq!(field(starting, "SYSLOG_IDENTIFIER"), Some("tidegate"), "{starting}");
    assert_eq!(field(starting, "PRIORITY"), Some("6"), "{starting}");
    assert_eq!(std::fs::read_to_string(site.path("log")).unwrap(), "", "nothing is told twice");
}
