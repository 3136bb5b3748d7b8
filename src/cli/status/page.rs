//! The status document as a page of text. Missing members are left out, so that the document of an
//! older daemon can be shown.

use std::fmt::{self, Write as _};
use std::time::Duration;

use bytesize::ByteSize;
use serde_json::{Map, Value};

use tidegate_model::WallTime;

/// The prefix of a problem, and of its further lines.
const MARK: &str = "  ! ";
const INDENT: &str = "    ";

/// Writes the page, cut to this size.
pub(super) fn page(
    document: &Value,
    lines_max: usize,
    columns_max: usize,
) -> Result<String, fmt::Error> {
    let mut page = String::new();
    let node = Node(document);
    health(&mut page, node, columns_max)?;
    link(&mut page, node)?;
    store(&mut page, node)?;
    buses(&mut page, node)?;
    sensors(&mut page, node)?;
    actuators(&mut page, node)?;
    Ok(cut(&page, lines_max, columns_max))
}

/// A node of the document.
#[derive(Clone, Copy)]
struct Node<'a>(&'a Value);

impl<'a> Node<'a> {
    fn at(self, pointer: &str) -> Node<'a> {
        Node(self.0.pointer(pointer).unwrap_or(&Value::Null))
    }

    fn number(self, pointer: &str) -> Option<u64> {
        self.at(pointer).0.as_u64()
    }

    fn count(self, pointer: &str) -> u64 {
        self.number(pointer).unwrap_or_default()
    }

    /// Returns a text without control characters, which could change the terminal.
    fn text(self, pointer: &str) -> Option<String> {
        let text = self.at(pointer).0.as_str()?;
        Some(text.chars().filter(|letter| !letter.is_control()).collect())
    }

    fn is(self, pointer: &str) -> Option<bool> {
        self.at(pointer).0.as_bool()
    }

    /// Returns the member of this name.
    fn get(self, name: &str) -> Node<'a> {
        Node(self.0.get(name).unwrap_or(&Value::Null))
    }

    /// Formats the duration at `pointer`, which is in seconds.
    fn span(self, pointer: &str) -> Option<String> {
        self.number(pointer).map(span)
    }

    fn members(self, pointer: &str) -> impl Iterator<Item = (&'a str, Node<'a>)> {
        let members = self.at(pointer).0.as_object().into_iter().flat_map(Map::iter);
        members.map(|(name, member)| (name.as_str(), Node(member)))
    }

    /// Returns the sum of the numbers in an object.
    fn sum(self, pointer: &str) -> u64 {
        self.members(pointer).filter_map(|(_, member)| member.0.as_u64()).sum()
    }
}

fn health(page: &mut String, node: Node<'_>, columns_max: usize) -> fmt::Result {
    let version = node.text("/version").unwrap_or_default();
    write!(page, "tidegate {version}")?;
    if let Some(uptime) = node.span("/uptime_s") {
        write!(page, ", up for {uptime}")?;
    }
    if let Some(condition) = node.text("/health/condition") {
        write!(page, ": {condition}")?;
    }
    writeln!(page)?;
    for problem in node.at("/health/problems").0.as_array().into_iter().flatten() {
        let problem = Node(problem);
        let text = |pointer| problem.text(pointer).unwrap_or_default();
        let words = [text("/code").replace('_', " "), text("/subject"), text("/detail")];
        let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let lines = wrapped(&words.join(": "), columns_max.saturating_sub(MARK.len()));
        for (mark, line) in std::iter::once(MARK).chain(std::iter::repeat(INDENT)).zip(lines) {
            writeln!(page, "{mark}{line}")?;
        }
    }
    writeln!(page)
}

fn link(page: &mut String, node: Node<'_>) -> fmt::Result {
    let online = match node.is("/cloud/online") {
        Some(true) => "online",
        Some(false) => "offline",
        None => "no call yet",
    };
    let since = node.span("/cloud/since_s").map(|span| format!(" for {span}")).unwrap_or_default();
    let (states, batches) = (node.count("/cloud/states_stored"), node.count("/cloud/batches"));
    writeln!(page, "cloud     {online}{since}; stored {states} states in {batches} batches")?;
    let calls = node.members("/throttle").map(|(device, throttle)| {
        format!("{device} {} of {}", throttle.count("/calls"), throttle.count("/calls_max"))
    });
    let calls: Vec<_> = calls.collect();
    if !calls.is_empty() {
        writeln!(page, "calls     {} in 15 s", calls.join(", "))?;
    }
    let streams = node.members("/streams").map(|(device, is_open)| {
        let state = if is_open.0.as_bool() == Some(true) { "open" } else { "closed" };
        format!("{device} {state}")
    });
    let streams: Vec<_> = streams.collect();
    if !streams.is_empty() {
        writeln!(page, "streams   {}", streams.join(", "))?;
    }
    if node.count("/audit/samples") > 0 {
        let (values, differing) =
            (node.count("/audit/values"), node.count("/audit/differing_values"));
        writeln!(page, "audit     {values} values read back from Losant, {differing} differ")?;
    }
    writeln!(
        page,
        "commands  {} received: {} executed, {} failed, {} refused, {} interrupted",
        node.count("/commands/received"),
        node.count("/commands/executed"),
        node.count("/commands/failed"),
        node.sum("/commands/refused"),
        node.count("/commands/interrupted"),
    )
}

