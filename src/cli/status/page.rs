//! The status document as a page of text. Missing members are left out, so that the document of an
//! older daemon can be shown.

use std::time::Duration;

use bytesize::ByteSize;
use serde_json::Value;

use super::layout::{Column, Page, Row, Style};
use super::ledger::ledger;
use super::node::{Node, grouped};
use tidegate_model::WallTime;

/// The marks of a problem and of its cure.
const PROBLEM: &str = "  ! ";
const CURE: &str = "    cure: ";

/// Lays the document out for a screen with this number of columns.
pub(super) fn page(document: &Value, columns: usize) -> Page {
    let mut page = Page::new(columns);
    let node = Node(document);
    health(&mut page, node);
    link(&mut page, node);
    store(&mut page, node);
    ledger(&mut page, node);
    buses(&mut page, node);
    sensors(&mut page, node);
    actuators(&mut page, node);
    page
}

/// Returns the style of a condition.
fn style(condition: &str) -> Style {
    match condition {
        "healthy" => Style::Good,
        "degraded" => Style::Warning,
        "failing" => Style::Bad,
        _ => Style::Plain,
    }
}

fn health(page: &mut Page, node: Node<'_>) {
    let mut title = format!("tidegate {}", node.text("/version").unwrap_or_default());
    if let Some(uptime) = node.span("/uptime_s") {
        title.extend([format!(", up for {uptime}")]);
    }
    let condition = node.text("/health/condition").unwrap_or_default();
    if !condition.is_empty() {
        title.extend([format!(": {condition}")]);
    }
    page.text("", &title, style(&condition));
    for problem in node.items("/health/problems") {
        let since = problem.span("/since_s");
        let since = since.map(|since| format!(" (for {since})")).unwrap_or_default();
        let sentence = problem.text("/sentence").unwrap_or_default();
        let severity = style(&problem.text("/severity").unwrap_or_default());
        page.text(PROBLEM, &format!("{sentence}{since}"), severity);
        if let Some(cure) = problem.text("/cure") {
            page.text(CURE, &cure, Style::Plain);
        }
    }
    page.gap();
}

fn link(page: &mut Page, node: Node<'_>) {
    let online = match node.is("/cloud/online") {
        Some(true) => "online",
        Some(false) => "offline",
        None => "no call yet",
    };
    let since = node.span("/cloud/since_s").map(|span| format!(" for {span}")).unwrap_or_default();
    let states = grouped(node.count("/cloud/states_stored"));
    let batches = grouped(node.count("/cloud/batches"));
    let text = format!("{online}{since}; stored {states} states in {batches} batches");
    page.text("cloud     ", &text, Style::Plain);
    let calls = node.members("/throttle").map(|(device, throttle)| {
        let (calls, calls_max) = (throttle.count("/calls"), throttle.count("/calls_max"));
        format!("{device} {calls} of {calls_max}")
    });
    let calls: Vec<_> = calls.collect();
    if !calls.is_empty() {
        page.text("calls     ", &format!("{} in 15 s", calls.join(", ")), Style::Plain);
    }
    let streams = node.members("/streams").map(|(device, is_open)| {
        let state = if is_open.0.as_bool() == Some(true) { "open" } else { "closed" };
        format!("{device} {state}")
    });
    let streams: Vec<_> = streams.collect();
    if !streams.is_empty() {
        page.text("streams   ", &streams.join(", "), Style::Plain);
    }
    if node.count("/audit/samples") > 0 {
        let values = grouped(node.count("/audit/values"));
        let differing = grouped(node.count("/audit/differing_values"));
        let text = format!("{values} values read back from Losant, {differing} differ");
        page.text("audit     ", &text, Style::Plain);
    }
    let commands = format!(
        "{} received: {} executed, {} failed, {} refused, {} interrupted",
        grouped(node.count("/commands/received")),
        grouped(node.count("/commands/executed")),
        grouped(node.count("/commands/failed")),
        grouped(node.sum("/commands/refused")),
        grouped(node.count("/commands/interrupted")),
    );
    page.text("commands  ", &commands, Style::Plain);
}

