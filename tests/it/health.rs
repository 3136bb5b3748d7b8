//! How the daemon is, as those see it who ask.

use std::process::Command;

use crate::support::{Site, cloud};

const PROBE: &str = r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [{ channel = "n", attribute = "n" }]
"#;

#[tokio::test]
async fn the_socket_speaks_http() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, PROBE);
    let _daemon = site.start();
    let curl = |path: &str| {
        let url = format!("http://tidegate{path}");
        let words = ["--silent", "--show-error", "--write-out", "%{http_code}", "--unix-socket"];
        let socket = site.path("s");
        let output = Command::new("curl").args(words).arg(socket).arg(url).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let answer = curl("/status");
    assert!(answer.starts_with("{\"version\":") && answer.ends_with("\n200"), "{answer}");
    let answer = curl("/");
    assert_eq!(answer, "{\"error\":\"there is nothing here; try /status\"}\n404");
}

#[tokio::test]
async fn a_daemon_that_is_not_running_is_told_and_has_its_own_exit_code() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, PROBE);
    let output = site.run(&["status"]);
    assert_eq!(output.status.code(), Some(69));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.starts_with("tidegate: the daemon is not running: nobody answers at "), "{told}");
}
