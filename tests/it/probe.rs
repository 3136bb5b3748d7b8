//! `tidegate sensor probe` turns bytes on a real pseudo-terminal into a working configuration.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::{PROGRAM, Site, Tty, cloud, probe_tables, utf8, wait_until};

fn spawn(line: &Path, words: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.args(["sensor", "probe"]).arg(line).args(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn recording(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)).unwrap()
}

/// Returns what an adapter at the speed `read` makes of bytes that were sent at the speed `sent`:
/// it takes a sample in the middle of each of its bits after a falling edge.
fn received(bytes: &[u8], sent: u32, read: u32) -> Vec<u8> {
    let bits = |byte: &u8| {
        let byte = *byte;
        let data = (0..8).map(move |bit| byte >> bit & 1 == 1);
        std::iter::once(false).chain(data).chain([true])
    };
    let bits: Vec<bool> = bytes.iter().flat_map(bits).collect();
    // In ticks, of which a bit of the sender has `read` and one of the receiver `sent`.
    let (sent, read) = (usize::try_from(sent).unwrap(), usize::try_from(read).unwrap());
    let level = |tick: usize| bits.get(tick / read).copied();
    let (mut at, mut received) = (0, Vec::new());
    let next = |at: usize| (at / read + 1) * read;
    loop {
        while level(at) == Some(true) {
            at = next(at);
        }
        if level(at).is_none() {
            return received;
        }
        let is_set = |bit: usize| level(at + sent * (2 * bit + 3) / 2).unwrap_or(true);
        received.push((0..8).fold(0, |byte, bit| byte | u8::from(is_set(bit)) << bit));
        at += sent * 19 / 2;
        while level(at) == Some(false) {
            at = next(at);
        }
    }
}

/// Probes an instrument that sends these bytes repeatedly. With a speed, the bytes arrive garbled
/// at other speeds.
fn probe(site: &Site, bytes: &[u8], speed: Option<u32>) -> Output {
    let mut tty = Tty::plugged(site.path("tty"));
    let time = if speed.is_some() { "1s" } else { "2s" };
    let mut child = spawn(&site.path("tty"), &["--for", time]);
    wait_until("the probe ends", || {
        let read = tty.baud_rate();
        if speed.is_some() {
            // As slow as a line, so that the probe evaluates few bytes.
            std::thread::sleep(Duration::from_millis(20));
        }
        match speed {
            Some(sent) if sent != read && read > 0 => tty.try_write(&received(bytes, sent, read)),
            Some(_) | None => tty.try_write(bytes),
        }
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
        assert_probed(name, &bytes, None, &[expected]);
    }
}

/// Probes an instrument, checks the tables, and reads the same bytes with them. Returns the tables.
fn assert_probed(name: &str, bytes: &[u8], speed: Option<u32>, expected: &[&str]) -> String {
    let site = Site::at("http://127.0.0.1:1", "");
    let output = probe(&site, bytes, speed);
    let (tables, stderr) = (utf8(&output.stdout), utf8(&output.stderr));
    assert!(output.status.success(), "{name}: {stderr}");
    std::fs::create_dir(site.path("conf.d")).unwrap();
    std::fs::write(site.path("conf.d/probed.toml"), &tables).unwrap();
    let check = site.run(&["check"]);
    assert!(check.status.success(), "{name}: {}\nin:\n{tables}", utf8(&check.stderr));
    let record = site.path("record");
    std::fs::write(&record, bytes).unwrap();
    let test = site.run(&["sensor", "test", "probed", "--input", record.to_str().unwrap()]);
    let shown = utf8(&test.stdout);
    for expected in expected {
        assert!(shown.contains(expected), "{name}: {expected}\nin:\n{shown}\nby:\n{tables}");
    }
    tables
}

/// An instrument and what its tables must contain.
#[derive(Clone)]
struct Instrument {
    name: &'static str,
    bytes: Vec<u8>,
    speed: u32,
    /// Parts of the tables.
    tables: &'static [&'static str],
    /// Parts of what `sensor test` prints.
    shown: &'static [&'static str],
}

