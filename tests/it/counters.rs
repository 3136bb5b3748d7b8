//! Counters across stops, kills and reloads: no count is lost or doubled.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::ops::Range;

use crate::support::{Site, assert_content, cloud, values, wait_until};

/// A log with a counter, and the values that follow from it.
const BUS: &str = r#"
[bus.file.log]
paths = ["app.log"]
mode = "tail"
interval = "50 ms"
[sensor.log]
bus = "log"
format = "key-value"
[[sensor.log.map]]
channel = "n"
attribute = "n"
[[sensor.log.map]]
channel = "n"
attribute = "step"
derive = "increase"
counter_max = 249
[[sensor.log.map]]
channel = "n"
attribute = "total"
derive = "total"
counter_max = 249
[[sensor.log.map]]
channel = "n"
attribute = "perSecond"
derive = "increase"
counter_max = 249
aggregate = "sum"
window = "1 s"
window_start = "clock"
"#;

/// Appends the numbers that a counter of up to 249 shows.
fn append(site: &Site, numbers: Range<u64>) {
    let lines = numbers.fold(String::new(), |mut lines, n| {
        writeln!(lines, "n={}", n % 250).unwrap();
        lines
    });
    let mut file = File::options().create(true).append(true).open(site.path("app.log")).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

/// Returns a value that is a whole number.
fn whole(value: &serde_json::Value) -> u64 {
    value.as_f64().unwrap().to_string().parse().unwrap()
}

fn sum(cloud: &tidegate_sandbox::Sandbox, attribute: &str) -> u64 {
    values(cloud, attribute).iter().map(whole).sum()
}

#[tokio::test]
async fn counts_are_exact_across_kills_and_reloads() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, BUS);
    File::create(site.path("app.log")).unwrap().write_all(b"n=0\n").unwrap();
    let mut end: u64 = 0;
    for round in 0..6 {
        let daemon = site.start();
        // The content before the first start is old.
        daemon.wait_for_log("log position changed");
        append(&site, end..end + 300);
        // Kills while some lines are committed and others are not.
        let some = usize::try_from(end).unwrap() + 1;
        wait_until("some arrive", || values(&cloud, "n").len() >= some);
        match round % 3 {
            0 => daemon.kill(),
            1 => assert!(daemon.terminate().success()),
            _ => {
                // Another limit replaces the pipeline while lines arrive.
                let limits = ["interval = \"50 ms\"", "interval = \"60 ms\""];
                site.replace_in_config(limits[round / 3], limits[1 - round / 3]);
                daemon.hang_up();
                daemon.kill();
            }
        }
        append(&site, end + 300..end + 400);
        end += 400;
    }
    let daemon = site.start();
    wait_until("all arrive", || values(&cloud, "n").len() as u64 >= end);
    // The first number is the base of the others.
    let count = end - 1;
    wait_until("the last window ends", || sum(&cloud, "perSecond") >= count);
    assert_eq!(sum(&cloud, "step"), count);
    assert_eq!(values(&cloud, "total").last().map(whole), Some(count));
    assert_eq!(sum(&cloud, "perSecond"), count);
    assert_eq!(daemon.count("/ledger/log/filtered/baseline"), 2);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}
