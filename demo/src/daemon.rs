//! The daemon under demonstration: a child process, known only by its command line, its status
//! socket and its log.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::status::Status;

/// How long the daemon may take to stop: its own grace is 10 s.
const STOP_MAX: Duration = Duration::from_secs(12);
/// How long one run of the command line may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Longest path of a Unix socket on Linux, in bytes (unix(7)), without its final zero.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Everything that the daemon's process needs to know.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The daemon's program.
    pub(crate) program: PathBuf,
    /// The directory with its configuration, and for everything it writes.
    pub(crate) directory: PathBuf,
    /// Where it finds the cloud.
    pub(crate) cloud_url: String,
    /// Where it finds the MQTT broker, on loopback.
    pub(crate) mqtt_port: u16,
}

impl Setup {
    /// The configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.join("demo.toml")
    }

    /// The file that takes what the daemon says.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("tidegate.log")
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("run/tidegate.sock")
    }

    /// The daemon's command line, with the two settings that differ from run to run.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for name in std::env::vars_os().map(|(name, _)| name).filter(is_setting) {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .env("TIDEGATE_LOSANT__URL", &self.cloud_url)
            .env("TIDEGATE_BUS__MQTT__HOUSE__PORT", self.mqtt_port.to_string())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// Whether a variable of our environment would change the daemon's configuration.
fn is_setting(name: &OsString) -> bool {
    name.to_string_lossy().starts_with("TIDEGATE_")
}

/// The running daemon. Dropping it kills it.
pub(crate) struct Daemon {
    setup: Setup,
    child: Child,
}

impl Daemon {
    /// Starts `tidegate run`.
    pub(crate) fn start(setup: Setup) -> Result<Self> {
        let socket = setup.socket();
        if socket.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
            bail!("{} is too long for a Unix socket; use a shorter --work-dir", socket.display());
        }
        fs::create_dir_all(setup.directory.join("run"))?;
        let log = File::create(setup.log()).context("cannot create the daemon's log file")?;
        let child = setup
            .command(&["run"])
            .stdout(log.try_clone()?)
            .stderr(log)
            // A group of its own: Ctrl-C is for the demo, which then stops the daemon in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", setup.program.display()))?;
        Ok(Self { setup, child })
    }

    /// Fails when the process has ended, which it never should by itself.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the daemon ended by itself: {status}"),
        }
    }

    /// What `tidegate status` says; `None` while it does not answer.
    pub(crate) async fn status(&self) -> Option<Status> {
        let asked = self.setup.command(&["status", "--json"]).output();
        let output = timeout(ANSWER_MAX, asked).await.ok()?.ok()?;
        serde_json::from_slice(&output.stdout).ok().map(|value| Status::from_socket(&value))
    }

    /// Asks it to stop (SIGTERM) and waits; returns how it ended and how long that took.
    pub(crate) async fn stop(&mut self) -> Result<(ExitStatus, Duration)> {
        let started = Instant::now();
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(id) = id else { bail!("the daemon had already ended") };
        kill_process(id, Signal::TERM).context("cannot signal the daemon")?;
        let Ok(status) = timeout(STOP_MAX, self.child.wait()).await else {
            self.child.kill().await?;
            bail!("the daemon did not stop within {STOP_MAX:?} of SIGTERM and was killed");
        };
        Ok((status?, started.elapsed()))
    }

    /// What is left in its outbox and its ledger, once it has stopped.
    pub(crate) async fn outbox(&self) -> Result<Status> {
        let run = self.setup.command(&["outbox", "status", "--json"]).output();
        let output = timeout(ANSWER_MAX, run).await.context("`outbox status` takes too long")??;
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr);
            bail!("`outbox status` failed ({}): {}", output.status, words.trim());
        }
        let value: Value = serde_json::from_slice(&output.stdout)
            .context("`outbox status --json` did not print JSON")?;
        Ok(Status::from_outbox(&value))
    }

    /// The path of its log, and the last `lines` lines of it.
    pub(crate) fn log_tail(&self, lines: usize) -> (PathBuf, Vec<String>) {
        let log = self.setup.log();
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        let last = all.iter().skip(all.len().saturating_sub(lines));
        (log, last.map(|line| format!("  | {line}")).collect())
    }
}
