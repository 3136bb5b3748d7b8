//! Buses on the gateway's computer: files, programs, pushes and the computer itself.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use crate::support::{
    Site, assert_content, assert_counts, cloud, values, wait_until, write_private,
};

fn sensor(bus: &str, format: &str, channel: &str) -> String {
    format!(
        "[sensor.{bus}]\nbus = \"{bus}\"\nformat = \"{format}\"\nmap = [{{ channel \
         = \"{channel}\", attribute = \"n\" }}]\n"
    )
}

fn script(path: &Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn removed_one_wire_sensor_is_logged_once() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r##"
[bus.file.w1]
paths = ["w1/28-*/temperature"]
interval = "50 ms"
[sensor.w1]
bus = "w1"
topic = "#"
format = "text"
map = [{ channel = "value", attribute = "t_{{ topic[-2] }}", scale = 0.001 }]
"##,
    );
    for (name, millidegrees) in [("28-0a", "21312\n"), ("28-0b", "-1250\n")] {
        std::fs::create_dir_all(site.path("w1").join(name)).unwrap();
        std::fs::write(site.path("w1").join(name).join("temperature"), millidegrees).unwrap();
    }
    let daemon = site.start();
    wait_until("both arrive", || {
        values(&cloud, "t_28-0a").contains(&json!(21.312))
            && values(&cloud, "t_28-0b").contains(&json!(-1.25))
    });
    std::fs::remove_dir_all(site.path("w1")).unwrap();
    daemon.wait_for_log("there is no such file");
    let count = values(&cloud, "t_28-0a").len();
    std::fs::create_dir_all(site.path("w1/28-0a")).unwrap();
    std::fs::write(site.path("w1/28-0a/temperature"), "22000").unwrap();
    wait_until("it is read again", || values(&cloud, "t_28-0a").contains(&json!(22.0)));
    assert!(count > 0);
    assert_eq!(daemon.log().matches("there is no such file").count(), 1);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn log_is_followed_across_its_rotation() {
    let cloud = cloud().await;
    let bus = "\n[bus.file.log]\npaths = [\"app.log\"]\nmode = \"tail\"\ninterval = \"50 ms\"\n";
    let site = Site::new(&cloud, &format!("{bus}{}", sensor("log", "key-value", "n")));
    let daemon = site.start();
    daemon.wait_for_log("there is no such file");
    let append = |numbers: std::ops::Range<u32>| {
        let lines = numbers.fold(String::new(), |mut lines, n| {
            writeln!(lines, "n={n}").unwrap();
            lines
        });
        let mut file =
            std::fs::File::options().create(true).append(true).open(site.path("app.log")).unwrap();
        std::io::Write::write_all(&mut file, lines.as_bytes()).unwrap();
    };
    append(0..1);
    wait_until("the log is followed", || !values(&cloud, "n").is_empty());
    append(1..500);
    std::fs::rename(site.path("app.log"), site.path("app.log.1")).unwrap();
    append(500..1_000);
    wait_until("all arrive", || values(&cloud, "n").len() >= 1_000);
    assert_counts(&cloud, 1_000);
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn program_runs_without_a_shell_or_the_environment() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, "");
    script(
        &site.path("probe"),
        "echo \"n=$#\"\necho \"secret=${SECRET-none}\"\necho \"own=$OWN\"\n",
    );
    let config = std::fs::read_to_string(site.config()).unwrap();
    let instruments = format!(
        r#"
[bus.exec.probe]
command = ["{}", "$(touch pwned); rm -rf *", "b"]
interval = "100 ms"
environment = ["OWN=ours"]
[sensor.probe]
bus = "probe"
format = "key-value"
map = [
  {{ channel = "n", attribute = "n" }},
  {{ channel = "secret", attribute = "secret" }},
  {{ channel = "own", attribute = "own" }},
]
"#,
        site.path("probe").display()
    );
    site.write_config(&(config + &instruments));
    let daemon = site.start_with(&[("SECRET", "hunter2")]);
    wait_until("it arrives", || values(&cloud, "n").first() == Some(&json!(2)));
    assert_eq!(values(&cloud, "secret").first(), Some(&json!("none")));
    assert_eq!(values(&cloud, "own").first(), Some(&json!("ours")));
    assert!(!site.path("pwned").exists());
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn hanging_program_is_killed_with_its_children() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, "");
    let pids = site.path("pids");
    // The first run hangs with a child that keeps its output open; the next runs succeed.
    script(
        &site.path("probe"),
        &format!(
            "if [ -e {0} ]; then echo n=1; exit; fi\nsleep 1000 &\necho $! $$ > {0}\nwait\n",
            pids.display()
        ),
    );
    let config = std::fs::read_to_string(site.config()).unwrap();
    let instruments = format!(
        "\n[bus.exec.probe]\ncommand = [\"{}\"]\ninterval = \"200 ms\"\ntimeout = \"2 s\"\n{}",
        site.path("probe").display(),
        sensor("probe", "key-value", "n")
    );
    site.write_config(&(config + &instruments));
    let daemon = site.start();
    wait_until("a run is answered", || values(&cloud, "n").first() == Some(&json!(1)));
    assert!(daemon.log().contains("it took longer than 2s"), "{}", daemon.log());
    for pid in std::fs::read_to_string(pids).unwrap().split_whitespace() {
        let status = format!("/proc/{pid}/status");
        wait_until("the group is gone", || {
            // A child without a parent that waits for it stays a zombie, which does not run.
            std::fs::read_to_string(&status).map_or(true, |text| text.contains("State:\tZ"))
        });
    }
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn program_read_by_lines_is_restarted_when_it_ends() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, "");
    let count = site.path("count");
    std::fs::write(&count, "0").unwrap();
    script(
        &site.path("probe"),
        &format!(
            "n=$(cat {0})\nprintf 'n=%d\\nn=%d\\nn=' $n $((n + 1))\necho $((n + 2)) > {0}\necho \
             broken >&2\nexit 3\n",
            count.display()
        ),
    );
    let config = std::fs::read_to_string(site.config()).unwrap();
    let instruments = format!(
        "\n[bus.exec.probe]\ncommand = [\"{}\"]\nmode = \"lines\"\n{}",
        site.path("probe").display(),
        sensor("probe", "key-value", "n")
    );
    site.write_config(&(config + &instruments));
    let daemon = site.start();
    wait_until("three runs arrive", || values(&cloud, "n").len() >= 6);
    daemon.wait_for_log("it ended with exit status: 3: broken");
    assert!(daemon.terminate().success());
    let account = site.outbox()["ledger"]["probe"].clone();
    // Each run ends within a line.
    assert!(account["rejected"]["incomplete"].as_u64().unwrap() >= 2, "{account}");
    assert_eq!(&account["dropped"], &json!({}));
    assert_counts(&cloud, account["stored"].as_u64().unwrap());
}

