//! A program on a terminal, and the user's input.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use rustix::fs::{Mode, OFlags, open};

use super::tty::open_pty;
use super::wait_until;

/// A program whose input, output and messages are one terminal.
pub(crate) struct Terminal {
    child: Child,
    master: File,
    screen: String,
    /// The path of the terminal.
    name: PathBuf,
    /// Keeps the terminal open after the program has ended, as a shell does.
    _shell: Option<OwnedFd>,
}

impl Terminal {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self::open(command, false)
    }

    /// Starts a program on a terminal that a shell holds open.
    pub(crate) fn start_in_shell(command: &mut Command) -> Self {
        Self::open(command, true)
    }

    fn open(command: &mut Command, is_held: bool) -> Self {
        let (master, name) = open_pty();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave: OwnedFd = open(&name, flags, Mode::empty()).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap();
        // Otherwise the command would keep the terminal open after the program has ended.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let screen = String::new();
        let shell = is_held.then_some(slave);
        Self { child, master: File::from(master), screen, name, _shell: shell }
    }

    /// Sends bytes, as a paste does.
    pub(crate) fn paste(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until the program ends. Returns its exit code and the input that it left to the shell.
    pub(crate) fn leftover(mut self) -> (i32, String) {
        let mut code = None;
        wait_until("the program ends", || {
            self.read();
            code = self.child.try_wait().unwrap();
            code.is_some()
        });
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK;
        let mut shell = File::from(open(&self.name, flags, Mode::empty()).unwrap());
        let mut buffer = [0; 1_024];
        let size = shell.read(&mut buffer).unwrap_or(0);
        (code.unwrap().code().unwrap(), String::from_utf8_lossy(&buffer[..size]).into_owned())
    }

    /// Waits until the terminal shows a text.
    pub(crate) fn wait_for(&mut self, text: &str) {
        wait_until(&format!("the terminal shows \"{text}\""), || {
            assert!(self.read(), "the program ended before \"{text}\":\n{}", self.screen);
            self.screen.contains(text)
        });
    }

    /// Waits until the program asks a new question, and types the answer.
    pub(crate) fn answer(&mut self, question: &str, answer: &str) {
        let start = self.screen.len();
        wait_until(&format!("the terminal shows \"{question}\""), || {
            assert!(self.read(), "the program ended before \"{question}\":\n{}", self.screen);
            self.screen[start..].contains(question)
        });
        self.type_line(answer);
    }

    /// Types a text and the enter key.
    pub(crate) fn type_line(&mut self, text: &str) {
        self.master.write_all(format!("{text}\n").as_bytes()).unwrap();
    }

    /// Waits until the program ends. Returns its exit code and all that it wrote.
    pub(crate) fn end(mut self) -> (i32, String) {
        wait_until("the program closes the terminal", || !self.read());
        (self.child.wait().unwrap().code().unwrap(), std::mem::take(&mut self.screen))
    }

    /// Reads available output. Returns `false` when the program has closed the terminal.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 1_024];
        match self.master.read(&mut buffer) {
            Ok(size) => self.screen.push_str(std::str::from_utf8(&buffer[..size]).unwrap()),
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
        true
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
