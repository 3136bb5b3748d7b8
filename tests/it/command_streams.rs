//! Command streams that the cloud refuses, breaks or does not serve: each is logged, and opened
//! again.

use serde_json::json;
use tidegate_sandbox::{Action, Fault, GATEWAY_ID, GREENHOUSE_ID, Sandbox, Step};

use crate::support::{Site, Tty, cloud, cloud_builder, fan_tables, wait_until};

fn wait_for_stream(cloud: &Sandbox, device: &str) {
    wait_until("the stream is open", || cloud.streams_open(device) == 1);
}

/// Answers the first stream with `fault` and expects `words` in the log and a second stream.
async fn expect_log_and_reopen(fault: Fault, words: &str) {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &fan_tables());
    let mut tty = Tty::plugged(site.path("tty"));
    cloud.fail_next(Action::CommandStream, 1, fault);
    let daemon = site.start();
    daemon.wait_for_log(words);
    // The sandbox may still count the first stream as open.
    daemon.wait_for_log("command stream open");
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 7}));
    assert_eq!(tty.read_line(), "FAN 7");
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn empty_answer_is_not_a_stream() {
    let fault = Fault::Status(204, String::new());
    expect_log_and_reopen(fault, "204").await;
}

#[tokio::test]
async fn login_page_is_not_a_stream() {
    expect_log_and_reopen(Fault::CaptivePortal, "expected an event stream, not \"text/html").await;
}

#[tokio::test]
async fn other_media_type_is_not_a_stream() {
    let fault = Fault::ContentType("application/json".to_owned());
    expect_log_and_reopen(fault, "expected an event stream, not \"application/json\"").await;
}

#[tokio::test]
async fn stream_is_retried_after_a_server_error() {
    let fault = Fault::Status(503, r#"{"type": "Unavailable", "message": "later"}"#.to_owned());
    expect_log_and_reopen(fault, "503").await;
}

#[tokio::test]
async fn stream_is_retried_after_a_dropped_connection() {
    expect_log_and_reopen(Fault::Drop, "cannot open command stream; retrying").await;
}

/// A line that is cut without a word looks idle for ever, but for the signs of life that are
/// missing.
#[tokio::test]
async fn silent_stream_is_reopened_and_missed_commands_run() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &fan_tables());
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    cloud.silence_streams();
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 8}));
    daemon.wait_for_log("no data for 10 s");
    assert_eq!(tty.read_line(), "FAN 8");
    assert!(daemon.terminate().success());
}

#[tokio::test]
async fn expired_token_is_renewed_for_a_stream() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &fan_tables());
    let daemon = site.start();
    wait_for_stream(&cloud, GATEWAY_ID);
    cloud.expire_tokens();
    cloud.end_streams();
    wait_until("it was refused", || cloud.counters().responses.contains_key(&401));
    wait_for_stream(&cloud, GATEWAY_ID);
    assert_eq!(cloud.counters().responses.get(&401), Some(&1));
    assert!(daemon.terminate().success());
}

/// The daemon goes on where the last event was, should the server know how, and waits as long as it
/// is asked to.
#[tokio::test]
async fn event_ids_and_retry_of_a_stream_are_honoured() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, &fan_tables());
    let mut tty = Tty::plugged(site.path("tty"));
    let event = format!(
        "retry: 3000\nid: event-41\nevent: deviceCommand\ndata: {}\n\n",
        json!({"name": "fan", "time": jiff::Timestamp::now().to_string(), "payload": {"speed": 3}})
    );
    let script = vec![Step::Send(event.into_bytes()), Step::Cut];
    cloud.fail_next(Action::CommandStream, 1, Fault::Script(script));
    let daemon = site.start();
    daemon.wait_for_log("command stream ended");
    let ended = tokio::time::Instant::now();
    wait_for_stream(&cloud, GATEWAY_ID);
    let waited = ended.elapsed();
    assert!(waited.as_millis() >= 1_500, "it waited only {waited:?}");
    assert_eq!(cloud.counters().last_event_id.as_deref(), Some("event-41"));
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 4}));
    wait_until("it ran", || daemon.count("/commands/executed") > 0);
    assert!(tty.read_line().starts_with("FAN "));
    assert!(daemon.terminate().success());
}

/// A gateway's token may report for its peripherals, but need not be allowed to read them.
#[tokio::test]
async fn blocked_peripheral_is_commanded_through_the_gateway() {
    let sandbox = cloud_builder().peripherals_covered(false);
    let cloud = sandbox.start().await.unwrap();
    let fan = fan_tables().replace("[actuator.fan]", "[actuator.fan]\ndevice = \"greenhouse\"");
    let site = Site::new(&cloud, &format!("{fan}\n[commands]\ntarget = \"device\"\n"));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    let words = "cannot open the command stream of this device";
    daemon.wait_for_log(words);
    daemon.wait_for_log("send its commands to the gateway and name it in the payload");
    wait_for_stream(&cloud, GATEWAY_ID);
    daemon.wait_for_log("serial line open");
    cloud.send_command(GATEWAY_ID, "fan", json!({"speed": 9, "device": "greenhouse"}));
    assert_eq!(tty.read_line(), "FAN 9");
    assert_eq!(cloud.streams_open(GREENHOUSE_ID), 0);
    assert_eq!(daemon.log().matches(words).count(), 1, "{}", daemon.log());
    assert!(daemon.terminate().success());
}
