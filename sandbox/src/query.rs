//! Query parameters. Unknown parameters are ignored, as at Losant.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::Query as Pairs;
use axum::http::Uri;

use crate::reply::ApiError;
use crate::timeline::Window;

/// The parameters of a call. The last value of a repeated parameter wins.
#[derive(Debug)]
pub(crate) struct Query(BTreeMap<String, String>);

impl Query {
    /// Parses the query of a URI; a malformed query is a 400.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        let pairs = Pairs::<Vec<(String, String)>>::try_from_uri(uri);
        let Pairs(pairs) = pairs.map_err(|_| ApiError::validation("query is not well-formed"))?;
        Ok(Self(pairs.into_iter().collect()))
    }

    /// Returns the text of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns whether a flag such as `_links` is `true`.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text.eq_ignore_ascii_case("true"))
    }

    /// Parses an integer; any other text is a 400.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let parse = |text: &str| {
            text.parse().map_err(|_| ApiError::validation(format!("{name} must be an integer")))
        };
        self.text(name).map(parse).transpose()
    }

    /// Returns the window of getState, getCommand and getLogEntries.
    ///
    /// `duration` counts back from `end`, or from now without `end`; `since` is the older name of
    /// `start`. Losant does not document how it combines them.
    pub(crate) fn window(&self, now_ms: i64) -> Result<Window, ApiError> {
        let limit = self.integer("limit")?.unwrap_or(1);
        let limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
        let limit = limit.ok_or_else(|| ApiError::validation("limit must be 1 or more"))?;
        let newest_first = match self.text("sortDirection") {
            None | Some("desc") => true,
            Some("asc") => false,
            Some(_) => return Err(ApiError::validation("sortDirection must be asc or desc")),
        };
        let end_ms = self.integer("end")?;
        let start_ms = match (self.integer("start")?, self.integer("duration")?) {
            (Some(start_ms), _) => start_ms,
            (None, Some(duration_ms)) => end_ms.unwrap_or(now_ms).saturating_sub(duration_ms),
            (None, None) => self.integer("since")?.unwrap_or(i64::MIN),
        };
        Ok(Window {
            start_ms,
            end_ms: end_ms.unwrap_or(i64::MAX),
            newest_first,
            entries_max: limit.min(ENTRIES_MAX),
        })
    }

    /// Returns the period from `start` (or `start_default`) to `end` (or now). Zero and negative
    /// numbers are relative to now.
    pub(crate) fn period(&self, now_ms: i64, start_default: i64) -> Result<Period, ApiError> {
        let start_ms = absolute(self.integer("start")?.unwrap_or(start_default), now_ms);
        let end_ms = absolute(self.integer("end")?.unwrap_or(0), now_ms);
        Ok(Period { start_ms, end_ms })
    }

    /// Returns the interval between the keepalives of a stream.
    pub(crate) fn keep_alive(&self) -> Result<Duration, ApiError> {
        let seconds = self.integer("keepAliveInterval")?.unwrap_or(KEEP_ALIVE_S_DEFAULT);
        match u64::try_from(seconds) {
            Ok(seconds @ 2..=60) => Ok(Duration::from_secs(seconds)),
            Ok(_) | Err(_) => Err(ApiError::validation("keepAliveInterval must be 2 to 60")),
        }
    }
}

/// A period of time, both ends included, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// Resolves a time that may be relative: 0 is now, a negative number is before now
/// (rest-api/device, "Export").
pub(crate) fn absolute(time_ms: i64, now_ms: i64) -> i64 {
    if time_ms > 0 { time_ms } else { now_ms.saturating_add(time_ms) }
}

/// The default `start` of most periods, which selects everything (rest-api/device).
pub(crate) const BEGINNING: i64 = 1;
/// Largest number of entries in one response; Losant does not document its maximum.
const ENTRIES_MAX: usize = 1000;
/// Default keepalive interval in seconds (rest-api/device, "Command Stream").
const KEEP_ALIVE_S_DEFAULT: i64 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&format!("/state?{text}").parse().unwrap()).unwrap()
    }

    #[test]
    fn default_window_is_the_newest_entry() {
        let newest =
            Window { start_ms: i64::MIN, end_ms: i64::MAX, newest_first: true, entries_max: 1 };
        assert_eq!(query("").window(100).unwrap(), newest);
        assert_eq!(query("_links=true&unknown=7").window(100).unwrap(), newest);
    }

    #[test]
    fn duration_counts_back_from_end_or_now() {
        assert_eq!(query("duration=30&end=50").window(100).unwrap().start_ms, 20);
        assert_eq!(query("duration=30").window(100).unwrap().start_ms, 70);
    }

    #[test]
    fn start_overrides_since() {
        assert_eq!(query("since=5").window(100).unwrap().start_ms, 5);
        assert_eq!(query("since=5&start=6").window(100).unwrap().start_ms, 6);
    }

    #[test]
    fn caps_the_limit() {
        assert_eq!(query("limit=5000").window(100).unwrap().entries_max, 1000);
    }

    #[test]
    fn rejects_invalid_window_parameters() {
        for text in ["limit=0", "limit=x", "start=1.5", "sortDirection=up", "end="] {
            query(text).window(100).unwrap_err();
        }
    }

    #[test]
    fn period_can_be_relative_to_now() {
        assert_eq!(query("").period(100, BEGINNING).unwrap(), Period { start_ms: 1, end_ms: 100 });
        let expected = Period { start_ms: 80, end_ms: 95 };
        assert_eq!(query("start=-20&end=-5").period(100, BEGINNING).unwrap(), expected);
    }

    #[test]
    fn keepalive_interval_is_2_to_60_seconds() {
        assert_eq!(query("").keep_alive().unwrap(), Duration::from_secs(2));
        assert_eq!(query("keepAliveInterval=60").keep_alive().unwrap(), Duration::from_secs(60));
        query("keepAliveInterval=1").keep_alive().unwrap_err();
        query("keepAliveInterval=61").keep_alive().unwrap_err();
    }
}
