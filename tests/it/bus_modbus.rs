//! Modbus against pymodbus, over TCP and over a serial line.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::support::{Site, assert_content, cloud, join_ttys, judge, values, wait_until};

/// A server that is stopped with the test.
pub(crate) struct Server(Child);

impl Server {
    pub(crate) fn start(kind: &str, place: &str) -> Self {
        let mut server = Command::new(judge())
            .args(["tests/conformance/modbus_server.py", kind, place])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Unit 1 answers, unit 2 does not; a refused address concerns no other register.
fn instruments(line: &str) -> String {
    format!(
        r#"
[bus.modbus.line]
{line}
interval = "100 ms"
timeout = "300 ms"
[bus.modbus.line.unit.pump]
id = 1
registers = [
  {{ channel = "flow", table = "input", address = 0, kind = "f32" }},
  {{ channel = "level", table = "input", address = 2, kind = "i16" }},
  {{ channel = "total", table = "input", address = 3, kind = "u32", order = "cdab" }},
  {{ channel = "model", table = "input", address = 5, kind = "text", length = 2 }},
  {{ channel = "code", table = "input", address = 7, kind = "bcd16" }},
  {{ channel = "alarm", table = "input", address = 2, kind = "bit0" }},
  {{ channel = "last", table = "holding", address = 159 }},
  {{ channel = "on", table = "coil", address = 3 }},
  {{ channel = "off", table = "coil", address = 2 }},
  {{ channel = "door", table = "discrete", address = 5 }},
  {{ channel = "none", table = "holding", address = 5000 }},
]
[bus.modbus.line.unit.dead]
id = 2
registers = [{{ channel = "flow", table = "input", address = 0 }}]
[sensor.pump]
bus = "line"
topic = "pump"
format = "json"
map = [
  {{ channel = "flow", attribute = "flow" }},
  {{ channel = "level", attribute = "level" }},
  {{ channel = "total", attribute = "total" }},
  {{ channel = "model", attribute = "model" }},
  {{ channel = "code", attribute = "code" }},
  {{ channel = "alarm", attribute = "alarm" }},
  {{ channel = "last", attribute = "top" }},
  {{ channel = "on", attribute = "on" }},
  {{ channel = "off", attribute = "off" }},
  {{ channel = "door", attribute = "door" }},
]
"#
    )
}

fn expected() -> [(&'static str, serde_json::Value); 10] {
    [
        ("flow", json!(21.5)),
        ("level", json!(-2)),
        ("total", json!(70_000)),
        ("model", json!("PUMP")),
        ("code", json!(1234)),
        ("alarm", json!(false)),
        ("top", json!(149)),
        ("on", json!(true)),
        ("off", json!(false)),
        ("door", json!(true)),
    ]
}

#[tokio::test]
async fn modbus_tcp_server_is_read_again_after_its_restart() {
    let cloud = cloud().await;
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = Site::new(&cloud, &instruments(&format!("tcp = \"127.0.0.1:{port}\"")));
    let daemon = site.start();
    daemon.wait_for_log("connection refused");
    let server = Server::start("tcp", &port.to_string());
    wait_until("all arrive", || {
        expected().iter().all(|(name, value)| values(&cloud, name).contains(value))
    });
    daemon.wait_for_log("no valid answer within 300ms");
    daemon.wait_for_log("it refuses Holding from 5000");
    drop(server);
    wait_until("the loss is seen", || daemon.log().matches("connection refused").count() >= 2);
    let before = values(&cloud, "flow").len();
    let _server = Server::start("tcp", &port.to_string());
    wait_until("it is read again", || values(&cloud, "flow").len() > before + 2);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn silent_or_damaged_units_do_not_stop_others() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &instruments("path = \"tty\"\nbaud_rate = 19200"));
    join_ttys(&site.path("tty"), &site.path("server"));
    let _server = Server::start("rtu", site.path("server").to_str().unwrap());
    let daemon = site.start();
    wait_until("all arrive, again and again", || {
        expected().iter().all(|(name, value)| {
            values(&cloud, name).iter().filter(|arrived| *arrived == value).count() >= 5
        })
    });
    for (name, value) in expected() {
        let wrong: Vec<_> =
            values(&cloud, name).into_iter().filter(|arrived| *arrived != value).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
    daemon.wait_for_log("no valid answer within 300ms");
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

/// The checksum of a frame on a serial line.
fn crc(frame: &[u8]) -> [u8; 2] {
    let crc = frame.iter().fold(0xffff_u16, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0xa001))
    });
    crc.to_le_bytes()
}

/// Starts a unit that answers each request after a delay, in order, with the register's address.
fn slow_unit(path: std::path::PathBuf, latency: impl Fn(usize) -> Duration + Send + 'static) {
    let mut asked = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut answering = asked.try_clone().unwrap();
    let (answer, due) = std::sync::mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        for (at, bytes) in due {
            std::thread::sleep(at.saturating_duration_since(Instant::now()));
            answering.write_all(&bytes).unwrap();
        }
    });
    std::thread::spawn(move || {
        let mut request = [0; 8];
        for number in 0.. {
            if asked.read_exact(&mut request).is_err() {
                return;
            }
            let mut frame = vec![request[0], request[1], 2, request[2], request[3]];
            frame.extend(crc(&frame));
            answer.send((Instant::now() + latency(number), frame)).unwrap();
        }
    });
}

