//! A log that is written while the daemon runs, while it is stopped, and while it is killed.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::ops::Range;

use crate::support::{Site, assert_content, assert_counts, cloud, values, wait_until};

/// A log, and the bus that follows it.
const BUS: &str = r#"
[bus.file.log]
paths = ["app.log"]
mode = "tail"
interval = "50 ms"
[sensor.log]
bus = "log"
format = "key-value"
map = [{ channel = "n", attribute = "n" }]
"#;

fn append(site: &Site, numbers: Range<u64>) {
    let lines = numbers.fold(String::new(), |mut lines, n| {
        writeln!(lines, "n={n}").unwrap();
        lines
    });
    let mut file = File::options().create(true).append(true).open(site.path("app.log")).unwrap();
    file.write_all(lines.as_bytes()).unwrap();
}

fn rotate(site: &Site) {
    std::fs::rename(site.path("app.log"), site.path("app.log.1")).unwrap();
}

#[tokio::test]
async fn each_line_is_stored_once_across_kills_and_rotations() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, BUS);
    File::create(site.path("app.log")).unwrap().write_all(b"n=-1\n").unwrap();
    let mut end = 0;
    for round in 0..6 {
        let daemon = site.start();
        // The content before the first start is old.
        daemon.wait_for_log("log position changed");
        append(&site, end..end + 300);
        // Kills while some lines are committed and others are not.
        let some = usize::try_from(end).unwrap() + 1;
        wait_until("some arrive", || values(&cloud, "n").len() >= some);
        if round % 3 == 1 {
            assert!(daemon.terminate().success());
        } else {
            daemon.kill();
        }
        append(&site, end + 300..end + 400);
        if round % 2 == 0 {
            rotate(&site);
            append(&site, end + 400..end + 450);
            end += 50;
        }
        end += 400;
    }
    let daemon = site.start();
    wait_until("all arrive", || values(&cloud, "n").len() as u64 >= end);
    assert_counts(&cloud, end);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}
