//! Formats durations for people.

use std::time::Duration;

/// Formats a duration in its two largest units.
pub fn span(seconds: u64) -> String {
    let whole = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    let units: Vec<_> = whole.split(' ').take(2).collect();
    units.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duration_has_its_two_largest_units() {
        assert_eq!([span(0), span(59), span(3_725)], ["0s", "59s", "1h 2m"]);
    }
}