#[tokio::test]
async fn late_answer_is_not_taken_for_another_register() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.modbus.line]
path = "tty"
interval = "100 ms"
timeout = "300 ms"
[bus.modbus.line.unit.pump]
id = 1
registers = [{ channel = "a", address = 100 }, { channel = "b", address = 200 }]
[sensor.pump]
bus = "line"
format = "json"
map = [{ channel = "a", attribute = "a" }, { channel = "b", attribute = "b" }]
"#,
    );
    join_ttys(&site.path("tty"), &site.path("unit"));
    // The unit is slow at times.
    slow_unit(site.path("unit"), |number| {
        Duration::from_millis(if number % 8 < 3 { 400 } else { 5 })
    });
    let daemon = site.start();
    wait_until("it is read many times", || values(&cloud, "b").len() >= 20);
    assert!(daemon.terminate().success());
    for (name, value) in [("a", json!(100)), ("b", json!(200))] {
        let values = values(&cloud, name);
        assert!(values.iter().all(|arrived| *arrived == value), "{name}: {values:?}");
    }
    site.outbox();
}

#[tokio::test]
async fn babbling_line_is_logged_and_read_afterwards() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.modbus.line]
path = "tty"
interval = "100 ms"
timeout = "300 ms"
[bus.modbus.line.unit.pump]
id = 1
registers = [{ channel = "a", address = 100 }]
[sensor.pump]
bus = "line"
format = "json"
map = [{ channel = "a", attribute = "a" }]
"#,
    );
    join_ttys(&site.path("tty"), &site.path("unit"));
    let is_over = Arc::new(AtomicBool::new(false));
    let (mut babble, is_quiet) =
        (std::fs::File::options().write(true).open(site.path("unit")).unwrap(), is_over.clone());
    let babbling = std::thread::spawn(move || {
        // The beginning of a valid answer, and bytes with which no frame begins.
        let bytes = [1, 3, 2, 0, 7, 1, 3, 250, 0xff, 0xff, 0].repeat(90);
        while !is_quiet.load(Ordering::Relaxed) {
            babble.write_all(&bytes).unwrap();
        }
    });
    let daemon = site.start();
    daemon.wait_for_log("cannot read; retrying");
    for _ in 0..3 {
        // Other units answer meanwhile.
        assert_eq!(daemon.count("/ledger/line/received"), 0);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    is_over.store(true, Ordering::Relaxed);
    babbling.join().unwrap();
    slow_unit(site.path("unit"), |_| Duration::from_millis(5));
    wait_until("it is read", || values(&cloud, "a").len() >= 3);
    assert!(values(&cloud, "a").iter().all(|value| *value == json!(100)));
    assert!(daemon.terminate().success());
    site.outbox();
}

