//! A simulated thermometer with a fan, on a real pseudo-terminal.
//!
//! The thermometer holds the master side. A symbolic link with a stable name points to the other
//! side, `/dev/pts/N`, as a udev rule does for a USB adapter. The thermometer sends only while a
//! program has the tty open, so that each counted line can be read. It records the lines that it
//! receives, which are the commands of its fan.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::measurements::wave;

/// Interval between two lines.
const LINE_INTERVAL: Duration = Duration::from_millis(200);
/// Values in one line.
const READINGS_PER_LINE: u64 = 2;
/// Silence after the tty was opened, in which the reader configures the line.
const SETTLE_TIME: Duration = Duration::from_millis(300);
/// Interval at which the thermometer polls its line.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Longest line of a command in bytes; a longer line is discarded.
const COMMAND_BYTES_MAX: usize = 256;

/// The activity of the thermometer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Activity {
    /// Whether a program has the tty open.
    pub(crate) tty_open: bool,
    /// Complete lines written while the tty was open.
    pub(crate) lines_sent: u64,
    /// Lines truncated by an unplugging.
    pub(crate) lines_truncated: u64,
    /// Received lines, without their line feed.
    pub(crate) received: Vec<String>,
}

impl Activity {
    /// Returns the values in all complete lines.
    pub(crate) fn readings(&self) -> u64 {
        self.lines_sent * READINGS_PER_LINE
    }
}

/// A simulated thermometer. Dropping it closes its pseudo-terminal.
pub(crate) struct Thermometer {
    link: PathBuf,
    activity: Arc<watch::Sender<Activity>>,
    sending: watch::Sender<bool>,
    master: Option<Arc<OwnedFd>>,
    tasks: JoinSet<io::Result<()>>,
}

impl Thermometer {
    /// Creates a thermometer whose tty will be at `link`. It is unplugged and does not send.
    pub(crate) fn new(link: PathBuf) -> Self {
        Self {
            link,
            activity: Arc::new(watch::Sender::new(Activity::default())),
            sending: watch::Sender::new(false),
            master: None,
            tasks: JoinSet::new(),
        }
    }

    /// Plugs the thermometer in: opens a new pseudo-terminal and points the link to it.
    pub(crate) fn plug_in(&mut self) -> Result<()> {
        let (master, tty) = open_pty().context("cannot open a pseudo-terminal")?;
        let master = Arc::new(master);
        replace_link(&self.link, &tty)
            .with_context(|| format!("cannot create the link {}", self.link.display()))?;
        let (activity, sending) = (Arc::clone(&self.activity), self.sending.subscribe());
        self.tasks.spawn(run(Arc::clone(&master), activity, sending));
        self.master = Some(master);
        Ok(())
    }

    /// Unplugs the thermometer in the middle of a line: the tty hangs up and the link disappears.
    pub(crate) async fn unplug(&mut self) -> Result<()> {
        self.tasks.shutdown().await;
        if let Some(master) = self.master.take() {
            rustix::io::write(&master, b"temperature=2").context("cannot write half a line")?;
            self.activity.send_modify(|activity| {
                activity.lines_truncated += 1;
                activity.tty_open = false;
            });
        }
        fs::remove_file(&self.link)
            .with_context(|| format!("cannot remove the link {}", self.link.display()))
    }

    /// Starts or stops the sending of readings. The thermometer receives commands in any case.
    pub(crate) fn set_sending(&self, on: bool) {
        self.sending.send_replace(on);
    }

    /// Returns the activity since the start.
    pub(crate) fn activity(&self) -> Activity {
        self.activity.borrow().clone()
    }

    /// Fails when the thermometer has stopped working.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(outcome) => match outcome? {
                Err(error) => Err(error).context("the thermometer failed"),
                Ok(()) => bail!("the thermometer stopped unexpectedly"),
            },
        }
    }
}

/// Runs the thermometer while it is plugged in: receives at each poll, and sends at its interval.
async fn run(
    master: Arc<OwnedFd>,
    activity: Arc<watch::Sender<Activity>>,
    sending: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut polls = interval(POLL_INTERVAL);
    polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut input = Vec::new();
    let mut send_at = None;
    loop {
        polls.tick().await;
        let tty_open = receive(&master, &mut input)?;
        activity.send_modify(|activity| {
            activity.tty_open = tty_open;
            activity.received.extend(take_lines(&mut input));
        });
        let now = Instant::now();
        send_at = match send_at {
            _ if !tty_open => None,
            None => Some(now + SETTLE_TIME),
            Some(at) if now < at || !*sending.borrow() => Some(at),
            Some(_) => {
                send_line(&master, activity.borrow().lines_sent)?;
                activity.send_modify(|activity| activity.lines_sent += 1);
                Some(now + LINE_INTERVAL)
            }
        };
    }
}

