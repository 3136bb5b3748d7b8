//! Starts and stops of the daemon, and the connection status that it reports to Losant.

use tidegate_sandbox::{Action, Fault, GATEWAY_ID};

use crate::support::{
    Site, Tty, cloud, numbers, probe_tables, utf8, values, wait_until, write_private,
};

#[tokio::test]
async fn connection_status_is_reported() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let daemon = site.start();
    wait_until("the gateway is connected", || {
        cloud.log(GATEWAY_ID).iter().any(|entry| entry.connected)
    });
    assert!(daemon.terminate().success());
    let log = cloud.log(GATEWAY_ID);
    assert_eq!(log.len(), 2);
    let last = log.iter().find(|entry| !entry.connected).unwrap();
    assert_eq!(last.disconnect_reason.as_deref(), Some("shutdown"));
}

#[tokio::test]
async fn stop_sends_the_backlog() {
    let cloud = cloud().await;
    let site =
        Site::new(&cloud, &format!("{}[daemon]\nstop_timeout = \"5 s\"\n", probe_tables(&["n"])));
    site.replace_in_config("batch_age_max = \"100 ms\"", "batch_age_max = \"1 h\"");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=0\nn=1\n");
    wait_until("both states wait", || daemon.count("/outbox/states") == 2);
    assert!(daemon.terminate().success());
    assert_eq!(values(&cloud, "n"), numbers(2));
    assert_eq!(site.outbox()["states"], 0);
}

#[tokio::test]
async fn offline_stop_keeps_the_backlog_for_the_next_start() {
    let cloud = cloud().await;
    cloud.set_offline(true);
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=0\nn=1\n");
    wait_until("both states wait", || daemon.count("/outbox/states") == 2);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 2);
    cloud.set_offline(false);
    let daemon = site.start();
    wait_until("both states arrive", || values(&cloud, "n") == numbers(2));
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
}

#[tokio::test]
async fn hanging_call_does_not_delay_a_stop() {
    let cloud = cloud().await;
    let site =
        Site::new(&cloud, &format!("{}[daemon]\nstop_timeout = \"2 s\"\n", probe_tables(&["n"])));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("reported the gateway as connected");
    cloud.fail_next(Action::SendState, 100, Fault::Hang);
    tty.write("n=0\n");
    wait_until("the call is under way", || cloud.counters().calls.contains_key("sendState"));
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 1);
}

#[tokio::test]
async fn token_comes_from_a_systemd_credential() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    std::fs::remove_file(site.path("credentials.toml")).unwrap();
    std::fs::create_dir(site.path("credentials")).unwrap();
    let token = format!("token = \"{}\"\n", cloud.api_token());
    write_private(&site.path("credentials/losant"), &token);
    let directory = site.path("credentials").into_os_string().into_string().unwrap();
    let application = ("TIDEGATE_LOSANT__APPLICATION_ID", cloud.application_id());
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start_with(&[("CREDENTIALS_DIRECTORY", &directory), application]);
    tty.write("n=0\n");
    wait_until("the state arrives", || values(&cloud, "n") == numbers(1));
    assert!(!cloud.counters().calls.contains_key("authenticateDevice"), "a token needs no key");
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn unplugged_line_is_reopened() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let daemon = site.start();
    daemon.wait_for_log("is the adapter plugged in?");
    let mut tty = Tty::plugged(site.path("tty"));
    for round in 0..3 {
        tty.write(format!("n={round}\n"));
        wait_until("the reading arrives", || values(&cloud, "n").len() == round + 1);
        tty.write("n=99");
        tty.unplug();
        wait_until("the loss is noticed", || {
            daemon.log().matches("the line was unplugged").count()
                + daemon.log().matches("input/output error").count()
                > round
        });
        tty.plug();
    }
    assert_eq!(values(&cloud, "n"), numbers(3), "an incomplete line is not a reading");
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn second_daemon_on_the_same_outbox_is_refused() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let daemon = site.start();
    let second = site.run(&["run"]);
    assert_eq!(second.status.code(), Some(1));
    let message = utf8(&second.stderr);
    assert!(message.contains("another tidegate process uses this outbox"), "{message}");
    assert!(daemon.count("/outbox/states") == 0, "the first daemon is not disturbed");
    assert!(daemon.terminate().success());
}
