//! Under systemd, log lines reach the journal as entries with fields.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixDatagram;

use crate::support::{
    PROGRAM, Site, TIMEOUT, probe_tables, skip, test_name, utf8, with_own_mounts,
};

/// Runs a program whose /run contains only a journal's socket. Needs mounts of its own.
const IN_A_RUN_OF_ITS_OWN: &str = r#"
mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/journal && touch /run/systemd/journal/socket &&
mount --bind "$0" /run/systemd/journal/socket && exec "$@"
"#;

/// Returns the fields of an entry (systemd.io, "Native Journal Protocol").
///
/// A field is a line `NAME=value`, or the name on its own line, the value's length in eight bytes,
/// and the value.
fn fields(mut entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    while let Some(end) = entry.iter().position(|byte| *byte == b'\n') {
        let (line, rest) = (&entry[..end], &entry[end + 1..]);
        if let Some(equals) = line.iter().position(|byte| *byte == b'=') {
            fields.insert(utf8(&line[..equals]), utf8(&line[equals + 1..]));
            entry = rest;
        } else {
            let (length, value) = rest.split_first_chunk().unwrap();
            let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
            fields.insert(utf8(line), utf8(&value[..length]));
            entry = &value[length + 1..];
        }
    }
    fields
}

#[test]
fn log_line_is_a_journal_entry_with_fields() {
    let Some(mut command) = with_own_mounts() else {
        skip(test_name!(), "this user may not mount file systems");
        return;
    };
    let site = Site::at("http://127.0.0.1:9", &probe_tables(&["n"]));
    let socket = UnixDatagram::bind(site.path("j")).unwrap();
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    let stderr = File::create(site.path("log")).unwrap();
    let metadata = stderr.metadata().unwrap();
    let mut daemon = command
        .args(["sh", "-c", IN_A_RUN_OF_ITS_OWN])
        .arg(site.path("j"))
        .args([PROGRAM, "run", "--config"])
        .arg(site.config())
        .env("JOURNAL_STREAM", format!("{}:{}", metadata.dev(), metadata.ino()))
        .stderr(stderr)
        .spawn()
        .unwrap();
    let absent = next_entry(&socket, "serial line not available; retrying");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    for (name, value) in [
        ("BUS", "probe"),
        ("PATH", &site.path("tty").to_string_lossy()),
        ("SYSLOG_IDENTIFIER", "tidegate"),
        ("PRIORITY", "4"),
        ("TARGET", "tidegate_bus::serial"),
    ] {
        assert_eq!(absent[name], value, "{name} of {absent:#?}");
    }
    assert_eq!(std::fs::read_to_string(site.path("log")).unwrap(), "", "the log file stays empty");
}

/// Returns the next entry whose message contains `text`.
fn next_entry(socket: &UnixDatagram, text: &str) -> BTreeMap<String, String> {
    let mut buffer = vec![0; 65_536];
    loop {
        let length = socket.recv(&mut buffer).expect("the journal gets an entry");
        let entry = fields(&buffer[..length]);
        if entry.get("MESSAGE").is_some_and(|message| message.contains(text)) {
            return entry;
        }
    }
}
