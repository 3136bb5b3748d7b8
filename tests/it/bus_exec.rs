//! Programs that misbehave: they leave child processes behind, close their output and run on, or
//! print everything at once.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use crate::support::{Site, cloud, values, wait_until};

/// Creates a site with this program as a bus.
async fn site(text: &str, keys: &str) -> (tidegate_sandbox::Sandbox, Site) {
    let cloud = cloud().await;
    let site = Site::new(&cloud, "");
    let program = site.path("program");
    std::fs::write(&program, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let config = std::fs::read_to_string(site.config()).unwrap();
    let instruments = format!(
        "\n[bus.exec.probe]\ncommand = [\"{}\"]\n{keys}\n[sensor.probe]\n\
         bus = \"probe\"\nformat = \"key-value\"\nmap = [{{ channel = \"n\", attribute = \"n\" \
         }}]\n",
        program.display()
    );
    site.write_config(&(config + &instruments));
    (cloud, site)
}

#[tokio::test]
async fn run_ends_with_the_program_despite_leftover_children() {
    let keys = "interval = \"100 ms\"\ntimeout = \"1 min\"";
    let (cloud, site) = site("sleep 1000 &\necho n=1\n", keys).await;
    let daemon = site.start();
    wait_until("two runs are over", || values(&cloud, "n").len() >= 2);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn program_that_closes_its_output_is_restarted() {
    for text in [
        "echo n=1\nexec >&-\nsleep 1000\n",
        "sleep 1000 &\necho n=1\n",
        "trap '' TERM\necho n=1\nexec >/dev/null\nwhile :; do sleep 1; done\n",
    ] {
        let (cloud, site) = site(text, "mode = \"lines\"").await;
        let daemon = site.start();
        wait_until("it is started again", || values(&cloud, "n").len() >= 2);
        assert!(daemon.terminate().success());
        site.outbox();
    }
}

#[tokio::test]
async fn large_output_at_once_loses_nothing() {
    let text = "n=0\nwhile [ $n -lt 20000 ]; do echo n=$n; n=$((n + 1)); done\nsleep 1000\n";
    let (cloud, site) = site(text, "mode = \"lines\"").await;
    let daemon = site.start();
    wait_until("all is stored", || daemon.count("/ledger/probe/received") >= 20_000);
    assert!(daemon.terminate().success());
    let account = site.outbox()["ledger"]["probe"].clone();
    assert_eq!((&account["rejected"], &account["dropped"]), (&json!({}), &json!({})));
    drop(cloud);
}

#[tokio::test]
async fn line_without_an_end_is_counted() {
    let (cloud, site) = site("printf 'n=1\\nn='\nexec >&-\nsleep 1000\n", "mode = \"lines\"").await;
    let daemon = site.start();
    daemon.wait_for_log("it closed its output, but continues to run");
    wait_until("it is counted", || daemon.count("/ledger/probe/rejected/incomplete") >= 1);
    wait_until("the whole one arrives", || values(&cloud, "n").contains(&json!(1)));
    assert!(daemon.terminate().success());
    site.outbox();
}
