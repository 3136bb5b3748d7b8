//! A directory with the configuration and the files of a daemon.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, Sandbox, WORKSHOP_ID};

use super::{CloudCheck, Daemon, assert_ledger};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// Returns the daemon's program: `DAEMON_PROGRAM`, such as a release build, or the one under test.
pub(super) fn program() -> OsString {
    std::env::var_os("DAEMON_PROGRAM").unwrap_or_else(|| PROGRAM.into())
}

/// A configuration and the files that belong to it.
pub(crate) struct Site {
    directory: TempDir,
    cloud_check: CloudCheck,
}

impl Site {
    /// Makes a site for this sandbox with short times. Its configuration ends with `instruments`.
    pub(crate) fn new(cloud: &Sandbox, instruments: &str) -> Self {
        Self { cloud_check: CloudCheck::new(cloud), ..Self::at(cloud.url(), instruments) }
    }

    /// Compares nothing with the cloud: for tests in which it loses values.
    pub(crate) fn without_cloud_check(self) -> Self {
        Self { cloud_check: CloudCheck::default(), ..self }
    }

    /// Makes a site for the cloud at `url`, which need not exist yet.
    pub(crate) fn at(url: &str, instruments: &str) -> Self {
        let directory = TempDir::with_prefix("tg-").unwrap();
        let site = Self { directory, cloud_check: CloudCheck::default() };
        site.write_credentials("key = \"gateway-key\"\nsecret = \"gateway-secret\"\n");
        let config = format!(
            r#"
[losant]
url = "{url}"
device_id = "{GATEWAY_ID}"
keep_alive_interval = "2 s"
[device.greenhouse]
id = "{GREENHOUSE_ID}"
[device.workshop]
id = "{WORKSHOP_ID}"
[outbox]
path = "outbox"
commit_interval = "50 ms"
[reporter]
batch_age_max = "100 ms"
retry_min = "50 ms"
retry_max = "300 ms"
[clock]
trust = "always"
[status]
socket = "s"
[log]
level = "info,tidegate=debug"
{instruments}
"#
        );
        site.write_config(&config);
        site
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("tidegate.toml")
    }

    pub(crate) fn write_config(&self, text: &str) {
        std::fs::write(self.config(), text).unwrap();
    }

    /// Replaces all occurrences of a text in the configuration.
    ///
    /// # Panics
    ///
    /// If the configuration does not contain the text.
    pub(crate) fn replace_in_config(&self, from: &str, to: &str) {
        let config = std::fs::read_to_string(self.config()).unwrap();
        assert!(config.contains(from), "no {from:?} in {config}");
        self.write_config(&config.replace(from, to));
    }

    pub(crate) fn write_credentials(&self, text: &str) {
        write_private(&self.path("credentials.toml"), text);
    }

    /// Starts the daemon, and waits until it answers.
    pub(crate) fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// Starts the daemon, and does not wait until it answers.
    pub(crate) fn spawn(&self) -> Daemon {
        Daemon::spawn(&self.config(), &self.path("s"), &self.path("log"), &[])
            .with_cloud_check(self.cloud_check.clone())
    }

    /// Starts the daemon with these environment variables, and waits until it answers.
    pub(crate) fn start_with(&self, environment: &[(&str, &str)]) -> Daemon {
        Daemon::start(&self.config(), &self.path("s"), &self.path("log"), environment)
            .with_cloud_check(self.cloud_check.clone())
    }

    /// Runs the program with these arguments and the configuration.
    pub(crate) fn run(&self, words: &[&str]) -> Output {
        Command::new(program()).args(words).arg("--config").arg(self.config()).output().unwrap()
    }

    /// Returns the outbox's status after the daemon has ended. Asserts that its ledger adds up.
    pub(crate) fn outbox(&self) -> Value {
        let output = self.run(&["outbox", "status", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let document = serde_json::from_slice(&output.stdout).unwrap();
        assert_ledger(&document);
        self.cloud_check.assert_holds(&document);
        document
    }
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}
