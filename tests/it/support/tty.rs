//! A serial adapter: a real pseudo-terminal under a stable name that can be unplugged.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::wait_until;

/// The instrument's end of a serial line.
pub(crate) struct Tty {
    link: PathBuf,
    master: Option<File>,
    received: String,
    /// Whether the last byte that was written ended a line.
    is_at_line_start: bool,
}

impl Tty {
    /// Plugs in an adapter under the name `link`.
    pub(crate) fn plugged(link: PathBuf) -> Self {
        let mut tty = Self { link, master: None, received: String::new(), is_at_line_start: true };
        tty.plug();
        tty
    }

    pub(crate) fn plug(&mut self) {
        self.master = Some(open_line(&self.link));
        self.is_at_line_start = true;
    }

    pub(crate) fn unplug(&mut self) {
        std::fs::remove_file(&self.link).unwrap();
        self.master = None;
    }

    /// Writes bytes to the line, as fast as the daemon reads them.
    ///
    /// A line end precedes a line of text: it proves to a daemon that has just opened the line that
    /// the text is not the rest of a longer one.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let is_text = std::str::from_utf8(bytes).is_ok();
        if self.is_at_line_start && bytes.ends_with(b"\n") && is_text {
            self.write_bytes(b"\n");
        }
        self.is_at_line_start = bytes.ends_with(b"\n");
        self.write_bytes(bytes);
    }

    /// Returns the speed that the daemon has set.
    pub(crate) fn baud_rate(&self) -> u32 {
        tcgetattr(self.master.as_ref().unwrap()).unwrap().output_speed()
    }

    /// Writes exactly these bytes, as fast as the daemon reads them.
    pub(crate) fn write_bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        wait_until("the daemon reads the line", || self.write_some(&mut rest));
    }

    /// Writes as many bytes of `rest` as the line accepts at once, and removes them. Returns
    /// whether none are left.
    pub(crate) fn write_some(&mut self, rest: &mut &[u8]) -> bool {
        while !rest.is_empty() {
            match self.master.as_mut().unwrap().write(rest) {
                Ok(written) => *rest = &rest[written..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                Err(error) => panic!("{error}"),
            }
        }
        true
    }

    /// Writes as many of these bytes as the line accepts at once, as if no program read them.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) {
        if let Err(error) = self.master.as_mut().unwrap().write_all(bytes) {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
        }
    }

    /// Waits for the next line that the daemon writes.
    pub(crate) fn read_line(&mut self) -> String {
        let mut line = None;
        wait_until("the daemon writes a line", || {
            line = self.try_read_line();
            line.is_some()
        });
        line.unwrap()
    }

    /// Returns the next line if the daemon has written one.
    pub(crate) fn try_read_line(&mut self) -> Option<String> {
        let mut buffer = [0; 1_024];
        if let Ok(length) = self.master.as_mut().unwrap().read(&mut buffer) {
            self.received.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        let (line, rest) = self.received.split_once('\n')?;
        let (line, rest) = (line.to_owned(), rest.to_owned());
        self.received = rest;
        Some(line)
    }
}

/// Joins two ttys like a null modem: each receives what is written to the other.
///
/// The threads end with the test.
pub(crate) fn join_ttys(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(open_line);
    pass_on(one.try_clone().unwrap(), other.try_clone().unwrap());
    pass_on(other, one);
}

fn pass_on(mut from: File, mut to: File) {
    std::thread::spawn(move || {
        let mut buffer = [0; 1_024];
        loop {
            match from.read(&mut buffer) {
                // A line loses bytes that no program reads.
                Ok(length) => to.write_all(&buffer[..length]).unwrap_or_default(),
                // There are no bytes, or no program has opened the other end.
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    });
}

/// Opens a new serial line whose other end is named `link`. Returns the instrument's end.
fn open_line(link: &Path) -> File {
    let (master, name) = open_pty();
    let mut settings = tcgetattr(&master).unwrap();
    settings.make_raw();
    tcsetattr(&master, OptionalActions::Now, &settings).unwrap();
    std::os::unix::fs::symlink(name, link).unwrap();
    File::from(master)
}

/// Opens a pseudo-terminal. Returns one end, which does not block, and the path of the other.
pub(super) fn open_pty() -> (OwnedFd, PathBuf) {
    // A daemon or a broker that inherited it would keep the line plugged in.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let flags = fcntl_getfl(&master).unwrap();
    fcntl_setfl(&master, flags | OFlags::NONBLOCK).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    (master, name.into())
}