/// Shows the forecast of payloads and the sensor that causes most of them.
fn forecast(page: &mut Page, node: Node<'_>) {
    let of = |sensor: Node<'_>| sensor.number("/payloads_per_month").unwrap_or_default();
    let sensors: Vec<_> = node.members("/sensors").map(|(name, one)| (of(one), name)).collect();
    let total: u64 = sensors.iter().map(|(payloads, _)| payloads).sum();
    if let Some((most, sensor)) = sensors.iter().max().filter(|_| total > 0) {
        let (total, most) = (grouped(total), grouped(*most));
        let text = format!("{total} in 30 days at this rate, {most} of them from {sensor}");
        page.text("payloads  ", &text, Style::Plain);
    }
}

fn store(page: &mut Page, node: Node<'_>) {
    let (states, bytes) = (node.count("/outbox/states"), ByteSize(node.count("/outbox/bytes")));
    let bytes_max = ByteSize(node.count("/outbox/bytes_max"));
    let mut text = format!("{} states waiting, {bytes} of {bytes_max}", grouped(states));
    if let Some(oldest) = node.at("/outbox/oldest_ms").0.as_i64() {
        text.extend([format!("; oldest {}", WallTime::from_millis(oldest))]);
    }
    page.text("outbox    ", &text, Style::Plain);
    if states > 0 {
        let (rate_in, rate_out) = (node.rate("/outbox/in_per_s"), node.rate("/outbox/out_per_s"));
        let end = match node.span("/outbox/catch_up_s") {
            Some(span) => format!("empty in about {span}"),
            None => "not shrinking".to_owned(),
        };
        let text = format!("{rate_in} states/s in, {rate_out} states/s out; {end}");
        page.text("          ", &text, Style::Plain);
    }
    forecast(page, node);
    let mut text = match node.span("/disk/write_failing_s") {
        Some(span) => format!("writes have been failing for {span}"),
        None => "ok".to_owned(),
    };
    if let Some(free) = node.number("/disk/free_bytes") {
        text.extend([format!("; {} free", ByteSize(free))]);
    }
    if let Some(ms) = node.number("/outbox/loss_window_ms") {
        let window = humantime::format_duration(Duration::from_millis(ms));
        text.extend([format!("; a power cut loses at most {window}")]);
    }
    page.text("disk      ", &text, Style::Plain);
    match node.text("/clock/trust").as_deref() {
        Some("waiting") => {
            page.text("clock     ", "not synchronised; readings wait", Style::Plain);
        }
        Some(trust) => page.text("clock     ", &format!("trusted ({trust})"), Style::Plain),
        None => {}
    }
}

fn buses(page: &mut Page, node: Node<'_>) {
    let rows = node.members("/buses").map(|(name, bus)| {
        let state = match bus.is("/connected") {
            Some(true) => "up",
            Some(false) => "down",
            None => "-",
        };
        let since = bus.span("/since_s").map(|span| format!(" {span}")).unwrap_or_default();
        let disconnects = grouped(bus.count("/disconnects"));
        let is_down = bus.is("/connected") == Some(false);
        Row {
            cells: vec![name.to_owned(), format!("{state}{since}"), disconnects],
            style: if is_down { Style::Warning } else { Style::Plain },
            notes: Vec::new(),
        }
    });
    let columns = [Column::Left("BUS"), Column::Left("CONNECTION"), Column::Right("DISCONNECTS")];
    page.table(&columns, &rows.collect::<Vec<_>>());
}

fn sensors(page: &mut Page, node: Node<'_>) {
    let columns = [
        Column::Left("SENSOR"),
        Column::Left("LAST VALUE"),
        Column::Right("AGE"),
        Column::Right("PER MIN"),
        Column::Right("ERRORS"),
        Column::Right("SKIPPED"),
    ];
    let rows = node.members("/sensors").map(|(name, one)| sensor(name, one));
    page.table(&columns, &rows.collect::<Vec<_>>());
}

