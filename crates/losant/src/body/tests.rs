//! The types against Losant's schemas, with an independent validator as the judge.

use jsonschema::Validator;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use tidegate_model::WallTime;

const STATES: &str = include_str!("../../../../sandbox/schemas/deviceStateOrStates.json");
const COMMAND: &str = include_str!("../../../../sandbox/schemas/deviceCommand.json");
const STATUS: &str = include_str!("../../../../sandbox/schemas/deviceConnectionStatus.json");
const PATCH: &str = include_str!("../../../../sandbox/schemas/devicePatch.json");
const EXPORT: &str = include_str!("../../../../sandbox/schemas/deviceDataExport.json");

fn validator(schema: &str) -> Validator {
    jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap()
}

/// What our type makes of `json`, if it takes it.
fn through<T: DeserializeOwned + Serialize>(json: &Value) -> Option<Value> {
    parse::<T>(&json.to_string()).ok().map(|body| serde_json::to_value(body).unwrap())
}

/// We take it exactly if the schema does, and send it unchanged.
fn assert_agreement<T: DeserializeOwned + Serialize>(schema: &str, bodies: &[Value]) {
    let schema = validator(schema);
    for json in bodies {
        let ours = through::<T>(json);
        assert_eq!(ours.is_some(), schema.is_valid(json), "{json}");
        assert!(ours.is_none_or(|ours| ours == *json), "{json} was changed");
    }
}

#[test]
fn states_are_taken_as_the_schema_takes_them() {
    let bodies = [
        json!({"data": {}}),
        json!([]),
        json!({"time": "2026-05-01T10:00:00.000Z", "data": {"a_-9": 1.5, "b": true, "c": "x"}}),
        json!({"time": -1, "data": {"a": 18_446_744_073_709_551_615_u64}, "meta": null}),
        json!({"time": {"$date": "soon"}, "data": {"a": 1}, "meta": {"x": []}, "flowVersion": "v"}),
        json!([{"data": {"a": 1}}, {"data": {"b": 2}, "meta": 0}]),
        json!({}),
        json!("x"),
        json!({"data": {"a": null}}),
        json!({"data": {"a": [1]}}),
        json!({"data": {"a.b": 1}}),
        json!({"data": {"": 1}}),
        json!({"data": {"x".repeat(255): 1}}),
        json!({"data": {"x".repeat(256): 1}}),
        json!({"data": {"a": 1}, "extra": 1}),
        json!({"data": {"a": 1}, "time": null}),
        json!({"data": {"a": 1}, "time": {"$date": 1}}),
        json!({"data": {"a": 1}, "time": {"$date": "x", "y": 1}}),
        json!({"data": {"a": 1}, "flowVersion": ""}),
        json!({"data": {"a": 1}, "flowVersion": null}),
        json!([[null, {"a": 1}, null, null]]),
        json!([{"data": {"a": 1}}, {"data": {"b": null}}]),
    ];
    assert_agreement::<States>(STATES, &bodies);
}

#[test]
fn commands_are_taken_as_the_schema_takes_them() {
    let bodies = [
        json!({"name": "open"}),
        json!({"name": "ö".repeat(255), "payload": null, "time": 1}),
        json!({"name": "open", "payload": [1, {"$date": "x"}], "time": {"$date": "x"}}),
        json!({"name": ""}),
        json!({"name": "ö".repeat(256)}),
        json!({"name": null}),
        json!({"name": 1}),
        json!({"payload": 1}),
        json!({"name": "open", "id": 1}),
        json!([]),
        json!([null, "open", null]),
    ];
    assert_agreement::<DeviceCommand>(COMMAND, &bodies);
}

#[test]
fn connection_status_follows_the_schema() {
    let bodies = [
        json!({"status": "connected"}),
        json!({"status": "connected", "connectedAt": 1, "ipAddress": "::"}),
        json!({"status": "disconnected", "connectedAt": 1, "disconnectedAt": "x",
               "disconnectReason": "", "messagesFromClient": 0, "messagesToClient": 2_147_483_647,
               "ipAddress": "x".repeat(39)}),
        json!({"status": "disconnected", "disconnectReason": "x".repeat(1024)}),
        json!({"status": "disconnected", "disconnectReason": "x".repeat(1025)}),
        json!({"status": "disconnected", "messagesFromClient": -1}),
        json!({"status": "disconnected", "messagesFromClient": 2_147_483_648_u32}),
        json!({"status": "disconnected", "messagesFromClient": 1.5}),
        json!({"status": "connected", "disconnectReason": "x"}),
        json!({"status": "connected", "disconnectedAt": 1}),
        json!({"status": "connected", "messagesToClient": 1}),
        json!({"status": "connected", "ipAddress": ""}),
        json!({"status": "connected", "ipAddress": null}),
        json!({"status": "connected", "reason": "x"}),
        json!({"status": "asleep"}),
        json!({"status": {"connected": null}}),
        json!({}),
        json!(["connected", null, null, null, null, null, null]),
    ];
    assert_agreement::<ConnectionStatus>(STATUS, &bodies);
}