/// Shows the forecast of payloads and the sensor that causes most of them.
fn forecast(page: &mut String, node: Node<'_>) -> fmt::Result {
    let of = |sensor: Node<'_>| sensor.number("/payloads_per_month").unwrap_or_default();
    let sensors: Vec<_> = node.members("/sensors").map(|(name, one)| (of(one), name)).collect();
    let total: u64 = sensors.iter().map(|(payloads, _)| payloads).sum();
    match sensors.iter().max() {
        Some((most, sensor)) if total > 0 => {
            writeln!(
                page,
                "payloads  {total} in 30 days at this rate, {most} of them from {sensor}"
            )
        }
        Some(_) | None => Ok(()),
    }
}

fn store(page: &mut String, node: Node<'_>) -> fmt::Result {
    let (states, bytes) = (node.count("/outbox/states"), ByteSize(node.count("/outbox/bytes")));
    let bytes_max = ByteSize(node.count("/outbox/bytes_max"));
    write!(page, "outbox    {states} states waiting, {bytes} of {bytes_max}")?;
    if let Some(oldest) = node.at("/outbox/oldest_ms").0.as_i64() {
        write!(page, "; oldest {}", WallTime::from_millis(oldest))?;
    }
    writeln!(page)?;
    if states > 0 {
        let rate = |pointer| node.at(pointer).0.as_f64().unwrap_or_default();
        write!(page, "          {} states/s in", rate("/outbox/in_per_s"))?;
        write!(page, ", {} states/s out", rate("/outbox/out_per_s"))?;
        match node.span("/outbox/catch_up_s") {
            Some(span) => writeln!(page, "; empty in about {span}")?,
            None => writeln!(page, "; not shrinking")?,
        }
    }
    forecast(page, node)?;
    write!(page, "disk      ")?;
    match node.span("/disk/write_failing_s") {
        Some(span) => write!(page, "writes have been failing for {span}")?,
        None => write!(page, "ok")?,
    }
    if let Some(free) = node.number("/disk/free_bytes") {
        write!(page, "; {} free", ByteSize(free))?;
    }
    match node.number("/outbox/loss_window_ms") {
        Some(ms) => {
            let window = humantime::format_duration(Duration::from_millis(ms));
            writeln!(page, "; a power cut loses at most {window}")?;
        }
        None => writeln!(page)?,
    }
    match node.text("/clock/trust").as_deref() {
        Some("waiting") => {
            writeln!(page, "clock     not synchronised; readings wait")
        }
        Some(trust) => writeln!(page, "clock     trusted ({trust})"),
        None => Ok(()),
    }
}

fn buses(page: &mut String, node: Node<'_>) -> fmt::Result {
    // The ledger also has buses that the configuration no longer has.
    let names = node.members("/buses").chain(node.members("/ledger")).map(|(name, _)| name);
    let names: std::collections::BTreeSet<_> = names.collect();
    if names.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "\n{:<16}{:<18}{:>10}{:>10}{:>9}{:>9}",
        "BUS", "CONNECTION", "RECEIVED", "STORED", "REJECTED", "DROPPED"
    )?;
    for name in names {
        let (bus, account) = (node.at("/buses").get(name), node.at("/ledger").get(name));
        let state = match bus.is("/connected") {
            Some(true) => "up",
            Some(false) => "down",
            None => "-",
        };
        let since = bus.span("/since_s").map(|span| format!(" {span}")).unwrap_or_default();
        writeln!(
            page,
            "{:<16}{:<18}{:>10}{:>10}{:>9}{:>9}",
            shortened(name, 15),
            format!("{state}{since}"),
            account.count("/received"),
            account.count("/stored"),
            account.sum("/rejected"),
            account.sum("/dropped"),
        )?;
    }
    Ok(())
}

fn sensors(page: &mut String, node: Node<'_>) -> fmt::Result {
    let mut is_first = true;
    for (name, sensor) in node.members("/sensors") {
        if std::mem::take(&mut is_first) {
            writeln!(
                page,
                "\n{:<16}{:<26}{:>12}{:>10}{:>8}",
                "SENSOR", "LAST VALUE", "AGE", "PER MIN", "ERRORS"
            )?;
        }
        let value = match (sensor.text("/attribute"), sensor.at("/value").0) {
            (None, _) | (_, Value::Null) => "-".to_owned(),
            (Some(attribute), value) => format!("{attribute} {value}"),
        };
        let stale = if sensor.is("/stale") == Some(true) { "  stale" } else { "" };
        writeln!(
            page,
            "{:<16}{:<26}{:>12}{:>10}{:>8}{stale}",
            shortened(name, 15),
            shortened(&value, 25),
            sensor.span("/age_s").unwrap_or_else(|| "never".to_owned()),
            sensor.at("/per_minute").0.as_f64().unwrap_or_default(),
            sensor.count("/errors"),
        )?;
    }
    Ok(())
}

