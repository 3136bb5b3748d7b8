//! A serial adapter: a real pseudo-terminal under a stable name, which can be unplugged.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

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
        let (master, name) = open_pty();
        let mut settings = tcgetattr(&master).unwrap();
        settings.make_raw();
        tcsetattr(&master, OptionalActions::Now, &settings).unwrap();
        std::os::unix::fs::symlink(name, &self.link).unwrap();
        self.master = Some(File::from(master));
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

    /// The next line that the daemon wrote.
    pub(crate) fn read_line(&mut self) -> String {
        wait_until("the daemon writes a line", || {
            let mut buffer = [0; 1_024];
            if let Ok(length) = self.master.as_mut().unwrap().read(&mut buffer) {
                self.heard.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
            self.heard.contains('\n')
        });
        let (line, rest) = self.heard.split_once('\n').unwrap();
        let (line, rest) = (line.to_owned(), rest.to_owned());
        self.heard = rest;
        line
    }
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