#[test]
fn patch_follows_the_schema() {
    let tag = json!({"key": "k", "value": "v"});
    let attribute = json!({"name": "a", "dataType": "number"});
    let id = "575ecf887ae143cd83dc4aa2";
    let bodies = [
        json!({}),
        json!({"name": "n", "description": "", "deviceClass": "edgeCompute", "gatewayId": id,
               "parentId": null, "systemInterval": 5, "keepDuplicates": false}),
        json!({
            "parentId": id,
            "tags": vec![tag.clone(); 100],
            "attributes": vec![attribute.clone(); 256],
        }),
        json!({"attributes": [{"name": "a", "dataType": "blob", "contentType": "image/png",
               "description": "d", "attributeTags": {"k": "v"}, "system": {"aggregation": "STD_DEV",
               "aggregationOptions": [], "childAttributes": [{"name": "b", "mode": "whitelist",
               "deviceIds": [id], "deviceTags": [{"key": "k"}, {}]}]}}]}),
        json!({"tags": vec![tag; 101]}),
        json!({"attributes": vec![attribute; 257]}),
        json!({"name": ""}),
        json!({"name": null}),
        json!({"gatewayId": null}),
        json!({"gatewayId": "x"}),
        json!({"deviceClass": "toaster"}),
        json!({"systemInterval": 4}),
        json!({"systemInterval": 3_601}),
        json!({"tags": {"k": "v"}}),
        json!({"tags": [{"key": "k"}]}),
        json!({"tags": [{"key": "a b", "value": "v"}]}),
        json!({"attributes": [{"name": "a"}]}),
        json!({"attributes": [{"name": "a", "dataType": "integer"}]}),
        json!({"attributes": [{"name": "a", "dataType": "blob", "contentType": "x".repeat(65)}]}),
        json!({"attributes": [
            {"name": "a", "dataType": "number", "system": {"aggregation": "AVG"}},
        ]}),
        json!({"attributes": [
            {"name": "a", "dataType": "number", "system": {"aggregationOptions": [{}]}},
        ]}),
        json!({"id": id}),
        json!([]),
        json!({"tags": [["k", "v"]]}),
        json!({"deviceClass": {"gateway": null}}),
        json!({"attributes": [["a", "number"]]}),
        json!({"attributes": [{"name": "a", "dataType": "number", "system": []}]}),
        json!({"attributes": [{"name": "a", "dataType": {"number": null}}]}),
    ];
    assert_agreement::<DevicePatch>(PATCH, &bodies);
}

#[test]
fn export_follows_the_schema() {
    let bodies = [
        json!({}),
        json!({"email": "a@b.c", "callbackUrl": "https://example.com/", "attributes": ["a"],
               "start": -1.5, "end": 0}),
        json!({"options": {"includeDate": false, "includeID": false, "includeBlobData": true}}),
        json!({"attributes": ["a b"]}),
        json!({"attributes": vec!["a"; 257]}),
        json!({"start": "1"}),
        json!({"options": {"includeDate": "yes"}}),
        json!({"device": 1}),
        json!([]),
        json!({"options": []}),
        json!({"options": [true, true]}),
    ];
    assert_agreement::<DataExport>(EXPORT, &bodies);
    for (email, url) in
        [("owner", "https://example.com"), ("a@b", "example.com"), ("a@b", "ftp://a/b")]
    {
        let json = json!({"email": email, "callbackUrl": url});
        assert!(through::<DataExport>(&json).is_none(), "{json}");
    }
}

