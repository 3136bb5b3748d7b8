//! A serial adapter: a real pseudo-terminal under a stable name, which can be unplugged.

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
    heard: String,
}

impl Tty {
    /// An adapter that is plugged in under the name `link`.
    pub(crate) fn plugged(link: PathBuf) -> Self {
        let mut tty = Self { link, master: None, heard: String::new() };
        tty.plug();
        tty
    }

    pub(crate) fn plug(&mut self) {
        self.master = Some(open_line(&self.link));
    }

    pub(crate) fn unplug(&mut self) {
        std::fs::remove_file(&self.link).unwrap();
        self.master = None;
    }

    /// Puts bytes on the line, as fast as the daemon takes them.
    pub(crate) fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let mut rest = bytes.as_ref();
        wait_until("the daemon reads the line", || {
            while !rest.is_empty() {
                match self.master.as_mut().unwrap().write(rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
                    Err(error) => panic!("{error}"),
                }
            }
            true
        });
    }

    /// Puts of these bytes on the line what it takes at once, as an instrument does that nobody listens to.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) {
        if let Err(error) = self.master.as_mut().unwrap().write_all(bytes) {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
        }
    }

    /// The next line that the daemon wrote.
    pub(crate) fn read_line(&mut self) -> String {
        let mut line = None;
        wait_until("the daemon writes a line", || {
            line = self.try_read_line();
            line.is_some()
        });
        line.unwrap()
    }

    /// The next line that the daemon wrote, if it has.
    pub(crate) fn try_read_line(&mut self) -> Option<String> {
        let mut buffer = [0; 1_024];
        if let Ok(length) = self.master.as_mut().unwrap().read(&mut buffer) {
            self.heard.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
        let (line, rest) = self.heard.split_once('\n')?;
        let (line, rest) = (line.to_owned(), rest.to_owned());
        self.heard = rest;
        Some(line)
    }
}

/// A null modem: two ttys, joined so that each hears what is written to the other. Its threads end with the test.
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
                // A line loses what nobody takes.
                Ok(length) => to.write_all(&buffer[..length]).unwrap_or_default(),
                // There is nothing, or nobody has opened that end yet, or any more.
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    });
}

/// The instrument's end of a new serial line whose other end is called `link`.
fn open_line(link: &Path) -> File {
    let (master, name) = open_pty();
    let mut settings = tcgetattr(&master).unwrap();
    settings.make_raw();
    tcsetattr(&master, OptionalActions::Now, &settings).unwrap();
    std::os::unix::fs::symlink(name, link).unwrap();
    File::from(master)
}

/// A pseudo-terminal: one end, which does not block, and the path of the other.
pub(super) fn open_pty() -> (OwnedFd, PathBuf) {
    // Were it inherited by a daemon or a broker, the line would stay plugged in for as long as these run.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let flags = fcntl_getfl(&master).unwrap();
    fcntl_setfl(&master, flags | OFlags::NONBLOCK).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    (master, name.into())
}
