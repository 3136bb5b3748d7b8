//! Faults between the gateway and Losant: each is found under its code, and is over after its cure.

use serde_json::{Value, json};
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, GREENHOUSE_ID, Sandbox, WORKSHOP_ID};

use crate::support::{
    Daemon, Site, Tty, cloud, expect_healthy, expect_problem, fan_tables, probe_tables, utf8,
    wait_until, write_private,
};

/// A gateway with a serial sensor that reports `n`.
struct Gateway {
    cloud: Sandbox,
    site: Site,
    tty: Tty,
}

impl Gateway {
    async fn new(channels: &[&str]) -> Self {
        let cloud = cloud().await;
        let site = Site::new(&cloud, &probe_tables(channels));
        write_private(&site.path("token"), cloud.api_token());
        let tty = Tty::plugged(site.path("tty"));
        Self { cloud, site, tty }
    }

    /// Starts the daemon, which is healthy after its first reading.
    fn start_healthy(&mut self) -> Daemon {
        let daemon = self.site.start();
        self.tty.write("n=1\n");
        wait_until("the first reading is stored", || daemon.count("/cloud/states_stored") > 0);
        expect_healthy(&daemon);
        daemon
    }

    /// Runs a subcommand with the application token.
    fn run_with_token(&self, words: &[&str]) {
        let token = self.site.path("token").display().to_string();
        let output = self.site.run(&[words, &["--yes", "--token-file", &token]].concat());
        assert!(output.status.success(), "{}{}", utf8(&output.stdout), utf8(&output.stderr));
    }

