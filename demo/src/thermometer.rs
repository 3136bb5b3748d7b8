//! A simulated thermometer with a fan, on a real pseudo-terminal.
//!
//! The instrument holds the master side. A symbolic link with a stable name points at the other
//! side, `/dev/pts/N`, as a udev rule would for a USB adapter. It talks only while somebody has
//! the tty open, so that every line counted was really put on the wire, and it records the lines
//! that it hears: they drive its fan.

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

use crate::weather::wave;

/// Pause between two lines: five a second.
const LINE_EVERY: Duration = Duration::from_millis(200);
/// Values in one line.
const READINGS_PER_LINE: u64 = 2;
/// Silence after the tty was opened: whoever opened it is still setting the line up.
const SETTLE: Duration = Duration::from_millis(300);
/// How often the instrument looks at its line.
const TICK: Duration = Duration::from_millis(20);
/// Longest line that the fan understands, in bytes; what is longer is forgotten.
const HEARD_BYTES_MAX: usize = 256;

/// What the instrument did so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Whether somebody has the tty open.
    pub(crate) attached: bool,
    /// Whole lines written while the tty was open.
    pub(crate) lines: u64,
    /// Lines of which only the first half left the instrument.
    pub(crate) lines_cut: u64,
    /// Lines heard, without their line feed.
    pub(crate) heard: Vec<String>,
}

impl Record {
    /// Values put on the wire in whole lines.
    pub(crate) fn readings(&self) -> u64 {
        self.lines * READINGS_PER_LINE
    }
}

/// The instrument. Dropping it pulls its plug.
pub(crate) struct Thermometer {
    link: PathBuf,
    record: Arc<watch::Sender<Record>>,
    talking: watch::Sender<bool>,
    master: Option<Arc<OwnedFd>>,
    tasks: JoinSet<io::Result<()>>,
}

impl Thermometer {
    /// Makes an instrument that will appear as `link`; it is not plugged in yet, and silent.
    pub(crate) fn new(link: PathBuf) -> Self {
        Self {
            link,
            record: Arc::new(watch::Sender::new(Record::default())),
            talking: watch::Sender::new(false),
            master: None,
            tasks: JoinSet::new(),
        }
    }

    /// Plugs it in: a new pseudo-terminal, and the link points at it.
    pub(crate) fn plug(&mut self) -> Result<()> {
        let (master, tty) = open_pty().context("cannot open a pseudo-terminal")?;
        let master = Arc::new(master);
        point(&self.link, &tty)
            .with_context(|| format!("cannot make the link {}", self.link.display()))?;
        let (record, talking) = (Arc::clone(&self.record), self.talking.subscribe());
        self.tasks.spawn(live(Arc::clone(&master), record, talking));
        self.master = Some(master);
        Ok(())
    }

    /// Pulls the plug in the middle of a line, as people do: the tty hangs up, its link is gone.
    pub(crate) async fn unplug(&mut self) -> Result<()> {
        self.tasks.shutdown().await;
        if let Some(master) = self.master.take() {
            rustix::io::write(&master, b"temperature=2").context("cannot write half a line")?;
            self.record.send_modify(|record| {
                record.lines_cut += 1;
                record.attached = false;
            });
        }
        fs::remove_file(&self.link)
            .with_context(|| format!("cannot remove the link {}", self.link.display()))
    }

    /// Lets it send its readings, or silences it; it listens all the time.
    pub(crate) fn talk(&self, on: bool) {
        self.talking.send_replace(on);
    }

    /// What it did so far.
    pub(crate) fn record(&self) -> Record {
        self.record.borrow().clone()
    }

    /// Fails when the instrument broke down.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.tasks.try_join_next() {
            None => Ok(()),
            Some(outcome) => match outcome? {
                Err(error) => Err(error).context("the thermometer broke down"),
                Ok(()) => bail!("the thermometer stopped by itself"),
            },
        }
    }
}

/// The instrument's life on one plug: it listens at every tick, and talks in its own rhythm.
async fn live(
    master: Arc<OwnedFd>,
    record: Arc<watch::Sender<Record>>,
    talking: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Vec::new();
    let mut speak_at = None;
    loop {
        ticks.tick().await;
        let attached = listen(&master, &mut heard)?;
        record.send_modify(|record| {
            record.attached = attached;
            record.heard.extend(take_lines(&mut heard));
        });
        let now = Instant::now();
        speak_at = match speak_at {
            _ if !attached => None,
            None => Some(now + SETTLE),
            Some(at) if now < at || !*talking.borrow() => Some(at),
            Some(_) => {
                speak(&master, record.borrow().lines)?;
                record.send_modify(|record| record.lines += 1);
                Some(now + LINE_EVERY)
            }
        };
    }
}

