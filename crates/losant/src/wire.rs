//! Parses the JSON of Losant. Unknown keys are ignored, and any key may be missing.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use tidegate_model::{Command, DeviceId, PAYLOAD_BYTES_MAX, Unread, WallTime};

/// The least number that is milliseconds since the epoch; smaller ones are seconds.
///
/// It is 1 January 2001 in milliseconds.
const MILLIS_MIN: f64 = 978_307_200_000.0;

/// The body of `POST /auth/device` (schema `deviceCredentials`).
///
/// It holds the secret, so it has no debug output.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DeviceCredentials<'a> {
    pub(super) device_id: String,
    pub(super) key: &'a str,
    pub(super) secret: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub(super) requested_scopes: &'a [String],
    /// Presumably in seconds; the documentation does not name the unit.
    #[serde(rename = "tokenTTL", skip_serializing_if = "Option::is_none")]
    pub(super) token_ttl: Option<u64>,
}

/// The answer of `POST /auth/device` (schema `authedDevice`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthedDevice {
    pub(super) application_id: String,
    pub(super) token: String,
    #[serde(default)]
    pub(super) device_class: String,
}

/// The body of an error (schema `error`). Either member may be missing.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct ErrorBody {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) message: String,
}

/// A command with unparsed members (schema `deviceCommand`).
#[derive(Deserialize)]
struct RawCommand<'a> {
    #[serde(borrow)]
    name: &'a RawValue,
    #[serde(borrow)]
    time: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

/// Parses a command (schema `deviceCommand`). Returns `None` if it has no name.
pub(super) fn command(device: DeviceId, text: &str) -> Option<Command> {
    let RawCommand { name, time, payload } = serde_json::from_str(text).ok()?;
    let name = self::name(name.get())?;
    let time = time.and_then(|raw| self::time(&serde_json::from_str(raw.get()).ok()?));
    let read = payload.map_or(Ok(serde_json::Value::Null), |raw| self::payload(raw.get()));
    let unread = read.as_ref().err().copied();
    Some(Command { device, name, time, payload: read.unwrap_or_default(), unread })
}

/// Parses a list of commands. Returns `None` if it is not a list.
///
/// Each command is parsed on its own, so an unreadable payload hides no other command. Commands
/// without a name are omitted.
pub(super) fn commands(device: DeviceId, body: &[u8]) -> Option<Vec<Command>> {
    let items: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    Some(items.into_iter().filter_map(|item| command(device, item.get())).collect())
}

/// Parses a name. Returns a string with an invalid escape unparsed, and `None` for other JSON.
fn name(text: &str) -> Option<String> {
    let written = || text.strip_prefix('"')?.strip_suffix('"').map(str::to_owned);
    serde_json::from_str(text).ok().or_else(written)
}

fn payload(text: &str) -> Result<serde_json::Value, Unread> {
    if text.len() > PAYLOAD_BYTES_MAX {
        return Err(Unread::TooLarge);
    }
    serde_json::from_str(text).map_err(|_| Unread::Malformed)
}

/// Parses the header `Date`, such as `Fri, 01 May 2026 10:00:00 GMT`, in whole seconds.
pub(super) fn http_date(text: &str) -> Option<WallTime> {
    let zoned = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(WallTime::from_millis(zoned.timestamp().as_millisecond()))
}

/// Parses a time: a string, a number, or `{"$date": string}` (devices/state, "time").
fn time(json: &serde_json::Value) -> Option<WallTime> {
    match json {
        serde_json::Value::String(text) => WallTime::parse(text),
        serde_json::Value::Number(number) => {
            let number = number.as_f64()?;
            let millis = if number.abs() < MILLIS_MIN { number * 1_000.0 } else { number };
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a float as large as that saturates"
            )]
            let millis = millis as i64;
            Some(WallTime::from_millis(millis))
        }
        serde_json::Value::Object(object) => WallTime::parse(object.get("$date")?.as_str()?),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Array(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parses_every_form_of_a_command_time() {
        let expected = Some(WallTime::from_millis(1_777_629_600_000));
        for time in [
            json!("2026-05-01T10:00:00.000Z"),
            json!("2026-05-01T12:00:00+02:00"),
            json!({"$date": "2026-05-01T10:00:00.000Z"}),
            json!(1_777_629_600_000_i64),
            json!(1_777_629_600),
        ] {
            let command = read(&json!({"name": "open", "time": time, "_type": "x"})).unwrap();
            assert_eq!(command.time, expected, "{time}");
            assert_eq!(command.payload, json!(null));
        }
    }

    #[test]
    fn parses_the_date_header() {
        let expected = Some(WallTime::from_millis(1_777_629_600_000));
        assert_eq!(http_date("Fri, 01 May 2026 10:00:00 GMT"), expected);
        assert_eq!(http_date("yesterday"), None);
    }

    #[test]
    fn rejects_missing_names_and_ignores_invalid_times() {
        assert!(read(&json!({"payload": 1})).is_none());
        assert!(read(&json!([1])).is_none());
        assert!(read(&json!({"name": 1})).is_none());
        let half = command(DeviceId::from([1; 12]), r#"{"name": "\ud800"}"#).unwrap();
        assert_eq!(
            half.name, r"\ud800",
            "it would be missing in its page, and hide that there are more"
        );
        assert_eq!(read(&json!({"name": "a", "time": "soon"})).unwrap().time, None);
    }

    #[test]
    fn unreadable_payload_hides_no_other_command() {
        let deep = format!("{}1{}", "[".repeat(300), "]".repeat(300));
        let large = format!("\"{}\"", "x".repeat(PAYLOAD_BYTES_MAX));
        let payloads = [deep.as_str(), r#""\ud800""#, "1e999", large.as_str(), "1"];
        let items = payloads.map(|payload| format!(r#"{{"name": "a", "payload": {payload}}}"#));
        let page = format!("[{}]", items.join(","));
        let commands = commands(DeviceId::from([1; 12]), page.as_bytes()).unwrap();
        let unread: Vec<_> = commands.iter().map(|command| command.unread).collect();
        let malformed = Some(Unread::Malformed);
        assert_eq!(unread, [malformed, malformed, malformed, Some(Unread::TooLarge), None]);
        assert_eq!(commands[4].payload, json!(1));
    }

    fn read(json: &serde_json::Value) -> Option<Command> {
        command(DeviceId::from([1; 12]), &json.to_string())
    }
}
