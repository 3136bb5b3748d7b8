//! What is peculiar to serial lines: instruments that are asked, and ttys that others use.

use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use crate::support::{Site, Tty, assert_content, cloud, values, wait_until};

#[tokio::test]
async fn an_instrument_is_asked_and_its_silence_is_told_once() {
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
async fn a_tty_that_another_program_uses_is_waited_for() {
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

/// A pty has no transceiver, as most USB adapters have none that the kernel could switch.
#[tokio::test]
async fn a_driver_that_cannot_switch_a_transceiver_is_told() {
    let cloud = cloud().await;
    let bus = "[bus.serial.probe]\npath = \"tty\"\nrs485 = \"rts\"\nrs485_delay = \"1 ms\"\n[sensor.probe]\nbus = \"probe\"\nformat = \"key-value\"\nmap = [{ channel = \"n\", attribute = \"n\" }]\n";
    let site = Site::new(&cloud, bus);
    let _tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log(
        "its driver cannot switch an RS-485 transceiver; remove rs485 if the adapter switches by itself",
    );
    assert!(daemon.terminate().success());
    site.write_config(
        &std::fs::read_to_string(site.config()).unwrap().replace("\"rts\"", "\"off\""),
    );
    let refused = site.run(&["check"]);
    let told = String::from_utf8(refused.stderr).unwrap();
    assert!(told.contains("bus.serial.probe.rs485_delay: is for rs485 = \"rts\""), "{told}");
}
