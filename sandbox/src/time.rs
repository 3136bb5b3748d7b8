//! Losant's rules for times: the accepted forms, and the limits on past and future times.
//!
//! Accepted forms (devices/state): `{"$date": ISO}`, seconds or milliseconds since the Unix epoch,
//! a negative number of milliseconds before now, and any string that JavaScript's `Date.parse`
//! accepts. A missing or invalid time means now.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::{rfc2822, strtime};
use jiff::tz::TimeZone;
use serde_json::{Number, Value, json};

use crate::settings::TimeForm;

/// The result of comparing a reported time with Losant's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimeCheck {
    /// The report is stored.
    Acceptable,
    /// The time is more than 30 days ago; the report is ignored (devices/state).
    TooOld,
    /// The time is more than a day ahead; the report is ignored (devices/state).
    TooFarAhead,
}

/// Compares `time_ms` with the limits at `now_ms`. A time exactly at a limit is acceptable.
pub(crate) fn check(time_ms: i64, now_ms: i64) -> TimeCheck {
    if time_ms < now_ms.saturating_sub(AGE_MS_MAX) {
        TimeCheck::TooOld
    } else if time_ms > now_ms.saturating_add(AHEAD_MS_MAX) {
        TimeCheck::TooFarAhead
    } else {
        TimeCheck::Acceptable
    }
}

/// Returns the milliseconds since the Unix epoch of a time that was reported at `now_ms`.
pub(crate) fn parse(time: Option<&Value>, now_ms: i64) -> i64 {
    match time {
        Some(Value::Number(number)) => from_number(number, now_ms),
        Some(Value::String(text)) => from_text(text).unwrap_or(now_ms),
        Some(Value::Object(date)) => {
            date.get("$date").and_then(Value::as_str).and_then(from_text).unwrap_or(now_ms)
        }
        None | Some(Value::Null | Value::Bool(_) | Value::Array(_)) => now_ms,
    }
}

