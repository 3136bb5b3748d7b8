//! The clocks: the one place that reads them.
//!
//! Readings are stamped by [`TrustedClock`], which knows the time of day only once somebody can be believed: see
//! [`tidegate_timing::clock_trust`].

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rand::RngExt as _;
use tokio::sync::watch;

use crate::random;
use tidegate_model::{BootId, BootTime, ReadingTime, WallTime};
use tidegate_timing::clock_trust::{CloudDate, Sighting, Timeline, Trust, TrustMode};

/// What systemd-timesyncd leaves when it has set the clock since the boot (systemd-timesyncd.service(8)).
const SYNCHRONISED_MARK: &str = "/run/systemd/timesync/synchronized";

/// Where the kernel tells the id of this boot (`proc_sys_kernel(5)`).
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Gives the times of readings. Tests have clocks of their own.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time now: wall time if it is trusted, else the time since boot.
    fn now(&self) -> ReadingTime;

    /// Returns the time of day now, if it is trusted.
    fn wall_time(&self) -> Option<WallTime> {
        self.now().wall()
    }
}

/// A clock that tasks share.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// Returns the time that the operating system shows, right or wrong.
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the wall clock")]
    pub fn read(self) -> WallTime {
        let since_epoch =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        WallTime::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Clock for SystemClock {
    fn now(&self) -> ReadingTime {
        self.read().into()
    }
}

/// The clock that gives readings their times. It gives boot times until it trusts the time of day.
#[derive(Debug)]
pub struct TrustedClock {
    mode: TrustMode,
    boot: BootId,
    timeline: Mutex<Timeline>,
    learned: watch::Sender<Option<i64>>,
}

impl TrustedClock {
    /// A clock; `anchor_ms` is the time of day at uptime 0 if a daemon that ran before since `boot` knew it.
    pub fn new(mode: TrustMode, boot: BootId, anchor_ms: Option<i64>) -> Self {
        let timeline = Mutex::new(Timeline::new(anchor_ms));
        let clock = Self { mode, boot, timeline, learned: watch::Sender::new(anchor_ms) };
        clock.look();
        clock
    }

    /// Which boot this is.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// The time of day at uptime 0 as it was first known, in milliseconds since the Unix epoch; `None` until it is.
    pub fn anchor(&self) -> watch::Receiver<Option<i64>> {
        self.learned.subscribe()
    }

    /// Why the time is taken to be right; `None` where the configuration says so.
    pub fn trust(&self) -> Option<Trust> {
        (self.mode == TrustMode::Auto).then(|| self.timeline().trust())
    }

    /// The same as a stable word.
    pub fn trust_word(&self) -> &'static str {
        self.trust().map_or("always", Trust::as_str)
    }

    /// Looks at the system's clock and at what the kernel says of it.
    pub fn look(&self) {
        let is_synchronised = self.mode == TrustMode::Always || is_synchronised();
        let sighting = Sighting { uptime: uptime(), system: SystemClock.read(), is_synchronised };
        self.timeline().see(sighting);
        self.tell();
    }

    /// Takes in a date of the cloud.
    pub fn hear(&self, heard: CloudDate) {
        self.timeline().hear(heard);
        self.tell();
    }

    fn tell(&self) {
        let first = self.timeline().first_anchor_ms();
        self.learned.send_if_modified(|learned| {
            let is_news = *learned != first;
            *learned = first;
            is_news
        });
    }

    fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for TrustedClock {
    fn now(&self) -> ReadingTime {
        let uptime = uptime();
        let wall = match self.mode {
            TrustMode::Auto => self.timeline().now(uptime),
            TrustMode::Always => Some(SystemClock.read()).filter(|time| time.is_plausible()),
        };
        wall.map_or_else(|| BootTime::new(self.boot, uptime).into(), ReadingTime::Wall)
    }
}

/// How long ago this boot began, suspend included.
pub fn uptime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// The id of this boot. A kernel that does not tell it, as some containers do, has a new one at each start.
pub fn boot_id() -> BootId {
    let told = std::fs::read_to_string(BOOT_ID_FILE).unwrap_or_default();
    let digits = told.trim().replace('-', "");
    u128::from_str_radix(&digits, 16).map_or_else(|_| BootId(random::seeded().random()), BootId)
}

/// Whether somebody keeps the system's clock right: the kernel says so, or, where it may not be asked, as under `ProtectClock=` of
/// systemd, a mark of systemd's own.
fn is_synchronised() -> bool {
    kernel_is_synchronised().unwrap_or_else(|| Path::new(SYNCHRONISED_MARK).exists())
}

/// What the kernel says, if it may be asked.
#[cfg(target_pointer_width = "64")]
fn kernel_is_synchronised() -> Option<bool> {
    /// The flag for a clock that nobody keeps right (`STA_UNSYNC` of `adjtimex(2)`).
    const UNSYNCHRONISED: i32 = 0x0040;
    let mut told = rtime_clock::adjtime::Timex::new();
    rtime_clock::adjtime::adjtimex(&mut told).ok()?;
    Some(told.0.status & UNSYNCHRONISED == 0)
}

/// No crate asks the kernel of a 32-bit system safely. The packaged unit has `ProtectClock=` anyway.
#[cfg(not(target_pointer_width = "64"))]
fn kernel_is_synchronised() -> Option<bool> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_without_trust_counts_from_boot_and_learns_from_the_cloud() {
        let clock = TrustedClock::new(TrustMode::Auto, boot_id(), None);
        if clock.trust() == Some(Trust::Waiting) {
            let ReadingTime::Boot(time) = clock.now() else { panic!("a wall time") };
            assert_eq!(time.boot, boot_id());
            assert!(uptime().saturating_sub(time.uptime()) < Duration::from_secs(5));
        }
        let (began, date) = (uptime(), SystemClock.read());
        clock.hear(CloudDate { began, ended: began, date });
        assert!(clock.anchor().borrow().is_some());
        let now = clock.wall_time().unwrap();
        assert!(now.since(date).max(date.since(now)) < Duration::from_secs(5));
    }

    #[test]
    fn a_clock_that_is_always_right_is_the_systems() {
        let clock = TrustedClock::new(TrustMode::Always, boot_id(), None);
        assert!(clock.anchor().borrow().is_some());
        let now = clock.wall_time().unwrap();
        assert!(SystemClock.read().since(now) < Duration::from_secs(5));
    }

    #[test]
    fn a_boot_has_one_id() {
        assert_eq!(boot_id(), boot_id());
    }
}