/// Reads what has arrived; `false` when nobody has the other side open.
fn listen(master: &OwnedFd, heard: &mut Vec<u8>) -> io::Result<bool> {
    let mut buffer = [0; HEARD_BYTES_MAX];
    loop {
        match rustix::io::read(master, &mut buffer) {
            Ok(count) => heard.extend(buffer.iter().take(count)),
            Err(Errno::AGAIN) => return Ok(true),
            // What Linux answers on a master whose other side is closed.
            Err(Errno::IO) => return Ok(false),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Cuts whole lines off the front of `heard`.
fn take_lines(heard: &mut Vec<u8>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = heard.drain(..=end).collect();
        lines.push(String::from_utf8_lossy(&line).trim_end().to_owned());
    }
    if heard.len() > HEARD_BYTES_MAX {
        heard.clear();
    }
    lines
}

/// Writes the line with number `number`, whole.
fn speak(master: &OwnedFd, number: u64) -> io::Result<()> {
    let temperature = 21.0 + wave(number, 60, 1.5);
    let humidity = 48.0 + wave(number, 85, 4.0);
    let line = format!("temperature={temperature:.2} humidity={humidity:.1}\n");
    let written = rustix::io::write(master, line.as_bytes())?;
    if written < line.len() {
        return Err(io::Error::other("the tty is open, but nobody reads it"));
    }
    Ok(())
}

/// Opens a pseudo-terminal in raw mode; returns its master side and the path of the other.
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
    // The master notices a closed other side only after that was open once.
    drop(rustix::fs::open(&tty, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?);
    Ok((master, tty))
}

/// Makes `link` point at `target` in one step, whatever it was before.
fn point(link: &Path, target: &Path) -> io::Result<()> {
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
        thermometer.talk(true);
        assert_eq!(thermometer.record().lines, 0);
        let tty = open(&directory.path().join("probe.tty"));
        let reading = spawn_blocking(move || {
            let mut lines = BufReader::new(tty).lines();
            [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()]
        });
        let lines = timeout(PATIENCE, reading).await.unwrap().unwrap();
        assert!(lines[0].starts_with("temperature=21.00 humidity=48.0"), "{lines:?}");
        wait(&thermometer, |record| record.lines >= 2 && !record.attached).await;
        thermometer.check().unwrap();
    }

    #[tokio::test]
    async fn unplugging_truncates_a_line_and_hangs_up() {
        let (directory, mut thermometer) = plugged();
        let link = directory.path().join("probe.tty");
        let mut tty = open(&link);
        wait(&thermometer, |record| record.attached).await;
        thermometer.unplug().await.unwrap();
        let record = thermometer.record();
        assert_eq!((record.lines, record.lines_cut), (0, 1));
        assert!(!link.exists());
        let hung_up = spawn_blocking(move || tty.read_to_end(&mut Vec::new()).is_ok());
        timeout(PATIENCE, hung_up).await.unwrap().unwrap();
        thermometer.plug().unwrap();
        drop(open(&link));
    }

    #[tokio::test]
    async fn receives_lines_in_order() {
        use std::io::Write;
        let (directory, thermometer) = plugged();
        let mut tty = open(&directory.path().join("probe.tty"));
        tty.write_all(b"FAN 80\nFAN 35\nFAN").unwrap();
        wait(&thermometer, |record| record.heard == ["FAN 80", "FAN 35"]).await;
    }

    #[test]
    fn discards_an_overlong_line() {
        let mut heard = vec![b'x'; HEARD_BYTES_MAX + 1];
        assert!(take_lines(&mut heard).is_empty());
        assert!(heard.is_empty());
    }

    fn plugged() -> (tempfile::TempDir, Thermometer) {
        let directory = tempfile::tempdir().unwrap();
        let mut thermometer = Thermometer::new(directory.path().join("probe.tty"));
        thermometer.plug().unwrap();
        (directory, thermometer)
    }

    fn open(path: &Path) -> fs::File {
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        rustix::fs::open(path, flags, Mode::empty()).unwrap().into()
    }

    async fn wait(thermometer: &Thermometer, mut done: impl FnMut(&Record) -> bool) {
        let mut records = thermometer.record.subscribe();
        let outcome = timeout(PATIENCE, records.wait_for(|record| done(record))).await;
        assert!(outcome.is_ok(), "{:?}", thermometer.record());
    }
}