#[tokio::test]
async fn acknowledged_push_survives_a_kill() {
    let cloud = cloud().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let instruments = format!(
        "\n[bus.http.push]\nlisten = \"127.0.0.1:{port}\"\ncredentials_file \
         = \"push-token\"\nsize_max = \"1 KiB\"\n{}",
        sensor("push", "json", "n")
    );
    let site = Site::at("http://127.0.0.1:9", &instruments);
    write_private(&site.path("push-token"), "correct-horse\n");
    let daemon = site.start();
    daemon.wait_for_log("listening for pushes");
    rustls::crypto::ring::default_provider().install_default().ok();
    let url = format!("http://127.0.0.1:{port}/push");
    let push = async |url: &str, token: &str, body: String| {
        let request = reqwest::Client::new().post(url).bearer_auth(token).body(body);
        request.send().await.unwrap().status().as_u16()
    };
    for n in 0..10 {
        assert_eq!(push(&url, "correct-horse", format!("{{\"n\": {n}}}")).await, 200);
    }
    assert_eq!(
        push(&format!("{url}/a/b"), "correct-horse", "[{\"n\": 10}, {\"n\": 11}]".into()).await,
        200
    );
    for (url, token, body, status) in [
        (url.clone(), "wrong", "{}".to_owned(), 401),
        (url.clone(), "", "{}".to_owned(), 401),
        (url.clone(), "correct-horse", "n=1".to_owned(), 400),
        (url.clone(), "correct-horse", "[1]".to_owned(), 400),
        (url.clone(), "correct-horse", "x".repeat(1_025), 413),
        (format!("{url}/+"), "correct-horse", "{}".to_owned(), 400),
        (url.replace("push", "admin"), "correct-horse", "{}".to_owned(), 404),
    ] {
        assert_eq!(push(&url, token, body.clone()).await, status, "{url} {token} {body}");
    }
    let answer =
        reqwest::Client::new().get(&url).bearer_auth("correct-horse").send().await.unwrap();
    assert_eq!(answer.status(), 405);
    wait_until("the refusals are counted", || {
        daemon.status()["ledger"]["push"]["rejected"] == json!({"malformed": 2, "too_long": 1})
    });
    assert!(!daemon.log().contains("correct-horse"));
    daemon.kill();
    let config = std::fs::read_to_string(site.config()).unwrap();
    site.write_config(&config.replace("http://127.0.0.1:9", cloud.url()));
    let daemon = site.start();
    wait_until("all arrive", || values(&cloud, "n").len() == 12);
    assert_counts(&cloud, 12);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn system_bus_reports_computer_and_gateway() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.system.pi]
