//! The daemon as a process.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::site::program;
use super::wait_until;

/// A running daemon, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

/// Memory of a process, or the most of each that was seen.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// All that is resident, the pages of the program's file included.
    pub(crate) resident_kb: u64,
    /// What the process made itself: heap and stacks.
    pub(crate) anonymous_kb: u64,
}

impl Memory {
    pub(crate) fn max(self, other: Self) -> Self {
        Self {
            resident_kb: self.resident_kb.max(other.resident_kb),
            anonymous_kb: self.anonymous_kb.max(other.anonymous_kb),
        }
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} kB resident, {} kB of it anonymous",
            self.resident_kb, self.anonymous_kb
        )
    }
}

impl Daemon {
    pub(crate) fn start(
        config: &Path,
        socket: &Path,
        log: &Path,
        environment: &[(&str, &str)],
    ) -> Self {
        let daemon = Self::spawn(config, socket, log, environment);
        wait_until("the daemon answers", || daemon.try_status().is_some());
        daemon
    }

    /// The same without waiting for it.
    pub(crate) fn spawn(
        config: &Path,
        socket: &Path,
        log: &Path,
        environment: &[(&str, &str)],
    ) -> Self {
        let stderr = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let child = Command::new(program())
            .args(["run", "--config"])
            .arg(config)
            .env_remove("JOURNAL_STREAM")
            .envs(environment.iter().copied())
            .stdout(stderr.try_clone().unwrap())
            .stderr(stderr)
            .spawn()
            .unwrap();
        Self { child, socket: socket.to_owned(), log: log.to_owned() }
    }

    fn try_status(&self) -> Option<Value> {
        let answer = self.http("GET /status HTTP/1.0\r\n\r\n")?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// What the socket answers to this, headers and all.
    pub(crate) fn http(&self, request: &str) -> Option<String> {
        let mut answer = String::new();
        let mut socket = UnixStream::connect(&self.socket).ok()?;
        socket.write_all(request.as_bytes()).ok()?;
        socket.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Whether it is so far that it answers.
    pub(crate) fn is_ready(&self) -> bool {
        self.try_status().is_some()
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the daemon says of itself.
    pub(crate) fn status(&self) -> Value {
        self.try_status().expect("the daemon answers")
    }

    /// One number of the status, by its JSON pointer; 0 if it is not there.
    pub(crate) fn count(&self, pointer: &str) -> u64 {
        self.status().pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Waits until the outbox is empty, for as long as it gets emptier.
    pub(crate) fn wait_until_sent(&self) {
        let mut before = u64::MAX;
        while before > 0 {
            let states = || self.count("/outbox/states");
            wait_until("fewer states wait", || states() < before);
            before = states();
        }
    }

    /// The memory that is resident, in kB.
    pub(crate) fn memory_kb(&self) -> u64 {
        self.memory().resident_kb
    }

    /// The memory in use.
    pub(crate) fn memory(&self) -> Memory {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        Memory { resident_kb: field("VmRSS:"), anonymous_kb: field("RssAnon:") }
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log has this text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(&format!("the log says \"{text}\""), || self.log().contains(text));
    }

    /// Waits until a broker has agreed to send what is asked for: what was published before is nobody's.
    pub(crate) fn wait_for_subscription(&self) {
        self.wait_for_log("subscribed bus=");
    }

    /// SIGKILL, as a crash or a power cut would end it.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGHUP, which asks for a reload.
    pub(crate) fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).unwrap();
        let mut status = None;
        wait_until("the daemon ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("the end of the daemon's log:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
    }
}