#[test]
fn error_has_the_path() {
    let error = parse::<States>(r#"[{"data": {"a": 1}}, {"data": {"b": null}}]"#).unwrap_err();
    assert_eq!(
        error.to_string(),
        "[1].data.b: a value is a number, true, false or a text; leave out what has none"
    );
    let error = parse::<ConnectionStatus>(r#"{"status": "connected", "disconnectReason": "x"}"#);
    assert!(error.unwrap_err().to_string().contains("disconnectReason is only for"));
    let error = parse::<DeviceCommand>(r#"{"name": ""}"#).unwrap_err();
    assert_eq!(error.to_string(), "name: 0 characters; Losant accepts 1 to 255");
    for (json, expected) in [
        (r#"{"tags": [["k", "v"]]}"#, "tags[0]: a list, but Losant expects an object"),
        (
            r#"{"deviceClass": {"gateway": null}}"#,
            "deviceClass: an object, but Losant expects a text",
        ),
        ("[]", "the body: a list, but Losant expects an object"),
    ] {
        assert_eq!(parse::<DevicePatch>(json).unwrap_err().to_string(), expected);
    }
    assert!(parse::<DeviceCommand>("{").unwrap_err().to_string().starts_with("invalid JSON"));
}

#[test]
fn connection_statuses_of_the_daemon_are_valid() {
    let (up, down) = (WallTime::from_millis(0), WallTime::from_millis(1));
    let connected = serde_json::to_value(ConnectionStatus::connected(up)).unwrap();
    assert_eq!(
        connected,
        json!({"status": "connected", "connectedAt": "1970-01-01T00:00:00.000Z"})
    );
    let disconnected = ConnectionStatus::disconnected(up, down, &"ö".repeat(2_000));
    let json = serde_json::to_value(&disconnected).unwrap();
    assert!(validator(STATUS).is_valid(&json), "{json}");
    assert_eq!(json["disconnectReason"].as_str().unwrap().chars().count(), 1_024);
}

/// JSON made of the words of all schemas, so that much of it is nearly or wholly good.
fn nearly_good() -> impl Strategy<Value = Value> {
    let words = [
        "data",
        "time",
        "meta",
        "flowVersion",
        "name",
        "payload",
        "status",
        "connectedAt",
        "disconnectedAt",
        "disconnectReason",
        "messagesToClient",
        "ipAddress",
        "tags",
        "key",
        "value",
        "attributes",
        "dataType",
        "contentType",
        "parentId",
        "deviceClass",
        "$date",
        "options",
        "includeID",
        "start",
        "email",
    ];
    let texts = [
        "connected",
        "disconnected",
        "number",
        "gateway",
        "x",
        "",
        "a@b.c",
        "575ecf887ae143cd83dc4aa2",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-2_i64..3_000_000_000).prop_map(Value::from),
        select(texts.to_vec()).prop_map(Value::from),
    ];
    let words = words.map(str::to_owned);
    leaf.prop_recursive(3, 16, 3, move |inner| {
        let members = prop::collection::btree_map(select(words.to_vec()), inner.clone(), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The same with the member that a body must have.
fn body(key: &'static str, values: Vec<Value>) -> impl Strategy<Value = Value> {
    (nearly_good(), select(values)).prop_map(move |(mut json, value)| {
        if let Some(object) = json.as_object_mut() {
            object.insert(key.to_owned(), value);
        }
        json
    })
}

#[test]
fn accepts_exactly_what_the_schemas_accept() {
    let (states, commands, statuses) = (validator(STATES), validator(COMMAND), validator(STATUS));
    let (patches, exports) = (validator(PATCH), validator(EXPORT));
    let bodies = (
        body("data", vec![json!({}), json!({"a": 1})]),
        body("name", vec![json!("open")]),
        body("status", vec![json!("connected"), json!("disconnected")]),
        nearly_good(),
    );
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) };
    let outcome = TestRunner::new(config).run(&bodies, |(state, command, status, any)| {
        for (ours, schema, json, is_strict) in [
            (through::<States>(&state), &states, &state, false),
            (through::<DeviceCommand>(&command), &commands, &command, false),
            (through::<ConnectionStatus>(&status), &statuses, &status, false),
            (through::<DevicePatch>(&any), &patches, &any, false),
            // Addresses and misspelt options are looked at more closely than the schema does.
            (through::<DataExport>(&any), &exports, &any, true),
        ] {
            prop_assert!(ours.as_ref().is_none_or(|sent| schema.is_valid(sent)), "{}", json);
            prop_assert!(ours.is_none() || schema.is_valid(json), "{}", json);
            prop_assert!(ours.is_some() || is_strict || !schema.is_valid(json), "{}", json);
        }
        Ok(())
    });
    outcome.unwrap();
}
