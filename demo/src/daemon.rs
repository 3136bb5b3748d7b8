//! The daemon as a child process. The demo uses only its command line, its status and its log.

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

/// Longest wait for the daemon to stop; its own limit is 10 s.
const STOP_MAX: Duration = Duration::from_secs(12);
/// Longest run of one command of the command line.
const COMMAND_MAX: Duration = Duration::from_secs(5);
/// Longest path of a Unix socket on Linux in bytes, without the terminating zero (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// The settings of the daemon process.
#[derive(Debug)]
pub(crate) struct Setup {
    /// The daemon's program.
    pub(crate) program: PathBuf,
    /// The directory with its configuration and all files that it writes.
    pub(crate) directory: PathBuf,
    /// The URL of the cloud.
    pub(crate) cloud_url: String,
    /// The port of the MQTT broker on loopback.
    pub(crate) mqtt_port: u16,
}

impl Setup {
    /// Returns the path of the configuration file.
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.join("demo.toml")
    }

    /// Returns the path of the log file.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("tidegate.log")
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("run/tidegate.sock")
    }

    /// Returns a command of the daemon. The environment contains the two settings that differ from
    /// run to run.
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

/// Returns whether an environment variable would change the daemon's configuration.
fn is_setting(name: &OsString) -> bool {
    name.to_string_lossy().starts_with("TIDEGATE_")
}

/// The exit of the daemon.
pub(crate) struct Stopped {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// The time from SIGTERM to the exit.
    pub(crate) duration: Duration,
}

/// A running daemon. Dropping it kills the process.
pub(crate) struct Daemon {
    setup: Setup,
    child: Child,
}

impl Daemon {
    /// Starts `tidegate run` with its output in the log file.
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
            // In a process group of its own the daemon does not receive Ctrl-C; the demo stops it.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", setup.program.display()))?;
        Ok(Self { setup, child })
    }

    /// Fails when the daemon has exited on its own.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the daemon exited unexpectedly: {status}"),
        }
    }

    /// Reads `tidegate status`; returns `None` while the daemon does not respond.
    pub(crate) async fn status(&self) -> Option<Status> {
        let run = self.setup.command(&["status", "--json"]).output();
        let output = timeout(COMMAND_MAX, run).await.ok()?.ok()?;
        serde_json::from_slice(&output.stdout).ok().map(|value| Status::from_socket(&value))
    }

    /// Stops the daemon with SIGTERM and waits for its exit.
    pub(crate) async fn stop(&mut self) -> Result<Stopped> {
        let started = Instant::now();
        let id = self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let Some(id) = id else { bail!("the daemon had already exited") };
        kill_process(id, Signal::TERM).context("cannot signal the daemon")?;
        let Ok(status) = timeout(STOP_MAX, self.child.wait()).await else {
            self.child.kill().await?;
            bail!("the daemon did not stop within {STOP_MAX:?} of SIGTERM and was killed");
        };
        Ok(Stopped { status: status?, duration: started.elapsed() })
    }

    /// Reads the outbox and the ledger of the stopped daemon.
    pub(crate) async fn outbox_status(&self) -> Result<Status> {
        let run = self.setup.command(&["outbox", "status", "--json"]).output();
        let output = timeout(COMMAND_MAX, run).await.context("`outbox status` timed out")??;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            bail!("`outbox status` failed ({}): {}", output.status, message.trim());
        }
        let value: Value = serde_json::from_slice(&output.stdout)
            .context("`outbox status --json` did not print JSON")?;
        Ok(Status::from_outbox(&value))
    }

    /// Returns the path of the log.
    pub(crate) fn log_path(&self) -> PathBuf {
        self.setup.log()
    }

    /// Returns the last `lines` lines of the log, indented for the display.
    pub(crate) fn last_log_lines(&self, lines: usize) -> Vec<String> {
        let text = fs::read(self.setup.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<&str> = text.lines().collect();
        let last = all.iter().skip(all.len().saturating_sub(lines));
        last.map(|line| format!("  | {line}")).collect()
    }
}