/// Formats a time like JavaScript's `toISOString`: `2026-05-01T10:00:00.000Z`.
pub(crate) fn to_iso(time_ms: i64) -> String {
    let clamped = Timestamp::from_millisecond(time_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{clamped:.3}")
}

/// Formats a time for the HTTP header `Date`: `Fri, 01 May 2026 10:00:00 GMT`.
pub(crate) fn to_http_date(time_ms: i64) -> String {
    let clamped = Timestamp::from_millisecond(time_ms).unwrap_or(Timestamp::UNIX_EPOCH);
    clamped.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Formats a time in one of the three forms of the schemas.
pub(crate) fn to_json(time_ms: i64, form: TimeForm) -> Value {
    match form {
        TimeForm::Iso => json!(to_iso(time_ms)),
        TimeForm::Millis => json!(time_ms),
        TimeForm::Date => json!({"$date": to_iso(time_ms)}),
    }
}

fn from_number(number: &Number, now_ms: i64) -> i64 {
    let Some(time) = number.as_f64() else { return now_ms };
    #[expect(clippy::cast_possible_truncation, reason = "a saturated time is out of range")]
    let whole = |ms: f64| ms.floor() as i64;
    if time < 0.0 {
        now_ms.saturating_add(whole(time))
    } else if time < MILLISECONDS_FROM {
        whole(time * 1000.0)
    } else {
        whole(time)
    }
}

/// Parses a text; returns `None` where `Date.parse` returns NaN. A text without a zone is in the
/// server's zone, which is assumed to be UTC.
fn from_text(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Some((date, rest)) = text.split_once("T24:00") {
        // 24:00 is midnight at the end of the day; only zeros may follow.
        let zeros = rest.trim_start_matches([':', '0', '.']);
        let midnight = from_text(&format!("{date}T00:00:00{zeros}"))?;
        return Some(midnight + DAY_MS);
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Some(timestamp.as_millisecond());
    }
    if let Ok(timestamp) = rfc2822::DateTimeParser::new().parse_timestamp(text) {
        return Some(timestamp.as_millisecond());
    }
    let civil = text.parse::<DateTime>().ok().or_else(|| from_partial_date(text));
    if let Some(civil) = civil {
        return in_utc(civil);
    }
    // JavaScript's `Date.toString` appends the zone's name in parentheses, which is ignored.
    let plain = text.split(" (").next().unwrap_or(text);
    FORMATS.iter().find_map(|format| {
        let parsed = strtime::parse(format, plain).ok()?;
        let zoned = parsed.to_timestamp().ok().map(Timestamp::as_millisecond);
        zoned.or_else(|| in_utc(parsed.to_datetime().ok()?))
    })
}

/// Parses `2026` and `2026-05`, the short forms of JavaScript's ISO format.
fn from_partial_date(text: &str) -> Option<DateTime> {
    let digits =
        |part: &str, count| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    let (year, month) = text.split_once('-').unwrap_or((text, "01"));
    if !digits(year, 4) || !digits(month, 2) {
        return None;
    }
    format!("{year}-{month}-01T00:00:00").parse().ok()
}

fn in_utc(civil: DateTime) -> Option<i64> {
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// Largest age of a report (devices/state).
const AGE_MS_MAX: i64 = 30 * DAY_MS;
/// Largest lead of a report (devices/state).
const AHEAD_MS_MAX: i64 = DAY_MS;
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A number from this one on is milliseconds (from March 1973), a smaller one is seconds (until the
/// year 5138). Losant does not document the boundary.
const MILLISECONDS_FROM: f64 = 1e11;

/// Further forms that implementations of `Date.parse` accept.
const FORMATS: [&str; 7] = [
    "%a %b %d %Y %H:%M:%S GMT%z",
    "%b %d, %Y %H:%M:%S",
    "%B %d, %Y %H:%M:%S",
    "%b %d, %Y",
    "%B %d, %Y",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-05-01T10:00:00.000Z.
    const TEN: i64 = 1_777_629_600_000;
    const NOW: i64 = TEN + 12_345;

    fn parsed(time: &Value) -> i64 {
        parse(Some(time), NOW)
    }

    #[test]
    fn magnitude_selects_seconds_or_milliseconds() {
        assert_eq!(parsed(&json!(TEN)), TEN);
        assert_eq!(parsed(&json!(TEN / 1000)), TEN);
        assert_eq!(parsed(&json!(1_777_629_600.25)), TEN + 250);
    }

    #[test]
    fn negative_number_is_milliseconds_ago() {
        assert_eq!(parsed(&json!(-345)), NOW - 345);
    }

    #[test]
    fn parses_all_javascript_date_forms() {
        for text in [
            "2026-05-01T10:00:00.000Z",
            "2026-05-01T10:00Z",
            "2026-05-01T12:00:00+02:00",
            "2026-05-01T10:00:00",
            "2026-05-01 10:00:00",
            "Fri, 01 May 2026 10:00:00 GMT",
            "Fri May 01 2026 12:00:00 GMT+0200 (Central European Summer Time)",
            "May 1, 2026 10:00:00",
            "5/1/2026 10:00:00",
        ] {
            assert_eq!(parsed(&json!(text)), TEN, "{text}");
            assert_eq!(parsed(&json!({"$date": text})), TEN, "{text} as $date");
        }
    }

    #[test]
    fn date_without_time_is_midnight_utc() {
        let midnight = TEN - 10 * 3_600_000;
        for text in ["2026-05-01", "2026-05", "May 1, 2026"] {
            assert_eq!(parsed(&json!(text)), midnight, "{text}");
        }
        assert_eq!(parsed(&json!("2026")), 1_767_225_600_000);
    }

    #[test]
    fn truncates_to_milliseconds() {
        assert_eq!(parsed(&json!("2026-05-01T10:00:00.1239Z")), TEN + 123);
    }

    #[test]
    fn missing_or_invalid_time_is_now() {
        assert_eq!(parse(None, NOW), NOW);
        for nonsense in ["", "soon", "2026-13-01", "2026-05-01T25:00:00Z"] {
            assert_eq!(parsed(&json!(nonsense)), NOW, "{nonsense:?}");
        }
    }

    #[test]
    fn times_at_the_limits_are_acceptable() {
        let day = 86_400_000;
        assert_eq!(check(NOW - 30 * day, NOW), TimeCheck::Acceptable);
        assert_eq!(check(NOW - 30 * day - 1, NOW), TimeCheck::TooOld);
        assert_eq!(check(NOW + day, NOW), TimeCheck::Acceptable);
        assert_eq!(check(NOW + day + 1, NOW), TimeCheck::TooFarAhead);
    }

    #[test]
    fn huge_numbers_are_out_of_range() {
        assert_eq!(check(parsed(&json!(1e300)), NOW), TimeCheck::TooFarAhead);
        assert_eq!(check(parsed(&json!(-1e300)), NOW), TimeCheck::TooOld);
    }

    #[test]
    fn formats_times_like_javascript() {
        assert_eq!(to_iso(TEN), "2026-05-01T10:00:00.000Z");
        assert_eq!(to_http_date(TEN), "Fri, 01 May 2026 10:00:00 GMT");
        assert_eq!(to_json(TEN + 7, TimeForm::Date), json!({"$date": "2026-05-01T10:00:00.007Z"}));
    }
}