interval = "100 ms"
disks = ["/", "/no/such/disk"]
[sensor.pi]
bus = "pi"
format = "json"
map = [
  { channel = "uptime_s", attribute = "uptime" },
  { channel = "/disk/free_bytes", attribute = "free" },
  { channel = "/gateway/online", attribute = "online" },
  { channel = "/gateway/outbox/states", attribute = "waiting" },
]
"#,
    );
    let daemon = site.start();
    wait_until("it is online", || values(&cloud, "online").contains(&json!(true)));
    assert!(values(&cloud, "uptime")[0].as_f64().unwrap() > 0.0);
    assert!(values(&cloud, "free")[0].as_u64().unwrap() > 0);
    assert!(values(&cloud, "waiting")[0].as_u64().is_some());
    daemon.wait_for_log("no such file or directory; see disks");
    assert!(daemon.terminate().success());
    site.outbox();
    assert_content(&cloud);
}

#[tokio::test]
async fn check_reports_options_that_a_bus_lacks() {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.file.a]
paths = ["a[", "/b"]
[bus.exec.b]
command = ["probe"]
mode = "lines"
timeout = "1 s"
environment = ["NOPE"]
[bus.http.c]
listen = "everywhere"
[bus.system.d]
interval = "1 ms"
[bus.file.d]
[bus.serial.e]
path = "tty"
[bus.modbus.f]
path = "tty"
unit.g = { id = 1, registers = [{ channel = "x", address = 1 }, { channel = "x", address = 2 }] }
[bus.mqtt.h]
host = "broker"
client_id = "we"
[bus.mqtt.i]
host = "broker"
client_id = "we"
[sensor.b]
bus = "b"
topic = "x"
format = "text"
map = [{ channel = "value", attribute = "n" }]
[actuator.a]
command = "a"
bus = "a"
write = "x"
"#,
    );
    let output = site.run(&["check"]);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert_eq!(output.status.code(), Some(78), "{text}");
    for words in [
        "bus.file.a.paths: \"",
        "bus.exec.b.command: does not start with an absolute path",
        "bus.exec.b.timeout: is for mode = \"interval\"",
        "bus.exec.b.environment: \"NOPE\" is not a variable; write each variable as \"NAME=value\"",
        "bus.http.c.listen: \"everywhere\" is not an IP address with a port",
        "bus.http.c.credentials_file: is missing",
        "bus.system.d: bus.file.d has the same name",
        "bus.modbus.f.path: bus.serial.e has ",
        "bus.modbus.f.unit.g.registers.1.channel: \"x\" is that of another register",
        "bus.mqtt.i.client_id: bus.mqtt.h has \"we\" at broker:1883, too",
        "sensor.b.topic: exec buses have no topics; remove it",
        "actuator.a.bus: file buses cannot be written to",
    ] {
        assert!(text.contains(words), "{words}\nin: {text}");
    }
}
