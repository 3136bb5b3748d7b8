//! What devices declare in Losant against what the configuration gives them, while either changes.

use serde_json::json;
use tidegate_sandbox::{GATEWAY_ID, Sandbox};

use crate::support::{Site, cloud, wait_until};

const SENSOR: &str = r#"
[bus.file.probe]
paths = ["probe"]
[sensor.probe]
bus = "probe"
format = "json"
map = [
  { channel = "t", attribute = "temperature", scale = 0.1 },
  { channel = "door", attribute = "door", scale = 2.0 },
  { channel = "x", attribute = "mystery", scale = 2.0 },
]
"#;

const DOOR: &str = "attribute door has the type boolean in Losant, but the configuration produces \
    number; change the type in Losant, or the mapping";
const MYSTERY: &str = "the device has no attribute mystery; add it in Losant, with a number type";

/// Declares these attributes of the gateway anew, as somebody would in Losant.
async fn declare(cloud: &Sandbox, attributes: &[(&str, &str)]) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let (url, application) = (cloud.url(), cloud.application_id());
    let list: Vec<_> =
        attributes.iter().map(|(name, word)| json!({"name": name, "dataType": word})).collect();
    let answer = reqwest::Client::new()
        .patch(format!("{url}/applications/{application}/devices/{GATEWAY_ID}"))
        .bearer_auth(cloud.api_token())
        .json(&json!({ "attributes": list }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

#[tokio::test]
async fn mismatch_is_logged_and_checked_again_at_a_reload() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, SENSOR);
    let daemon = site.start();
    for words in [DOOR, MYSTERY] {
        daemon.wait_for_log(words);
    }
    let fits = [("temperature", "number"), ("door", "number"), ("mystery", "number")];
    declare(&cloud, &fits).await;
    daemon.hang_up();
    daemon.wait_for_log("all attributes match the device in Losant");
    // Somebody changes it again, and somebody else the configuration.
    declare(&cloud, &[("temperature", "gps"), ("door", "number"), ("mystery", "number")]).await;
    let config = std::fs::read_to_string(site.config()).unwrap();
    site.write_config(&config.replace("\"mystery\"", "\"riddle\""));
    daemon.hang_up();
    daemon.wait_for_log("attribute temperature has the type gps in Losant");
    daemon.wait_for_log("the device has no attribute riddle");
    let logged = |words: &str| daemon.log().matches(words).count();
    assert_eq!((logged(DOOR), logged(MYSTERY)), (1, 1), "each was logged once");
    wait_until("the reload is done", || logged("configuration reloaded") == 2);
    assert!(daemon.terminate().success());
    site.outbox();
}
