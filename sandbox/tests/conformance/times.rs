//! Compares the sandbox with JavaScript, whose date forms Losant documents, on generated times.

use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};
use proptest::prelude::*;
use proptest::sample::select;
use reqwest::Client;
use serde_json::{Value, json};
use std::time::Duration;
use tidegate_sandbox::{GATEWAY_ID, Sandbox};

use crate::generate::{sample, seed};
use crate::judge::{run, script};

/// Generated texts.
const TEXTS: usize = 600;

/// Forms of `Date.parse` in the notation of strftime; the last two are invalid.
const FORMS: [&str; 25] = [
    "%Y-%m-%dT%H:%M:%S.%3fZ",
    "%Y-%m-%dT%H:%M:%S.%6fZ",
    "%Y-%m-%dT%H:%M:%S.%1fZ",
    "%Y-%m-%dT%H:%M:%SZ",
    "%Y-%m-%dT%H:%MZ",
    "%Y-%m-%dT%H:%M:%S%:z",
    "%Y-%m-%dT%H:%M:%S.%3f%:z",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d",
    "%Y-%m",
    "%Y",
    "%a, %d %b %Y %H:%M:%S GMT",
    "%a, %d %b %Y %H:%M:%S %z",
    "%d %b %Y %H:%M:%S %z",
    "%a %b %d %Y %H:%M:%S GMT%z (Some Time)",
    "%b %d, %Y %H:%M:%S",
    "%B %d, %Y %H:%M:%S",
    "%B %d, %Y",
    "%m/%d/%Y",
    "%m/%d/%Y %H:%M:%S",
    "%Y-%m-%dT24:00:00Z",
    "%Y-%m-%dT%H:61:00Z",
    "soon",
];

/// Generates a time between 1970 and 2100 in one of several zones.
fn moments() -> impl Strategy<Value = Zoned> {
    let minutes = select(vec![0, 60, -300, 330, -210, 840, -720]);
    (0..4_102_444_800_000_i64, minutes).prop_map(|(time_ms, minutes)| {
        let zone = TimeZone::fixed(Offset::from_seconds(minutes * 60).unwrap());
        Timestamp::from_millisecond(time_ms).unwrap().to_zoned(zone)
    })
}

#[tokio::test]
async fn sandbox_and_javascript_agree_on_times() {
    let seed = seed();
    let texts = (moments(), select(FORMS.to_vec()))
        .prop_map(|(moment, form)| moment.strftime(form).to_string());
    let texts = sample(&texts, seed, TEXTS);
    let lines = texts.iter().map(|text| json!(text).to_string() + "\n");
    let verdicts = run(script("times.mjs"), lines.collect());
    let expected = verdicts.lines().map(|line| line.parse::<i64>().ok()).collect::<Vec<_>>();
    assert_eq!(expected.len(), texts.len());
    let times = texts.iter().map(|text| json!(text)).collect::<Vec<_>>();
    compare(&times, &expected, seed).await;
    let dates = texts.iter().map(|text| json!({"$date": text})).collect::<Vec<_>>();
    compare(&dates, &expected, seed).await;
}

#[tokio::test]
async fn numbers_are_seconds_or_milliseconds() {
    let seed = seed();
    // From 1973 on, because Losant does not document where seconds end.
    let moments = sample(&(100_000_000_000..4_102_444_800_000_i64), seed, 200);
    let times = moments.iter().map(|time_ms| json!(time_ms)).collect::<Vec<_>>();
    let expected = moments.iter().map(|time_ms| Some(*time_ms)).collect::<Vec<_>>();
    compare(&times, &expected, seed).await;
    let seconds = moments.iter().map(|time_ms| json!(time_ms / 1000)).collect::<Vec<_>>();
    let expected = moments.iter().map(|time_ms| Some(time_ms / 1000 * 1000)).collect::<Vec<_>>();
    compare(&seconds, &expected, seed).await;
}

/// Sends commands with these times and compares the stored times; `None` expects the current time.
async fn compare(times: &[Value], expected: &[Option<i64>], seed: u64) {
    // An error means that another test installed it first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let http = Client::new();
    let sandbox = Sandbox::builder().throttle_window(Duration::ZERO).start().await.unwrap();
    let url = format!(
        "{}/applications/{}/devices/{GATEWAY_ID}/command",
        sandbox.url(),
        sandbox.application_id()
    );
    let start_ms = Timestamp::now().as_millisecond();
    for (index, time) in times.iter().enumerate() {
        let command = json!({"name": index.to_string(), "time": time});
        let call = http.post(&url).bearer_auth(sandbox.api_token()).json(&command);
        assert_eq!(call.send().await.unwrap().status(), 200);
    }
    let current = start_ms..=Timestamp::now().as_millisecond();
    let commands = sandbox.commands(GATEWAY_ID);
    assert_eq!(commands.len(), times.len());
    let mut mismatches = Vec::new();
    for command in commands {
        let index = command.name.parse::<usize>().unwrap();
        let is_equal = match expected[index] {
            Some(time_ms) => command.time_ms == time_ms,
            None => current.contains(&command.time_ms),
        };
        if !is_equal {
            mismatches.push((times[index].to_string(), command.time_ms, expected[index]));
        }
    }
    assert!(
        mismatches.is_empty(),
        "seed {seed}: {} mismatches: {:?}",
        mismatches.len(),
        mismatches
    );
}
