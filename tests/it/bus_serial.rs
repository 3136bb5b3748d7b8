//! Serial lines: instruments that are polled, and ttys that other programs use.

use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::support::wait_until;
use crate::support::{PROGRAM, Site, Tty, assert_content, cloud, probe_tables, utf8, values};

#[tokio::test]
async fn silence_of_a_polled_instrument_is_logged_once() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.scale]
path = "tty"
poll = ["W?\n", "T?\n"]
poll_interval = "100 ms"
poll_timeout = "200 ms"
poll_gap = "10 ms"
[sensor.scale]
bus = "scale"
format = "key-value"
map = [{ channel = "w", attribute = "weight" }, { channel = "t", attribute = "tare" }]
"#,
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    for round in 0..3 {
        assert_eq!(tty.read_line(), "W?");
        tty.write(format!("w={round}\n"));
        assert_eq!(tty.read_line(), "T?");
        tty.write(format!("t={round}\n"));
    }
    wait_until("all answers arrive", || {
        values(&cloud, "weight") == [json!(0), json!(1), json!(2)]
            && values(&cloud, "tare") == [json!(0), json!(1), json!(2)]
    });
    for _ in 0..3 {
        assert_eq!((tty.read_line(), tty.read_line()), ("W?".into(), "T?".into()));
    }
    assert_eq!(daemon.log().matches("the instrument does not answer").count(), 1);
    tty.write("w=3\n");
    daemon.wait_for_log("the instrument answers again");
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn tty_in_use_is_opened_when_it_is_free() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [{ channel = "t", attribute = "t" }]
"#,
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let other = std::fs::File::open(site.path("tty")).unwrap();
    flock(&other, FlockOperation::LockExclusive).unwrap();
    let daemon = site.start();
    daemon.wait_for_log("another program uses it");
    drop(other);
    daemon.wait_for_log("serial line open");
    tty.write("t=1\n");
    wait_until("it arrives", || values(&cloud, "t") == [json!(1)]);
    assert_eq!(daemon.log().matches("another program uses it").count(), 1);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

/// The kernel lets programs with `CAP_SYS_ADMIN` open any tty, so root gives this capability away.
#[tokio::test]
async fn pty_of_a_killed_daemon_can_be_opened_again() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let _tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    daemon.kill();
    let mut probe = if rustix::process::geteuid().is_root() {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--inh-caps=-all", "--bounding-set=-sys_admin", PROGRAM]);
        setpriv
    } else {
        Command::new(PROGRAM)
    };
    probe.args(["sensor", "probe", "--for", "1s", "--baud-rate", "9600"]);
    let output = probe.arg(site.path("tty")).output().unwrap();
    let message = utf8(&output.stderr);
    assert!(!message.contains("in use") && message.contains("9600"), "{message}");
}

/// A pty has no transceiver. Neither have most USB adapters one that the kernel could switch.
#[tokio::test]
async fn driver_without_rs485_is_reported() {
    let cloud = cloud().await;
    let bus = "[bus.serial.probe]\npath = \"tty\"\nrs485 = \"rts\"\nrs485_delay = \"1 \
        ms\"\n[sensor.probe]\nbus = \"probe\"\nformat = \"key-value\"\nmap = [{ channel = \"n\", \
        attribute = \"n\" }]\n";
    let site = Site::new(&cloud, bus);
    let _tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("cannot set the RS-485 mode");
    assert!(daemon.terminate().success());
    site.write_config(
        &std::fs::read_to_string(site.config()).unwrap().replace("\"rts\"", "\"off\""),
    );
    let refused = site.run(&["check"]);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(message.contains("bus.serial.probe.rs485_delay: is for rs485 = \"rts\""), "{message}");
}

#[tokio::test]
async fn answers_have_the_topic_of_their_request() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.supply]
path = "tty"
poll = ["MEAS:VOLT?\n", "MEAS:CURR?\n"]
poll_topics = ["voltage", "current"]
poll_interval = "300 ms"
poll_timeout = "100 ms"
poll_gap = "10 ms"
[sensor.voltage]
bus = "supply"
topic = "voltage"
format = "text"
map = [{ channel = "value", attribute = "voltage" }]
[sensor.current]
bus = "supply"
topic = "current"
format = "text"
map = [{ channel = "value", attribute = "current" }]
"#,
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    // The second answer to the current is missing.
    for (question, answer) in [
        ("MEAS:VOLT?", "1.20E+1\n"),
        ("MEAS:CURR?", "3.0E-1\n"),
        ("MEAS:VOLT?", "1.21E+1\n"),
        ("MEAS:CURR?", ""),
        ("MEAS:VOLT?", "1.22E+1\n"),
    ] {
        assert_eq!(tty.read_line(), question);
        tty.write(answer);
    }
    wait_until("the answers arrive", || {
        values(&cloud, "voltage") == [json!(12.0), json!(12.1), json!(12.2)]
            && values(&cloud, "current") == [json!(0.3)]
    });
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

/// Without the drop, 2 and 21.5 become 221.5.
#[tokio::test]
async fn half_an_answer_is_not_joined_to_the_next() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.scale]
path = "tty"
poll = ["W\n", "T\n"]
poll_interval = "300 ms"
poll_timeout = "100 ms"
poll_gap = "10 ms"
[sensor.scale]
bus = "scale"
format = "text"
map = [{ channel = "value", attribute = "weight" }]
"#,
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    for (question, answer) in
        [("W", "21.5\n"), ("T", "1"), ("W", "21.5\r\n"), ("T", "2"), ("W", "3"), ("T", "4.5\n")]
    {
        assert_eq!(tty.read_line(), question);
        tty.write_bytes(answer.as_bytes());
    }
    let expected = [json!(21.5), json!(21.5), json!(4.5)];
    wait_until("the whole answers arrive", || values(&cloud, "weight") == expected);
    assert_eq!(daemon.count("/ledger/scale/rejected/incomplete"), 3);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn echo_of_a_question_is_not_its_answer() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.scale]
path = "tty"
poll = ["W?\r\n"]
poll_interval = "200 ms"
[sensor.scale]
bus = "scale"
format = "key-value"
map = [{ channel = "w", attribute = "weight" }]
"#,
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    for round in 0..3 {
        assert_eq!(tty.read_line(), "W?\r");
        tty.write_bytes(format!("W?\r\nw={round}\r\n").as_bytes());
    }
    let expected = [json!(0), json!(1), json!(2)];
    wait_until("the answers arrive", || values(&cloud, "weight") == expected);
    assert_eq!(daemon.status()["ledger"]["scale"]["rejected"], json!({}));
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn rest_of_a_line_after_opening_is_not_a_reading() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "csv"
map = [{ channel = "0", attribute = "t" }]
"#,
    );
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    tty.write_bytes(b"1.5,55\r\n121.5,55\r\n");
    wait_until("the whole line arrives", || values(&cloud, "t") == [json!(121.5)]);
    assert_eq!(daemon.count("/ledger/probe/rejected/noise"), 1);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}