/// The answers of a server to the first request on each connection. Later requests get valid
/// answers.
fn wrong_answers(request: [u8; 12]) -> Vec<Vec<u8>> {
    let [a, b, _, _, _, _, unit, function, ..] = request;
    let header = |id: [u8; 2], length: u8, unit: u8| vec![id[0], id[1], 0, 0, 0, length, unit];
    let good = |id, unit, body: &[u8]| [&header(id, 5, unit)[..], body].concat();
    let body = [function, 2, 0, 7];
    vec![
        // Silence.
        Vec::new(),
        // Of the last transaction, of another unit, of another function, and of another length.
        good([a, b.wrapping_sub(1)], unit, &body),
        good([a, b], unit + 1, &body),
        good([a, b], unit, &[4, 2, 0, 7]),
        [&header([a, b], 7, unit)[..], &[function, 4, 0, 7, 0, 7]].concat(),
        // Shorter and longer than declared, an odd length, another protocol, and an endless answer.
        [&header([a, b], 5, unit)[..], &body[..3]].concat(),
        [&header([a, b], 4, unit)[..], &body].concat(),
        [&header([a, b], 4, unit)[..], &[function, 1, 7]].concat(),
        [&[a, b, 9, 9, 0, 5, unit][..], &body].concat(),
        [&[a, b, 0, 0, 0xff, 0xff, unit][..], &[function; 60_000]].concat(),
        // An exception.
        [&header([a, b], 3, unit)[..], &[function | 0x80, 6]].concat(),
    ]
}

#[tokio::test]
async fn invalid_answers_give_no_wrong_value() {
    let cloud = cloud().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (turn, wrongs) = (Arc::new(AtomicUsize::new(0)), wrong_answers([0; 12]).len());
    let counted = Arc::clone(&turn);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, counted) = (stream.unwrap(), Arc::clone(&counted));
            std::thread::spawn(move || {
                let mut request = [0; 12];
                while stream.read_exact(&mut request).is_ok() {
                    // Each second request, so that the unit does not count as silent for long.
                    let turn = counted.fetch_add(1, Ordering::Relaxed);
                    let wrong = wrong_answers(request).into_iter().nth(turn / 2);
                    let answer = wrong.filter(|_| turn % 2 == 1).unwrap_or_else(|| {
                        let [a, b, .., unit, function, high, low, _, _] = request;
                        vec![a, b, 0, 0, 0, 5, unit, function, 2, high, low]
                    });
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let site = Site::new(
        &cloud,
        &format!(
            r#"
[bus.modbus.plant]
tcp = "127.0.0.1:{port}"
interval = "50 ms"
timeout = "200 ms"
[bus.modbus.plant.unit.press]
id = 1
registers = [{{ channel = "a", address = 100 }}, {{ channel = "b", address = 200 }}]
[sensor.press]
bus = "plant"
format = "json"
map = [{{ channel = "a", attribute = "a" }}, {{ channel = "b", attribute = "b" }}]
"#
        ),
    );
    let daemon = site.start();
    wait_until("it has answered wrong", || turn.load(Ordering::Relaxed) > 2 * wrongs);
    let before = values(&cloud, "b").len();
    wait_until("it is read again", || values(&cloud, "b").len() > before + 2);
    assert!(daemon.terminate().success());
    for (name, value) in [("a", json!(100)), ("b", json!(200))] {
        let values = values(&cloud, name);
        assert!(values.iter().all(|arrived| *arrived == value), "{name}: {values:?}");
    }
    site.outbox();
}

#[tokio::test]
async fn mistakes_in_a_modbus_line_are_reported() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.modbus.a]
tcp = "plc:99999"
baud_rate = 9600
[bus.modbus.a.unit.one]
registers = [
  { channel = "x", address = 65535, kind = "u32" },
  { channel = "y", address = 1, kind = "u8" },
  { channel = "z", table = "coil", address = 1, kind = "u16" },
]
[bus.modbus.b]
usb = "ftdi"
[bus.modbus.b.unit.one]
id = 248
"#,
    );
    let output = site.run(&["check"]);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(78), "{text}");
    for words in [
        "bus.modbus.a.baud_rate: is for a serial line, but tcp is set",
        "bus.modbus.a.tcp: \"plc:99999\" is not an address",
        "bus.modbus.a.unit.one.id: is missing",
        "bus.modbus.a.unit.one.registers.0.address: is 65535; give a value from 0 to 65534",
        "bus.modbus.a.unit.one.registers.1.kind: \"u8\" is not known",
        "bus.modbus.a.unit.one.registers.2.kind: is for words, but this table has bits",
        "bus.modbus.b.usb: \"ftdi\" is not a USB identity",
        "bus.modbus.b.unit.one.id: is 248; give a value from 1 to 247",
        "bus.modbus.b.unit.one.registers: is missing or empty",
    ] {
        assert!(text.contains(words), "{words}\nin: {text}");
    }
}
