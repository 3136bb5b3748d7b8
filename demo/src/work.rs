//! The directory in which the daemon runs, and its configuration.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

/// The daemon's configuration: an example of the project, used as it is.
const CONFIG: &str = include_str!("../../config/examples/demo.toml");
/// Where the daemon has its configuration, its outbox and its log.
pub(crate) struct WorkDir {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl WorkDir {
    /// Takes the directory given, which must be empty, or makes a temporary one.
    pub(crate) fn open(given: Option<PathBuf>) -> Result<Self> {
        let Some(path) = given else {
            let temporary = TempDir::with_prefix("tidegate-demo-")?;
            return Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let path = path.canonicalize()?;
        if path.read_dir()?.next().is_some() {
            bail!("{} is not empty; the demo starts from nothing", path.display());
        }
        Ok(Self { path, temporary: None })
    }

    /// Its path, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the configuration in place, and beside it the gateway's credentials, private.
    pub(crate) fn configure(&self, key: &str, secret: &str) -> Result<()> {
        fs::write(self.path.join("demo.toml"), CONFIG)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut credentials = options.open(self.path.join("credentials.toml"))?;
        Ok(writeln!(credentials, "key = \"{key}\"\nsecret = \"{secret}\"")?)
    }

    /// Removes the directory, if it is a temporary one.
    pub(crate) fn remove(self) -> Result<()> {
        let closed = self.temporary.map(TempDir::close).transpose();
        closed.map(drop).context("cannot remove the work directory")
    }

    /// Leaves the directory for study.
    pub(crate) fn keep(self) {
        drop(self.temporary.map(TempDir::keep));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, WORKSHOP_ID};

    use super::*;

    #[test]
    fn example_config_names_the_default_devices() {
        for (table, line) in [
            ("losant", format!("device_id = \"{GATEWAY_ID}\"")),
            ("device.greenhouse", format!("id = \"{GREENHOUSE_ID}\"")),
            ("device.workshop", format!("id = \"{WORKSHOP_ID}\"")),
        ] {
            let (_, rest) = CONFIG.split_once(&format!("\n[{table}]\n")).unwrap();
            let body = rest.split("\n[").next().unwrap();
            assert!(body.lines().any(|found| found == line), "{line} is not in [{table}]");
        }
    }

    #[test]
    fn credentials_file_is_private() {
        let work = WorkDir::open(None).unwrap();
        work.configure("a-key", "a-secret").unwrap();
        let path = work.path().join("credentials.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "key = \"a-key\"\nsecret = \"a-secret\"\n");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        work.remove().unwrap();
    }

    #[test]
    fn rejects_a_non_empty_directory() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("outbox"), "").unwrap();
        assert!(WorkDir::open(Some(directory.path().to_owned())).is_err());
    }
}