/// Reads all available bytes; returns `false` when no program has the tty open.
fn receive(master: &OwnedFd, input: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; COMMAND_BYTES_MAX];
    loop {
        match rustix::io::read(master, &mut buffer) {
            Ok(count) => input.extend(buffer.iter().take(count)),
            Err(Errno::AGAIN) => return Ok(true),
            // Linux returns EIO on a master whose other side is closed.
            Err(Errno::IO) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes complete lines from the start of `input` and returns them.
fn take_lines(input: &mut Vec<u8>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(end) = input.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = input.drain(..=end).collect();
        lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
    }
    if input.len() > COMMAND_BYTES_MAX {
        input.clear();
    }
    lines
}

/// Writes line `number` completely.
fn send_line(master: &OwnedFd, number: u64) -> io::Result<()> {
    let temperature = 21.0 + wave(number, 60, 1.5);
    let humidity = 48.0 + wave(number, 85, 4.0);
    let line = format!("temperature={temperature:.2} humidity={humidity:.1}\n");
    let written = rustix::io::write(master, line.as_bytes())?;
    if written < line.len() {
        return Err(io::Error::other("the buffer of the tty is full: its reader does not read"));
    }
    Ok(())
}

/// Opens a pseudo-terminal in raw mode; returns its master side and the path of the other side.
fn open_pty() -> io::Result<(OwnedFd, PathBuf)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let tty = PathBuf::from(name.to_string_lossy().into_owned());
    let mut termios = tcgetattr(&master)?;
    termios.make_raw();
    tcsetattr(&master, OptionalActions::Now, &termios)?;
    rustix::fs::fcntl_setfl(&master, OFlags::NONBLOCK)?;
    // Linux reports a closed other side to the master only after it was open once.
    drop(rustix::fs::open(&tty, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?);
    Ok((master, tty))
}

/// Points `link` to `target` atomically.
fn replace_link(link: &Path, target: &Path) -> io::Result<()> {
    let next = link.with_extension("next");
    std::os::unix::fs::symlink(target, &next)?;
    fs::rename(&next, link)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read};

    use tokio::task::spawn_blocking;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn counts_only_lines_written_to_an_open_tty() {
        let (directory, mut thermometer) = plugged();
        thermometer.set_sending(true);
        assert_eq!(thermometer.activity().lines_sent, 0);
        let tty = open(&directory.path().join("probe.tty"));
        let reading = spawn_blocking(move || {
            let mut lines = BufReader::new(tty).lines();
            [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()]
        });
        let lines = timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert!(lines[0].starts_with("temperature=21.00 humidity=48.0"), "{lines:?}");
        wait(&thermometer, |activity| activity.lines_sent >= 2 && !activity.tty_open).await;
        thermometer.check().unwrap();
    }

    #[tokio::test]
    async fn unplugging_truncates_a_line_and_hangs_up() {
        let (directory, mut thermometer) = plugged();
        let link = directory.path().join("probe.tty");
        let mut tty = open(&link);
        wait(&thermometer, |activity| activity.tty_open).await;
        thermometer.unplug().await.unwrap();
        let activity = thermometer.activity();
        assert_eq!((activity.lines_sent, activity.lines_truncated), (0, 1));
        assert!(!link.exists());
        let hung_up = spawn_blocking(move || tty.read_to_end(&mut Vec::new()).is_ok());
        timeout(PATIENCE, hung_up).await.unwrap().unwrap();
        thermometer.plug_in().unwrap();
        drop(open(&link));
    }

    #[tokio::test]
    async fn receives_lines_in_order() {
        use std::io::Write;
        let (directory, thermometer) = plugged();
        let mut tty = open(&directory.path().join("probe.tty"));
        tty.write_all(b"FAN 80\nFAN 35\nFAN").unwrap();
        wait(&thermometer, |activity| activity.received == ["FAN 80", "FAN 35"]).await;
    }

    #[test]
    fn discards_an_overlong_line() {
        let mut input = vec![b'x'; COMMAND_BYTES_MAX + 1];
        assert!(take_lines(&mut input).is_empty());
        assert!(input.is_empty());
    }

    fn plugged() -> (tempfile::TempDir, Thermometer) {
        let directory = tempfile::tempdir().unwrap();
        let mut thermometer = Thermometer::new(directory.path().join("probe.tty"));
        thermometer.plug_in().unwrap();
        (directory, thermometer)
    }

    fn open(path: &Path) -> fs::File {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).unwrap().into()
    }

    async fn wait(thermometer: &Thermometer, mut done: impl FnMut(&Activity) -> bool) {
        let mut activities = thermometer.activity.subscribe();
        let outcome = timeout(PATIENCE, activities.wait_for(|activity| done(activity))).await;
        assert!(outcome.is_ok(), "{:?}", thermometer.activity());
    }
}