fn sensor(name: &str, sensor: Node<'_>) -> Row {
    let value = match (sensor.text("/attribute"), sensor.at("/value").0) {
        (None, _) | (_, Value::Null) => "-".to_owned(),
        (Some(attribute), value) => format!("{attribute} {value}"),
    };
    let is_stale = sensor.is("/stale") == Some(true);
    let age = sensor.span("/age_s").unwrap_or_else(|| "never".to_owned());
    let last = |what: &str, name: &str| {
        let detail = sensor.text(&format!("/{name}"))?;
        let reason = sensor.text(&format!("/{name}_reason")).unwrap_or_default();
        let age = sensor.span(&format!("/{name}_age_s")).unwrap_or_default();
        Some(format!("last {what} {age} ago, {reason}: {detail}"))
    };
    let silent = is_stale.then(|| "stale: silent for too long".to_owned());
    let notes = [silent, last("error", "error"), last("skip", "skip")];
    let rate = sensor.rate("/per_minute").to_string();
    let (errors, skipped) = (sensor.count("/errors"), sensor.count("/skipped"));
    Row {
        cells: vec![name.to_owned(), value, age, rate, grouped(errors), grouped(skipped)],
        style: if is_stale { Style::Warning } else { Style::Plain },
        notes: notes.into_iter().flatten().collect(),
    }
}