fn actuators(page: &mut String, node: Node<'_>) -> fmt::Result {
    let mut is_first = true;
    for (name, actuator) in node.members("/actuators") {
        if std::mem::take(&mut is_first) {
            writeln!(page, "\n{:<16}{:<22}{:<13}RECEIVED", "ACTUATOR", "LAST COMMAND", "RESULT")?;
        }
        let text = |pointer| actuator.text(pointer).unwrap_or_else(|| "-".to_owned());
        let received = actuator.at("/received_ms").0.as_i64().map(WallTime::from_millis);
        writeln!(
            page,
            "{:<16}{:<22}{:<13}{}",
            shortened(name, 15),
            shortened(&text("/command"), 21),
            text("/result"),
            received.map_or_else(|| "-".to_owned(), |time| time.to_string()),
        )?;
    }
    Ok(())
}

/// Formats a duration in its two largest units.
fn span(seconds: u64) -> String {
    let whole = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    let units: Vec<_> = whole.split(' ').take(2).collect();
    units.join(" ")
}

/// Cuts a text to a number of characters.
fn shortened(text: &str, characters_max: usize) -> String {
    if text.chars().count() <= characters_max {
        return text.to_owned();
    }
    text.chars().take(characters_max.saturating_sub(1)).chain(['…']).collect()
}

/// Wraps a text into lines; longer words stay whole.
fn wrapped(text: &str, columns_max: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.chars().count() + 1 + word.chars().count() <= columns_max => {
                line.extend([" ", word]);
            }
            Some(_) | None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Cuts a page to the screen and counts the lines left out.
fn cut(page: &str, lines_max: usize, columns_max: usize) -> String {
    let count = page.lines().count();
    let shown = if count > lines_max { lines_max.saturating_sub(1) } else { count };
    let lines = page.lines().take(shown).map(|line| shortened(line.trim_end(), columns_max));
    let rest = (shown < count).then(|| format!("({} more lines)", count - shown));
    lines.chain(rest).flat_map(|line| [line, "\n".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "version": "0.1.0", "uptime_s": 273_845,
            "health": { "condition": "degraded", "problems": [
                { "code": "bus_down", "subject": "boiler", "detail": "cannot open /dev/ttyUSB0: \
                    no such file or directory; waiting" },
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
            "buses": {
                "boiler": { "connected": false, "since_s": 185 },
                "a-bus-with-a-name-that-is-too-long": {},
            },
            "sensors": {
                "boiler": {
                    "attribute": "flowTemperature", "value": 21.5, "age_s": 4,
                    "payloads_per_month": 2_590_000, "per_minute": 59.98,
                    "errors": 2, "stale": true,
                },
                "sign": { "attribute": "text", "value": "\u{1b}[2J", "per_minute": 0.0 } },
            "actuators": { "fan": {
                "command": "fan", "result": "executed", "received_ms": 1_790_000_000_000_i64,
            } },
            "commands": { "received": 7, "executed": 5, "failed": 1, "refused": { "stale": 1 } },
            "streams": { "gateway": true },
            "ledger": { "boiler": {
                "received": 123_460, "stored": 123_456, "rejected": { "malformed": 3 },
            } },
        })
    }

    #[test]
    fn page_fits_eighty_columns_and_small_screens() {
        let whole = page(&document(), usize::MAX, 80).unwrap();
        assert!(whole.lines().all(|line| line.chars().count() <= 80), "{whole}");
        assert!(whole.contains("! bus down: boiler: cannot open /dev/ttyUSB0"), "{whole}");
        assert!(
            whole.contains(
                "boiler          flowTemperature 21.5                4s     59.98       2  stale"
            ),
            "{whole}"
        );
        let forecast = "payloads  2590000 in 30 days at this rate, 2590000 of them from boiler";
        assert!(whole.contains(forecast), "{whole}");
        assert!(!whole.contains('\u{1b}'), "a value must not control the terminal");
        let small = page(&document(), 10, 40).unwrap();
        assert_eq!(small.lines().count(), 10);
        assert!(small.ends_with(" more lines)\n"), "{small}");
        assert!(small.lines().all(|line| line.chars().count() <= 40), "{small}");
    }

    #[test]
    fn empty_document_makes_a_page() {
        let page = page(&json!({}), usize::MAX, 80).unwrap();
        assert!(page.contains("cloud     no call yet"), "{page}");
    }

    #[test]
    fn duration_has_its_two_largest_units() {
        assert_eq!([span(0), span(59), span(3_725)], ["0s", "59s", "1h 2m"]);
    }
}