    fn patch(&self, device: &str, body: &Value) {
        let (body, application) = (body.to_string(), self.cloud.application_id());
        let words = ["device", "patch", "--application", application, "--device", device];
        self.run_with_token(&[&words[..], &["--json", &body]].concat());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_refused() {
    for (right, wrong) in [("gateway-secret", "other-secret"), (GATEWAY_ID, &*"b".repeat(24))] {
        let mut gateway = Gateway::new(&["n"]).await;
        gateway.site.replace_in_config("trust = \"always\"", "trust = \"auto\"");
        let change = |site: &Site, from: &str, to: &str| {
            let config = std::fs::read_to_string(site.config()).unwrap();
            site.write_config(&config.replace(from, to));
            let credentials = std::fs::read_to_string(site.path("credentials.toml")).unwrap();
            site.write_credentials(&credentials.replace(from, to));
        };
        change(&gateway.site, right, wrong);
        let daemon = gateway.site.start();
        expect_problem(&daemon, "credentials_refused", &["401"]);
        assert!(daemon.terminate().success());
        change(&gateway.site, wrong, right);
        gateway.start_healthy();
    }
}

#[tokio::test]
async fn cloud_offline() {
    let mut gateway = Gateway::new(&["n"]).await;
    let daemon = gateway.start_healthy();
    gateway.cloud.set_offline(true);
    gateway.tty.write("n=2\n");
    expect_problem(&daemon, "cloud_offline", &["no answer"]);
    gateway.cloud.set_offline(false);
    expect_healthy(&daemon);
}

#[tokio::test]
async fn device_id_shared() {
    let mut gateway = Gateway::new(&["n"]).await;
    let daemon = gateway.start_healthy();
    let copy = Site::new(&gateway.cloud, &probe_tables(&["n"]));
    let _tty = Tty::plugged(copy.path("tty"));
    let second = copy.start();
    expect_problem(&daemon, "device_id_shared", &["another client reported this device"]);
    expect_problem(&second, "device_id_shared", &["another client reported this device"]);
    assert!(second.terminate().success());
    expect_healthy(&daemon);
    let log = gateway.cloud.log(GATEWAY_ID);
    assert!(log.last().unwrap().connected, "the gateway is shown as connected again");
}

#[tokio::test]
async fn clock_untrusted() {
    let mut gateway = Gateway::new(&["n"]).await;
    gateway.site.replace_in_config("trust = \"always\"", "trust = \"auto\"");
    gateway.cloud.set_offline(true);
    let daemon = gateway.site.start();
    gateway.tty.write("n=1\n");
    if daemon.status()["clock"]["trust"] == "kernel" {
        return crate::support::skip(
            crate::support::test_name!(),
            "the kernel of this computer has synchronised its clock",
        );
    }
    wait_until("both causes are reported", || {
        let health = daemon.status()["health"].to_string();
        health.contains("clock_untrusted") && health.contains("cloud_offline")
    });
    gateway.cloud.set_offline(false);
    expect_healthy(&daemon);
}

#[tokio::test]
async fn clock_differs() {
    let mut gateway = Gateway::new(&["n"]).await;
    gateway.cloud.set_clock_offset(-2 * 3_600_000);
    let daemon = gateway.site.start();
    gateway.tty.write("n=1\n");
    expect_problem(&daemon, "clock_differs", &["this computer is ", " ahead of Losant"]);
    assert!(daemon.terminate().success());
    gateway.cloud.set_clock_offset(0);
    gateway.start_healthy();
}

#[tokio::test]
async fn device_not_found() {
    let mut gateway = Gateway::new(&["n"]).await;
    let unknown = "f".repeat(24);
    gateway.site.replace_in_config(GREENHOUSE_ID, &unknown);
    gateway.site.replace_in_config("[sensor.probe]", "[sensor.probe]\ndevice = \"greenhouse\"");
    let daemon = gateway.site.start();
    gateway.tty.write("n=1\nn=2\n");
    expect_problem(&daemon, "device_not_found", &["greenhouse", "404", "2 wait"]);
    gateway.site.replace_in_config(&unknown, GREENHOUSE_ID);
    let output = gateway.site.run(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    expect_problem(&daemon, "device_not_found", &[&unknown, "404", "2 wait"]);
    let words = ["outbox", "purge", "--device", &unknown, "--yes"];
    let output = gateway.site.run(&words);
    assert!(output.status.success(), "{output:?}");
    expect_healthy(&daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn device_refused() {
    let mut gateway = Gateway::new(&["n"]).await;
    gateway.site.replace_in_config("[sensor.probe]", "[sensor.probe]\ndevice = \"greenhouse\"");
    gateway.patch(GREENHOUSE_ID, &json!({ "gatewayId": WORKSHOP_ID }));
    let daemon = gateway.site.start();
    gateway.tty.write("n=1\n");
    expect_problem(&daemon, "device_refused", &["greenhouse", "403", "1 wait"]);
    gateway.patch(GREENHOUSE_ID, &json!({ "gatewayId": GATEWAY_ID }));
    expect_healthy(&daemon);
    wait_until("the state arrives", || gateway.cloud.states(GREENHOUSE_ID).len() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn attribute_undeclared() {
    let mut gateway = Gateway::new(&["n", "notDeclared"]).await;
    let daemon = gateway.site.start();
    wait_until("the attributes are known", || daemon.log().contains("attribute does not match"));
    gateway.tty.write("n=1 notDeclared=2\n");
    expect_problem(&daemon, "attribute_undeclared", &["gateway", "notDeclared"]);
    gateway.run_with_token(&["provision"]);
    expect_healthy(&daemon);
}

#[tokio::test]
async fn attribute_wrong_type() {
    let mut gateway = Gateway::new(&["n"]).await;
    let daemon = gateway.start_healthy();
    for _ in 0..9 {
        gateway.tty.write("n=ERR\n");
    }
    expect_problem(&daemon, "attribute_wrong_type", &["sensor probe", "number", "ERR"]);
    gateway.tty.write("n=3\n");
    expect_healthy(&daemon);
}

#[tokio::test]
async fn command_stream_closed() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &fan_tables());
    let _tty = Tty::plugged(site.path("tty"));
    cloud.fail_next(Action::CommandStream, 1_000, Fault::Status(503, String::new()));
    let daemon = site.start();
    expect_problem(&daemon, "command_stream_closed", &["gateway", "503"]);
    cloud.clear_faults();
    expect_healthy(&daemon);
}
