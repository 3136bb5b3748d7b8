//! What each action sends, against Losant's published description of it.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::json;

use super::super::body::{States, parse};
use super::super::query::SortDirection;
use super::super::when::When;
use super::*;
use crate::{Answer as _, Credential};
use tidegate_config::{Cloud, CloudCredentials, Secret};
use tidegate_model::WallTime;

/// Of the JavaScript client's `apiInfo.json`; see `sandbox/schemas/README.md`.
const DESCRIPTION: &str = include_str!("../../../../sandbox/schemas/apiInfo.device-auth.json");

fn client() -> Client {
    // An error says that another test installed it first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let token = CloudCredentials::Token(Secret::from("t".to_owned()));
    let application = "575ec8687ae143cd83dc4a97".parse().ok();
    let cloud = Cloud { application, ..Cloud::new("https://api.losant.com", device(), token) };
    Client::new(cloud).unwrap()
}

fn device() -> DeviceId {
    "575ecf887ae143cd83dc4aa2".parse().unwrap()
}

/// Each action with everything that it takes.
fn full_requests(client: &Client) -> [Request; 16] {
    let device = device();
    let period = Period { start: Some(When::Ago(Duration::from_secs(1))), end: Some(When::Now) };
    let moment = Some(WallTime::from_millis(1_465_790_400_000));
    let history = History {
        limit: NonZeroU32::new(10),
        sort_direction: Some(SortDirection::Desc),
        duration: Some(Duration::from_secs(60)),
        start: moment,
        end: moment,
        since: moment,
    };
    let shape =
        Shape { tags_as_object: true, attributes_as_object: true, exclude_connection_info: true };
    let composite = Composite { period, attributes: vec!["a".parse().unwrap()] };
    let export = Export {
        period,
        email: Some("email@example.com".parse().unwrap()),
        callback_url: Some("https://example.com/cburl".parse().unwrap()),
        include_blob_data: true,
    };
    let states: States = parse(r#"{"data": {"voltage": 22.4}}"#).unwrap();
    let command = parse(r#"{"name": "myCommand"}"#).unwrap();
    let status = parse(r#"{"status": "connected"}"#).unwrap();
    [
        client.command_stream(device).request().clone(),
        client.delete(device).request().clone(),
        client.export(device, &export, Some(&DataExport::default())).request().clone(),
        client.get(device, shape).request().clone(),
        client.get_command(device, &history).request().clone(),
        client.get_composite_state(device, &composite).request().clone(),
        client.get_log_entries(device, &history).request().clone(),
        client.get_state(device, &history).request().clone(),
        client.patch(device, &DevicePatch::default(), shape).request().clone(),
        client.remove_data(device, period).request().clone(),
        client.send_command(device, &command).request().clone(),
        client.send_state(device, &states).request().clone(),
        client.set_connection_status(device, &status).request().clone(),
        client.state_stream(device).request().clone(),
        client.payload_counts(device, period).request().clone(),
        client.payload_counts_breakdown(device, period, Some(Resolution::Hour)).request().clone(),
    ]
}

#[tokio::test]
async fn actions_equal_those_that_losant_publishes() {
    let client = client();
    let description: Value = serde_json::from_str(DESCRIPTION).unwrap();
    let published = description["device"]["actions"].as_object().unwrap();
    let ours: BTreeMap<_, _> = full_requests(&client)
        .map(|request| {
            let parameters: BTreeSet<_> =
                request.query_pairs().iter().map(|(name, _)| *name).collect();
            let action = request.action().unwrap();
            let has_body = request.json_body().is_some();
            let sent = (request.method().to_string(), action.path(), parameters, has_body);
            (action.name(), sent)
        })
        .into();
    let theirs: BTreeMap<_, _> = published
        .iter()
        .map(|(name, action)| {
            let parameters = action["params"].as_array().map(Vec::as_slice).unwrap_or_default();
            let is_in = |place: &str, parameter: &&Value| parameter["in"] == place;
            let query = parameters.iter().filter(|parameter| is_in("query", parameter));
            let query = query.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            let has_body = parameters.iter().any(|parameter| is_in("body", &parameter));
            let (method, path) = (action["method"].as_str().unwrap(), action["path"].as_str());
            (&**name, (method.to_owned(), path.unwrap_or_default(), query, has_body))
        })
        .collect();
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn actions_are_in_the_order_of_losant() {
    let actions = full_requests(&client()).map(|request| request.action().unwrap());
    assert_eq!(actions, Action::ALL);
    let names = actions.map(Action::name);
    assert!(names[..14].is_sorted(), "{names:?}");
    assert_eq!(names[14..], ["payloadCounts", "payloadCountsBreakdown"]);
}

#[test]
fn six_actions_take_an_applications_token() {
    let of_application =
        Action::ALL.into_iter().filter(|a| a.credential() == Credential::Application);
    let names: Vec<_> = of_application.map(Action::name).collect();
    let six =
        ["delete", "export", "patch", "removeData", "payloadCounts", "payloadCountsBreakdown"];
    assert_eq!(names, six);
}

#[test]
fn table_of_actions_matches_the_code() {
    let document = include_str!("../device.rs");
    for action in Action::ALL {
        let path =
            if action.path().is_empty() { String::new() } else { format!(" `{}`", action.path()) };
        let credential = match action.credential() {
            Credential::Device => "device",
            Credential::Application => "application",
        };
        let line =
            format!("//! | `{}` | {}{path} | {credential} |", action.name(), action.method());
        assert!(document.contains(&line), "{line}");
    }
}

#[tokio::test]
async fn url_has_the_form_of_losant() {
    let client = client();
    let composite = Composite {
        period: Period { start: Some(When::Ago(Duration::from_secs(7200))), end: Some(When::Now) },
        attributes: vec!["a".parse().unwrap(), "b".parse().unwrap()],
    };
    let call = client.get_composite_state(device(), &composite);
    assert_eq!(
        call.request().url("https://api.losant.com", "A"),
        "https://api.losant.com/applications/A/devices/575ecf887ae143cd83dc4aa2/compositeState\
         ?start=-7200000&end=0&attributes=a%2Cb"
    );
    let call = client.get(device(), Shape::default());
    assert!(call.request().url("http://h", "A").ends_with("/575ecf887ae143cd83dc4aa2"));
}

#[tokio::test]
async fn unset_parameters_are_not_sent() {
    let client = client();
    assert!(client.get_state(device(), &History::default()).request().query_pairs().is_empty());
    assert!(client.get(device(), Shape::default()).request().query_pairs().is_empty());
    let export = client.export(device(), &Export::default(), None);
    assert_eq!((export.request().query_pairs(), export.request().json_body()), (&[][..], None));
}

#[test]
fn rejects_answers_of_other_servers() {
    let device = device();
    assert_eq!(
        Success::parse(device, json!({"success": true, "_type": "success"}).to_string().as_bytes()),
        Some(Success)
    );
    assert_eq!(Success::parse(device, json!({"success": "true"}).to_string().as_bytes()), None);
    assert_eq!(Success::parse(device, json!("welcome to the hotel").to_string().as_bytes()), None);
    let queued = json!({"jobQueued": true, "jobId": "j1", "success": true});
    assert_eq!(
        Accepted::parse(device, queued.to_string().as_bytes()).unwrap().job_id.as_deref(),
        Some("j1")
    );
    assert_eq!(
        Accepted::parse(device, json!({"success": true}).to_string().as_bytes()).unwrap().job_id,
        None
    );
    assert_eq!(Accepted::parse(device, json!({}).to_string().as_bytes()), None);
    assert_eq!(Vec::<Value>::parse(device, json!({}).to_string().as_bytes()), None);
    assert_eq!(DeviceDescription::parse(device, json!([]).to_string().as_bytes()), None);
}