fn actuators(page: &mut Page, node: Node<'_>) {
    let columns = [
        Column::Left("ACTUATOR"),
        Column::Left("LAST COMMAND"),
        Column::Left("RESULT"),
        Column::Left("RECEIVED"),
    ];
    let rows = node.members("/actuators").map(|(name, actuator)| {
        let text = |pointer| actuator.text(pointer).unwrap_or_else(|| "-".to_owned());
        let received = actuator.at("/received_ms").0.as_i64().map(WallTime::from_millis);
        let received = received.map_or_else(|| "-".to_owned(), |time| time.to_string());
        let is_failed = text("/result") == "failed";
        Row {
            cells: vec![name.to_owned(), text("/command"), text("/result"), received],
            style: if is_failed { Style::Warning } else { Style::Plain },
            notes: Vec::new(),
        }
    });
    page.table(&columns, &rows.collect::<Vec<_>>());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LONG: &str = "a-bus-with-a-name-that-is-so-long-that-it-needs-two-lines-on-most-screens";

    fn document() -> Value {
        json!({
            "version": "0.1.0", "uptime_s": 273_845,
            "health": { "condition": "degraded", "problems": [
                { "code": "bus_down", "severity": "degraded", "since_s": 185, "subject": "boiler",
                  "sentence": "bus down: boiler: cannot open /dev/ttyUSB0: no such file or \
                      directory; waiting",
                  "cure": "Connect the instrument." },
            ] },
            "cloud": {
                "online": true, "since_s": 7_265, "states_stored": 123_456, "batches": 2_345,
            },
            "throttle": { "gateway": { "calls": 3, "calls_max": 30 } },
            "clock": { "trust": "kernel" },
            "outbox": {
                "states": 1_200, "bytes": 123_456, "bytes_max": 268_435_456,
                "oldest_ms": 1_790_000_000_000_i64,
                "in_per_s": 1.5, "out_per_s": 40.25, "catch_up_s": 31 },
            "disk": { "write_failing_s": null, "free_bytes": 12_345_678_901_u64 },
            "buses": { "boiler": { "connected": false, "since_s": 185 }, LONG: {} },
            "sensors": {
                "boiler": {
                    "attribute": "flowTemperature", "value": 21.5, "age_s": 4,
                    "payloads_per_month": 2_590_000, "per_minute": 59.98, "stale": true,
                    "errors": 2, "error": "no digits in \"ERR\"", "error_reason": "malformed",
                    "error_age_s": 5, "skipped": 1_234, "skip": "channel x is null",
                    "skip_reason": "no_value", "skip_age_s": 61,
                },
                "sign": { "attribute": "text", "value": "\u{1b}[2J", "per_minute": 0.0 } },
            "actuators": { "fan": {
                "command": "fan", "result": "executed", "received_ms": 1_790_000_000_000_i64,
            } },
            "commands": { "received": 7, "executed": 5, "failed": 1, "refused": { "stale": 1 } },
            "streams": { "gateway": true },
            "ledger": {
                "boiler": {
                    "received": 123_470, "generated": 2, "stored": 123_456,
                    "rejected": { "malformed": 3 }, "skipped": { "no_channel": 4, "ignored": 5 },
                    "filtered": { "unchanged": 1 }, "dropped": {},
                },
                LONG: { "received": 1, "stored": 1 },
            },
        })
    }

    #[test]
    fn page_is_wrapped_and_not_cut() {
        let words = |page: &str| page.split_whitespace().collect::<String>();
        let widest = words(&page(&document(), 1_000).render(usize::MAX, false));
        for columns in [40, 60, 80, 120] {
            let text = page(&document(), columns).render(usize::MAX, false);
            let is_narrow = |line: &str| line.chars().count() <= columns;
            assert!(text.lines().all(is_narrow), "{columns} columns:\n{text}");
            assert!(!text.contains('…'), "{text}");
            assert!(!text.contains('\u{1b}'), "a value must not control the terminal");
            if columns >= 120 {
                assert_eq!(words(&text).len(), widest.len(), "{text}");
            }
        }
        let small = page(&document(), 40).render(10, false);
        assert_eq!(small.lines().count(), 10);
        assert!(small.ends_with(" more lines)\n"), "{small}");
    }

    #[test]
    fn page_explains_problems_and_sensors() {
        let text = page(&document(), 80).render(usize::MAX, false);
        for expected in [
            "tidegate 0.1.0, up for 3days 4h: degraded\n",
            "  ! bus down: boiler: cannot open /dev/ttyUSB0: no such file or directory;\n    \
             waiting (for 3m 5s)\n    cure: Connect the instrument.\n",
            "SENSOR  LAST VALUE              AGE  PER MIN  ERRORS  SKIPPED\n\
             boiler  flowTemperature 21.5     4s    59.98       2    1,234\n    \
             stale: silent for too long\n    \
             last error 5s ago, malformed: no digits in \"ERR\"\n    \
             last skip 1m 1s ago, no_value: channel x is null\n",
            "payloads  2,590,000 in 30 days at this rate, 2,590,000 of them from boiler\n",
        ] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
    }

    #[test]
    fn ledger_adds_up_for_each_bus_and_in_total() {
        let text = page(&document(), 80).render(usize::MAX, false);
        for expected in [
            "\nboiler    123,470 received + 2 generated = 123,456 stored + 3 waiting\n          \
             + 1 filtered + 9 skipped + 3 rejected + 0 dropped\n          \
             filtered: unchanged 1; skipped: ignored 5, no_channel 4; rejected:\n          \
             malformed 3\n",
            "\ntotal     123,471 received + 2 generated = 123,457 stored + 3 waiting\n          \
             + 1 filtered + 9 skipped + 3 rejected + 0 dropped\n",
        ] {
            assert!(text.contains(expected), "no {expected:?} in\n{text}");
        }
    }

    #[test]
    fn problems_and_conditions_have_colours() {
        let text = page(&document(), 80).render(usize::MAX, true);
        assert!(text.starts_with("\x1b[33mtidegate 0.1.0"), "{text}");
        assert!(text.contains("\x1b[33m  ! bus down"), "{text}");
        assert!(text.contains("\x1b[33mboiler"), "a bus that is down");
    }

    #[test]
    fn empty_document_makes_a_page() {
        let text = page(&json!({}), 80).render(usize::MAX, false);
        assert!(text.contains("cloud     no call yet"), "{text}");
    }
}