/// Instruments that send lines.
fn line_instruments() -> Vec<Instrument> {
    let boat = b"$SDDPT,5.1,-0.5*7B\r\n$IIMTW,15.2,C*15\r\n$SDDBT,7.8,f,2.4,M,1.3,F*0D\r\n";
    let heat = b"/LUGCUH50\r\n\x026.8(0017.745*GJ)6.26(00413.97*m3)9.21(66153690)\r\n\
                 6.31(0018630*h)9.4(088*C&082*C)\r\n!\r\n\x03\x5d";
    vec![
        Instrument {
            name: "heat meter",
            bytes: heat.to_vec(),
            speed: 2_400,
            tables: &["baud_rate = 2400\n", "frame = \"dsmr\"\n", "format = \"obis\""],
            shown: &["channel   6.26 = 413.97", "channel   9.21 = 66153690", "6.8 = 17.745"],
        },
        Instrument {
            name: "Latin-1",
            bytes: b"T: 24.0\xb0C, H: 55 %\r\nT: 24.1\xb0C, H: 54 %\r\n".to_vec(),
            speed: 38_400,
            tables: &["baud_rate = 38400\n", "encoding = \"latin-1\"\n"],
            shown: &["24.1°C", "channel   H = 54", "\"T\":24.1"],
        },
        Instrument {
            name: "boat",
            bytes: boat.to_vec(),
            speed: 4_800,
            tables: &["baud_rate = 4800\n", "frame = \"nmea\"\n", "depthBelowKeel"],
            shown: &["channel   depthBelowKeel = 4.6", "channel   depthBelowTransducer = 2.4"],
        },
        Instrument {
            name: "scale",
            bytes: b"ST,GS,+  12,34kg\r\nUS,GS,-   2,40kg\r\n".to_vec(),
            speed: 19_200,
            tables: &["baud_rate = 19200\n", "decimal = \",\"\n", "format = \"regex\""],
            shown: &["\"value\":12.34", "\"value\":-2.4", "\"unit\":\"kg\""],
        },
    ]
}

/// Instruments whose frames have a checksum.
fn frame_instruments() -> Vec<Instrument> {
    vec![
        Instrument {
            name: "solar charger",
            bytes: recording("vedirect.bin"),
            speed: 19_200,
            tables: &["baud_rate = 19200\n", "frame = \"vedirect\"\n", "format = \"key-value\""],
            shown: &["channel   V = 12810", "channel   PPV = 105", "channel   PID = \"0xA053\""],
        },
        Instrument {
            name: "household meter",
            bytes: recording("sml.bin"),
            speed: 9_600,
            tables: &["baud_rate = 9600\n", "frame = \"sml\"\n", "format = \"sml\""],
            shown: &["channel   1-0:1.8.0 = "],
        },
        Instrument {
            name: "heat meter on M-Bus",
            bytes: recording("mbus.bin"),
            speed: 2_400,
            tables: &["baud_rate = 2400\n", "frame = \"mbus\"\n", "format = \"binary\""],
            shown: &["channel   byte-7 = 120"],
        },
        Instrument {
            name: "Modbus ASCII",
            bytes: b":F7031389000A60\r\n".to_vec(),
            speed: 57_600,
            tables: &["baud_rate = 57600\n", "frame = \"modbus-ascii\"\n"],
            shown: &["channel   byte-2 = 19", "channel   byte-5 = 10"],
        },
    ]
}

#[test]
fn probe_finds_speed_frame_and_notation() {
    let instruments = [line_instruments(), frame_instruments()].concat();
    std::thread::scope(|scope| {
        for Instrument { name, bytes, speed, tables, shown } in &instruments {
            scope.spawn(move || {
                let proposed = assert_probed(name, bytes, Some(*speed), shown);
                for part in *tables {
                    assert!(proposed.contains(part), "{name}: {part}\nin:\n{proposed}");
                }
            });
        }
    });
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
