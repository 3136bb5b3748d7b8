//! Formats and parses the file with the calls of the last seconds.
//!
//! With it a restarted daemon stays within Losant's throttle. A line is written before and after
//! each call. The file needs no sync: its content survives a kill in the page cache, and calls of
//! an earlier boot are older than this boot in any case.
//!
//! ```text
//! boot 5d0c…                            the boot of all following lines
//! begin 81234 575ecf887ae143cd83dc4aa2  uptime in milliseconds, device
//! end 81301 575ecf887ae143cd83dc4aa2
//! none 81302 575ecf887ae143cd83dc4aa2   the call ended without reaching Losant
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::throttle::{CALLS_MAX, Throttle, WINDOW};
use tidegate_model::{BootId, DeviceId};

/// Returns the first line.
pub fn head(boot: BootId) -> String {
    format!("boot {:032x}\n", boot.0)
}

/// Returns the text of a new file with the calls of all throttles that Losant may still count.
pub fn whole<'a>(
    boot: BootId,
    throttles: impl Iterator<Item = (DeviceId, &'a Throttle)>,
    uptime: Duration,
    now: Instant,
) -> String {
    let mut text = head(boot);
    for (device, throttle) in throttles {
        let at = |ended: Instant| {
            let ahead = ended.saturating_duration_since(now);
            uptime.saturating_sub(now.saturating_duration_since(ended)) + ahead
        };
        let recent = throttle.ended().filter(|ended| *ended + WINDOW > now);
        recent.for_each(|ended| text += &end(device, at(ended), true));
        (0..throttle.under_way()).for_each(|_| text += &begin(device, uptime));
    }
    text
}

/// Returns the line for a call that is about to start.
pub fn begin(device: DeviceId, uptime: Duration) -> String {
    format!("begin {} {device}\n", uptime.as_millis())
}

/// Returns the line for a call that ended.
pub fn end(device: DeviceId, uptime: Duration, may_count: bool) -> String {
    let word = if may_count { "end" } else { "none" };
    format!("{word} {} {device}\n", uptime.as_millis())
}

/// How long a call in flight at a kill may take to arrive.
///
/// The kernel still sends the bytes that it has buffered.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// The calls of earlier runs.
#[derive(Debug, Default)]
pub struct Remembered {
    devices: BTreeMap<DeviceId, Throttle>,
    /// The throttle of devices without a line.
    others: Throttle,
}

impl Remembered {
    /// Returns the throttle of a device.
    pub fn pace(&self, device: DeviceId) -> Throttle {
        self.devices.get(&device).unwrap_or(&self.others).clone()
    }

    /// Returns the devices that have lines, with their throttles.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, &Throttle)> {
        self.devices.iter().map(|(device, throttle)| (*device, throttle))
    }
}

/// The calls of one device in the file.
#[derive(Default)]
struct Calls {
    under_way: usize,
    /// The uptimes at which calls ended.
    ended: Vec<Duration>,
}

