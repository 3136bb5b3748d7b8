//! A meter with the handshake of IEC 62056-21, on a pty that keeps the speed of the daemon.

use serde_json::json;

use crate::support::{Site, Tty, assert_content, cloud, values, wait_until};

const METER: &str = r#"
[bus.serial.heat]
path = "tty"
poll = "iec62056"
poll_interval = "100 ms"
poll_timeout = "500 ms"
[sensor.heat]
bus = "heat"
format = "obis"
map = [{ channel = "6.8", attribute = "weight" }]
"#;

/// A data block with its checksum (IEC 62056-21, 8.1).
fn block(heat: &str) -> Vec<u8> {
    let data = format!("6.8({heat}*GJ)\r\n!\r\n\u{3}");
    let checksum = data.bytes().fold(0, |sum, byte| sum ^ byte);
    [&[2], data.as_bytes(), &[checksum]].concat()
}

#[tokio::test]
async fn meter_names_the_speed_of_its_data() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, METER);
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    let cases = [("5", 9_600, "0017.745"), ("4", 4_800, "0017.746")];
    for (round, (speed, baud_rate, heat)) in cases.into_iter().enumerate() {
        assert_eq!(tty.read_line(), "/?!\r");
        assert_eq!(tty.baud_rate(), 300, "of the request");
        // The optical head echoes.
        tty.write_bytes(format!("/?!\r\n/ISk{speed}MT174\r\n").as_bytes());
        assert_eq!(tty.read_line(), format!("\u{6}0{speed}0\r"));
        wait_until("the speed changes", || tty.baud_rate() == baud_rate);
        tty.write_bytes(&block(heat));
        wait_until("the data arrive", || values(&cloud, "weight").len() == round + 1);
    }
    assert_eq!(values(&cloud, "weight"), [json!(17.745), json!(17.746)]);
    // A mode B meter changes the speed at once, and its damaged block costs itself.
    for heat in ["0017.748", "0017.749"] {
        assert_eq!(tty.read_line(), "/?!\r");
        tty.write_bytes(b"/LGZEZMD310\r\n");
        wait_until("the speed changes", || tty.baud_rate() == 9_600);
        let mut block = block(heat);
        block[6] ^= u8::from(heat.ends_with('8'));
        tty.write_bytes(&block);
    }
    wait_until("the whole block arrives", || {
        values(&cloud, "weight").last() == Some(&json!(17.749))
    });
    assert_eq!(daemon.count("/ledger/heat/rejected/bad_checksum"), 1);
    assert_eq!(values(&cloud, "weight").len(), 3);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}
