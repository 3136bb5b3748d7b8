//! The calls of the last seconds, as lines of a file, so that a daemon that starts again keeps Losant's throttle.
//!
//! A line is written before a call and after it. The file need not be synced: what a kill leaves in the operating system is
//! enough, because calls of an earlier boot are older than this one, whatever became of their lines.
//!
//! ```text
//! boot 5d0c…                            the boot of all that follows
//! begin 81234 575ecf887ae143cd83dc4aa2  uptime in milliseconds, device
//! end 81301 575ecf887ae143cd83dc4aa2
//! none 81302 575ecf887ae143cd83dc4aa2   it ended without having reached Losant
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::throttle::{CALLS_MAX, Throttle};
use tidegate_model::{BootId, DeviceId};

/// The first line.
pub fn head(boot: BootId) -> String {
    format!("boot {:032x}\n", boot.0)
}

/// All that must be known of these paces, as the text of a new file.
pub fn whole<'a>(
    boot: BootId,
    paces: impl Iterator<Item = (DeviceId, &'a Throttle)>,
    uptime: Duration,
    now: Instant,
) -> String {
    let mut text = head(boot);
    for (device, pace) in paces {
        let at = |ended: Instant| {
            let ahead = ended.saturating_duration_since(now);
            uptime.saturating_sub(now.saturating_duration_since(ended)) + ahead
        };
        pace.ended().for_each(|ended| text += &end(device, at(ended), true));
        (0..pace.under_way()).for_each(|_| text += &begin(device, uptime));
    }
    text
}

/// The line for a call that is about to begin.
pub fn begin(device: DeviceId, uptime: Duration) -> String {
    format!("begin {} {device}\n", uptime.as_millis())
}

/// The line for a call that ended.
pub fn end(device: DeviceId, uptime: Duration, may_count: bool) -> String {
    let word = if may_count { "end" } else { "none" };
    format!("{word} {} {device}\n", uptime.as_millis())
}

/// How long a call that was under way at a kill may take to arrive all the same: the operating system still sends what it
/// has.
const ARRIVES_WITHIN: Duration = Duration::from_secs(5);

/// What is known of the calls before a start.
#[derive(Debug, Default)]
pub struct Remembered {
    devices: BTreeMap<DeviceId, Throttle>,
    /// Of devices without a line.
    others: Throttle,
}

impl Remembered {
    /// The pace of a device.
    pub fn pace(&self, device: DeviceId) -> Throttle {
        self.devices.get(&device).unwrap_or(&self.others).clone()
    }

    /// The devices that have lines, with their paces.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, &Throttle)> {
        self.devices.iter().map(|(device, pace)| (*device, pace))
    }
}

/// What the lines tell at `uptime` of `boot`, which is `now`. A line that is cut off by a kill counts for nothing: its call
/// had not begun, or has not ended. Lines of an earlier boot need not be all that were written, so that all devices wait
/// until this boot is older than a window.
pub fn read(text: &str, boot: BootId, uptime: Duration, now: Instant) -> Remembered {
    let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let then = |at: Duration| {
        let ago = uptime.saturating_sub(at);
        now.checked_sub(ago).unwrap_or(now) + at.saturating_sub(uptime)
    };
    // Of calls before this boot nothing is certain but that they are older.
    let earlier = std::iter::repeat_n(then(Duration::ZERO), CALLS_MAX);
    let others = Throttle::resumed(earlier.clone());
    if lines.next() != head(boot).strip_suffix('\n') {
        return Remembered { others, ..Remembered::default() };
    }
    let mut devices: BTreeMap<DeviceId, (usize, Vec<Duration>)> = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let (Some(word), Some(at), Some(device)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let (Ok(at_ms), Ok(device)) = (at.parse(), device.parse()) else { continue };
        let (under_way, ended) = devices.entry(device).or_default();
        match word {
            "begin" => *under_way += 1,
            "end" => ended.push(Duration::from_millis(at_ms)),
            _ => {}
        }
        if word != "begin" {
            *under_way = under_way.saturating_sub(1);
        }
    }
    let pace = |(under_way, ended): (usize, Vec<Duration>)| {
        let unfinished = std::iter::repeat_n(now + ARRIVES_WITHIN, under_way.min(CALLS_MAX));
        Throttle::resumed(earlier.clone().chain(ended.into_iter().map(then)).chain(unfinished))
    };
    let devices = devices.into_iter().map(|(device, calls)| (device, pace(calls))).collect();
    Remembered { devices, others }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use super::*;
    use crate::throttle::WINDOW;

    const BOOT: BootId = BootId(7);

    fn device() -> DeviceId {
        DeviceId::from([1; 12])
    }

    /// A log of calls that began and ended at these seconds of uptime.
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
    fn calls_before_a_restart_take_room_until_their_window_is_over() {
        let text = log(&[(100, Some(101)); CALLS_MAX]);
        assert_eq!(wait(&text, BOOT, 105), WINDOW.checked_sub(Duration::from_secs(4)).unwrap());
        assert_eq!(wait(&text, BOOT, 117), Duration::ZERO);
        assert_eq!(wait(&log(&[(100, Some(101)); CALLS_MAX - 1]), BOOT, 105), Duration::ZERO);
    }

    #[test]
    fn a_call_that_was_under_way_may_arrive_until_now() {
        let mut calls = [(100, Some(101)); CALLS_MAX];
        calls[CALLS_MAX - 1].1 = None;
        calls[0].1 = None;
        let text = log(&calls);
        assert!(wait(&text, BOOT, 105) > Duration::ZERO);
        let torn = log(&[(100, Some(101)); CALLS_MAX]);
        assert!(wait(torn.trim_end_matches('\n'), BOOT, 115) > Duration::ZERO);
    }

    #[test]
    fn a_call_that_never_got_there_takes_no_room() {
        let mut text = head(BOOT);
        for _ in 0..CALLS_MAX {
            text += &begin(device(), Duration::from_secs(100));
            text += &end(device(), Duration::from_secs(100), false);
        }
        assert_eq!(wait(&text, BOOT, 101), Duration::ZERO);
    }

    #[test]
    fn calls_of_an_earlier_boot_are_older_than_this_one() {
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
    fn anything_else_is_not_a_reason_to_fail() {
        for text in ["", "x", "boot \n\n\nbegin x y\n", "end 1 575ecf887ae143cd83dc4aa2\n"] {
            assert_eq!(wait(text, BOOT, 100), Duration::ZERO, "{text:?}");
        }
    }
}
