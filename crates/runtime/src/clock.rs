//! Reads the clocks. No other module does.
//!
//! [`TrustedClock`] gives readings their times. It returns a time of day only from a trusted
//! source: see [`tidegate_timing::clock_trust`].

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rand::RngExt as _;
use tokio::sync::watch;

use crate::random;
use tidegate_model::{BootId, BootTime, ReadingTime, WallTime};
use tidegate_timing::clock_trust::{CloudDate, Sighting, Timeline, Trust, TrustMode};

/// The file that systemd-timesyncd creates after it has set the clock
/// (systemd-timesyncd.service(8)).
const SYNCHRONISED_MARK: &str = "/run/systemd/timesync/synchronized";

/// The file with the id of this boot (`proc_sys_kernel(5)`).
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Returns the times of readings. Tests have their own clocks.
pub trait Clock: Send + Sync + 'static {
    /// Returns the time now: wall time if it is trusted, else the time since boot.
    fn now(&self) -> ReadingTime;

    /// Returns the time of day now, if it is trusted.
    fn wall_time(&self) -> Option<WallTime> {
        self.now().wall()
    }

    /// Returns the time of day now by the last date of Losant, if there is one.
    fn cloud_time(&self) -> Option<WallTime> {
        None
    }
}

/// Shares a clock between tasks.
pub type SharedClock = Arc<dyn Clock>;

/// Reads the clock of the operating system.
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

/// Gives readings their times: boot times until the time of day is trusted.
#[derive(Debug)]
pub struct TrustedClock {
    mode: TrustMode,
    boot: BootId,
    timeline: Mutex<Timeline>,
    learned: watch::Sender<Option<i64>>,
}

impl TrustedClock {
    /// Creates a clock and reads the system clock once.
    ///
    /// `anchor_ms` is the time of day at uptime 0 from an earlier run of the daemon in this boot,
    /// in milliseconds since the Unix epoch.
    pub fn new(mode: TrustMode, boot: BootId, anchor_ms: Option<i64>) -> Self {
        let timeline = Mutex::new(Timeline::new(anchor_ms));
        let clock = Self { mode, boot, timeline, learned: watch::Sender::new(anchor_ms) };
        clock.look();
        clock
    }

    /// Returns the id of this boot.
    pub fn boot(&self) -> BootId {
        self.boot
    }

    /// Subscribes to the first trusted time of day at uptime 0.
    ///
    /// In milliseconds since the Unix epoch; `None` until it is known.
    pub fn anchor(&self) -> watch::Receiver<Option<i64>> {
        self.learned.subscribe()
    }

    /// Returns the source of the time; `None` if the configuration always trusts the clock.
    pub fn trust(&self) -> Option<Trust> {
        (self.mode == TrustMode::Auto).then(|| self.timeline().trust())
    }

    /// Returns the source of the time as a stable word.
    pub fn trust_word(&self) -> &'static str {
        self.trust().map_or("always", Trust::as_str)
    }

    /// Reads the system clock and its synchronisation, and updates the time.
    pub fn look(&self) {
        let is_synchronised = self.mode == TrustMode::Always || is_synchronised();
        let sighting = Sighting { uptime: uptime(), system: SystemClock.read(), is_synchronised };
        self.timeline().see(sighting);
        self.publish_anchor();
    }

    /// Updates the time from a date of the cloud.
    pub fn add_cloud_date(&self, date: CloudDate) {
        self.timeline().add_cloud_date(date);
        self.publish_anchor();
    }

    /// Notifies the subscribers if the first anchor has changed.
    fn publish_anchor(&self) {
        let first = self.timeline().first_anchor_ms();
        self.learned.send_if_modified(|learned| {
            let has_changed = *learned != first;
            *learned = first;
            has_changed
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

    fn cloud_time(&self) -> Option<WallTime> {
        self.timeline().cloud_time(uptime())
    }
}

/// Returns the time since this boot began, suspend included.
pub fn uptime() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::try_from(time).unwrap_or_default()
}

/// Returns the id of this boot.
///
/// Some containers hide the id; the daemon then uses a new random id at each start.
pub fn boot_id() -> BootId {
    let text = std::fs::read_to_string(BOOT_ID_FILE).unwrap_or_default();
    let digits = text.trim().replace('-', "");
    u128::from_str_radix(&digits, 16).map_or_else(|_| BootId(random::seeded().random()), BootId)
}

/// Returns whether the system clock is synchronised.
///
/// The kernel reports this. If the kernel denies access, as with systemd's `ProtectClock=`, the
/// mark of systemd-timesyncd decides.
fn is_synchronised() -> bool {
    kernel_is_synchronised().unwrap_or_else(|| Path::new(SYNCHRONISED_MARK).exists())
}

/// Returns whether the kernel reports a synchronised clock; `None` without access.
#[cfg(target_pointer_width = "64")]
fn kernel_is_synchronised() -> Option<bool> {
    /// The flag of an unsynchronised clock (`STA_UNSYNC` of `adjtimex(2)`).
    const UNSYNCHRONISED: i32 = 0x0040;
    let mut timex = rtime_clock::adjtime::Timex::new();
    rtime_clock::adjtime::adjtimex(&mut timex).ok()?;
    Some(timex.0.status & UNSYNCHRONISED == 0)
}

/// Returns `None`: no crate has a safe call for 32-bit systems.
///
/// The packaged unit sets `ProtectClock=`, so the kernel would deny access anyway.
#[cfg(not(target_pointer_width = "64"))]
fn kernel_is_synchronised() -> Option<bool> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_boot_times_until_a_cloud_date_arrives() {
        let clock = TrustedClock::new(TrustMode::Auto, boot_id(), None);
        if clock.trust() == Some(Trust::Waiting) {
            let ReadingTime::Boot(time) = clock.now() else { panic!("a wall time") };
            assert_eq!(time.boot, boot_id());
            assert!(uptime().saturating_sub(time.uptime()) < Duration::from_secs(5));
        }
        let (began, date) = (uptime(), SystemClock.read());
        clock.add_cloud_date(CloudDate { began, ended: began, date });
        assert!(clock.anchor().borrow().is_some());
        let now = clock.wall_time().unwrap();
        assert!(now.since(date).max(date.since(now)) < Duration::from_secs(5));
    }

    #[test]
    fn trust_always_follows_the_system_clock() {
        let clock = TrustedClock::new(TrustMode::Always, boot_id(), None);
        assert!(clock.anchor().borrow().is_some());
        let now = clock.wall_time().unwrap();
        assert!(SystemClock.read().since(now) < Duration::from_secs(5));
    }

    #[test]
    fn boot_id_is_constant() {
        assert_eq!(boot_id(), boot_id());
    }
}