/// Parses the lines. `now` is at `uptime` of `boot`.
///
/// A line cut off by a kill is ignored: its call has not started, or has not ended. Lines of an
/// earlier boot may be incomplete, so all devices then wait until this boot is older than a window.
pub fn read(text: &str, boot: BootId, uptime: Duration, now: Instant) -> Remembered {
    let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let then = |at: Duration| {
        let ago = uptime.saturating_sub(at);
        now.checked_sub(ago).unwrap_or(now) + at.saturating_sub(uptime)
    };
    // Calls before this boot have no known time, except that they are older than it.
    let earlier = std::iter::repeat_n(then(Duration::ZERO), CALLS_MAX);
    let others = Throttle::resumed(earlier.clone());
    if lines.next() != head(boot).strip_suffix('\n') {
        return Remembered { others, ..Remembered::default() };
    }
    let mut devices: BTreeMap<DeviceId, Calls> = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let (Some(word), Some(at), Some(device)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let (Ok(at_ms), Ok(device)) = (at.parse(), device.parse()) else { continue };
        let Calls { under_way, ended } = devices.entry(device).or_default();
        match word {
            "begin" => *under_way += 1,
            "end" => ended.push(Duration::from_millis(at_ms)),
            _ => {}
        }
        if word != "begin" {
            *under_way = under_way.saturating_sub(1);
        }
    }
    let resume = |calls: Calls| {
        let Calls { under_way, ended } = calls;
        let unfinished = std::iter::repeat_n(now + ARRIVES_WITHIN, under_way.min(CALLS_MAX));
        Throttle::resumed(earlier.clone().chain(ended.into_iter().map(then)).chain(unfinished))
    };
    let devices = devices.into_iter().map(|(device, calls)| (device, resume(calls))).collect();
    Remembered { devices, others }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;

    const BOOT: BootId = BootId(7);

    fn device() -> DeviceId {
        DeviceId::from([1; 12])
    }

    /// Returns a log of calls that started and ended at these seconds of uptime.
    fn log(calls: &[(u64, Option<u64>)]) -> String {
        let mut text = head(BOOT);
        for (began, ended) in calls {
            text += &begin(device(), Duration::from_secs(*began));
            if let Some(ended) = ended {
                text += &end(device(), Duration::from_secs(*ended), true);
            }
        }
        text
    }

    fn wait(text: &str, boot: BootId, uptime_s: u64) -> Duration {
        let now = Instant::now();
        let remembered = read(text, boot, Duration::from_secs(uptime_s), now);
        remembered.pace(device()).ready_at(now) - now
    }

    #[test]
    fn counts_calls_before_a_restart() {
        let text = log(&[(100, Some(101)); CALLS_MAX]);
        assert_eq!(wait(&text, BOOT, 105), WINDOW.checked_sub(Duration::from_secs(4)).unwrap());
        assert_eq!(wait(&text, BOOT, 117), Duration::ZERO);
        assert_eq!(wait(&log(&[(100, Some(101)); CALLS_MAX - 1]), BOOT, 105), Duration::ZERO);
    }

    #[test]
    fn new_file_has_only_calls_that_still_count() {
        let now = Instant::now();
        let text = log(&[(100, Some(101)), (109, Some(110))]);
        let remembered = read(&text, BOOT, Duration::from_secs(120), now);
        let new = whole(BOOT, remembered.devices(), Duration::from_secs(120), now);
        assert_eq!(new, head(BOOT) + &end(device(), Duration::from_secs(110), true));
    }

    #[test]
    fn counts_calls_in_flight_at_a_kill() {
        let mut calls = [(100, Some(101)); CALLS_MAX];
        calls[CALLS_MAX - 1].1 = None;
        calls[0].1 = None;
        let text = log(&calls);
        assert!(wait(&text, BOOT, 105) > Duration::ZERO);
        let torn = log(&[(100, Some(101)); CALLS_MAX]);
        assert!(wait(torn.trim_end_matches('\n'), BOOT, 115) > Duration::ZERO);
    }

    #[test]
    fn ignores_logged_calls_that_never_arrived() {
        let mut text = head(BOOT);
        for _ in 0..CALLS_MAX {
            text += &begin(device(), Duration::from_secs(100));
            text += &end(device(), Duration::from_secs(100), false);
        }
        assert_eq!(wait(&text, BOOT, 101), Duration::ZERO);
    }

    #[test]
    fn dates_calls_of_an_earlier_boot_before_this_boot() {
        let text = log(&[(100, Some(101)); CALLS_MAX]);
        assert_eq!(wait(&text, BootId(8), 5), WINDOW.saturating_sub(Duration::from_secs(5)));
        assert_eq!(wait(&text, BootId(8), 60), Duration::ZERO);
        assert_eq!(
            wait("", BootId(8), 5),
            WINDOW.saturating_sub(Duration::from_secs(5)),
            "the file was lost"
        );
    }

    #[test]
    fn ignores_invalid_lines() {
        for text in ["", "x", "boot \n\n\nbegin x y\n", "end 1 575ecf887ae143cd83dc4aa2\n"] {
            assert_eq!(wait(text, BOOT, 100), Duration::ZERO, "{text:?}");
        }
    }
}
