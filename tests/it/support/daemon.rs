//! The daemon as a process.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::site::program;
use super::{CloudCheck, wait_until};

/// A running daemon, killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
    cloud_check: CloudCheck,
}

/// Memory of a process, or the maximum of several measurements.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    /// All resident pages, with those of the program's file.
    pub(crate) resident_kb: u64,
    /// Resident pages of heap and stacks.
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
    /// Starts the daemon, and waits until it answers.
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

    /// Starts the daemon, and does not wait until it answers.
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
        let cloud_check = CloudCheck::default();
        Self { child, socket: socket.to_owned(), log: log.to_owned(), cloud_check }
    }

    /// Compares the ledger with the cloud when the daemon ends.
    pub(super) fn with_cloud_check(mut self, cloud_check: CloudCheck) -> Self {
        self.cloud_check = cloud_check;
        self
    }

    fn try_status(&self) -> Option<Value> {
        let answer = self.http("GET /status HTTP/1.0\r\n\r\n")?;
        serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
    }

    /// Returns the socket's answer to a request, with its headers.
    pub(crate) fn http(&self, request: &str) -> Option<String> {
        let mut answer = String::new();
        let mut socket = UnixStream::connect(&self.socket).ok()?;
        socket.write_all(request.as_bytes()).ok()?;
        socket.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Returns whether the daemon answers.
    pub(crate) fn is_ready(&self) -> bool {
        self.try_status().is_some()
    }

    /// Returns the id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the status document.
    pub(crate) fn status(&self) -> Value {
        self.try_status().expect("the daemon answers")
    }

    /// Returns a number of the status document by its JSON pointer, or 0 if it is absent.
    pub(crate) fn count(&self, pointer: &str) -> u64 {
        self.status().pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Waits until the outbox is empty. Fails when the number of states stops falling.
    pub(crate) fn wait_until_sent(&self) {
        let mut before = u64::MAX;
        while before > 0 {
            let states = || self.count("/outbox/states");
            wait_until("fewer states wait", || states() < before);
            before = states();
        }
    }

    /// Returns the resident memory in kB.
    pub(crate) fn memory_kb(&self) -> u64 {
        self.memory().resident_kb
    }

    /// Returns the memory in use.
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

    /// Waits until the log contains a text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        wait_until(&format!("the log contains \"{text}\""), || self.log().contains(text));
    }

    /// Waits until the broker has confirmed the subscription. Earlier messages may be missed.
    pub(crate) fn wait_for_subscription(&self) {
        self.wait_for_log("subscribed bus=");
    }

    /// Ends the daemon with SIGKILL, as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGHUP, which reloads the configuration.
    pub(crate) fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }

    /// Ends the daemon with SIGTERM, and returns its exit status.
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
        let status = if std::thread::panicking() { None } else { self.try_status() };
        self.child.kill().ok();
        self.child.wait().ok();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            eprintln!("the end of the daemon's log:");
            tail.iter().rev().for_each(|line| eprintln!("  {line}"));
        }
        if let Some(status) = status {
            self.cloud_check.assert_holds(&status);
        }
    }
}
