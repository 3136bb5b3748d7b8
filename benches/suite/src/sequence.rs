//! Sequence numbers: finds them in the bodies of calls, and counts each of them.

use std::ops::Range;

/// The sequence numbers that a [`Tally`] counts: from 0 up to this one.
pub(crate) const NUMBERS: usize = 16_000_000;

/// Sequence numbers from this one on warm a program up. A tally leaves them out of its figures.
pub(crate) const WARM_UP: u64 = 15_000_000;

/// Returns the sequence numbers in a body: each number after the key `seq`.
///
/// The key may be in an object or in a string with an escaped object, because some programs send
/// a reading as text.
pub(crate) fn in_body(body: &[u8]) -> impl Iterator<Item = u64> {
    let ends = (3..=body.len()).filter(|end| body.get(end - 3..*end) == Some(b"seq"));
    ends.filter_map(|end| number_after(body.get(end..)?))
}

fn number_after(rest: &[u8]) -> Option<u64> {
    let is_between = |byte: &u8| matches!(byte, b'\\' | b'"' | b':' | b' ');
    let start = rest.iter().position(|byte| !is_between(byte))?;
    if !rest.get(..start)?.contains(&b':') {
        return None;
    }
    let digits = rest.get(start..)?.iter().take_while(|byte| byte.is_ascii_digit());
    let mut number = None;
    for digit in digits {
        let so_far = number.unwrap_or(0_u64).checked_mul(10)?;
        number = Some(so_far.checked_add(u64::from(digit - b'0'))?);
    }
    number
}

/// How often each sequence number arrived.
pub(crate) struct Tally {
    arrivals: Vec<u8>,
    unique: u64,
    twice: u64,
}

impl Tally {
    /// Creates a tally without arrivals.
    pub(crate) fn new() -> Self {
        Self { arrivals: vec![0; NUMBERS], unique: 0, twice: 0 }
    }

    /// Counts an arrival. Ignores numbers beyond [`NUMBERS`].
    pub(crate) fn add(&mut self, number: u64) {
        let Ok(index) = usize::try_from(number) else { return };
        let Some(arrivals) = self.arrivals.get_mut(index) else { return };
        *arrivals = arrivals.saturating_add(1);
        if number < WARM_UP {
            match arrivals {
                1 => self.unique += 1,
                _ => self.twice += 1,
            }
        }
    }

    /// Returns how many different numbers arrived.
    pub(crate) fn unique(&self) -> u64 {
        self.unique
    }

    /// Returns how many arrivals repeated a number.
    pub(crate) fn twice(&self) -> u64 {
        self.twice
    }

    /// Returns how many numbers of a range did not arrive.
    pub(crate) fn missing(&self, range: Range<u64>) -> u64 {
        let arrived = |number: &u64| {
            let arrivals = usize::try_from(*number).ok().and_then(|at| self.arrivals.get(at));
            arrivals.is_some_and(|arrivals| *arrivals > 0)
        };
        range.filter(|number| !arrived(number)).map(|_| 1).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_numbers_in_objects_and_in_strings() {
        let body = br#"[{"seq":7,"t":1},{"data":{"seq": 12}},"{\"seq\":300}",{"seq":x},"seq 4"]"#;
        assert_eq!(in_body(body).collect::<Vec<_>>(), [7, 12, 300]);
    }

    #[test]
    fn counts_unique_repeated_and_missing_numbers() {
        let mut tally = Tally::new();
        for number in [0, 1, 3, 1, 1, WARM_UP] {
            tally.add(number);
        }
        assert_eq!((tally.unique(), tally.twice(), tally.missing(0..5)), (3, 2, 2));
    }
}
