//! The work directory, which contains the configuration of the daemon and all its files.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::example_config;

/// The directory with the configuration, the outbox and the log of the daemon.
pub(crate) struct WorkDir {
    path: PathBuf,
    temporary: Option<TempDir>,
}

impl WorkDir {
    /// Opens the given directory, which must be empty or new, or creates a temporary one.
    pub(crate) fn open(given: Option<PathBuf>) -> Result<Self> {
        let Some(path) = given else {
            let temporary = TempDir::with_prefix("tidegate-demo-")?;
            return Ok(Self { path: temporary.path().to_owned(), temporary: Some(temporary) });
        };
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let path = path.canonicalize()?;
        if path.read_dir()?.next().is_some() {
            bail!("{} is not empty; give an empty or a new directory", path.display());
        }
        Ok(Self { path, temporary: None })
    }

    /// Returns the absolute path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the configuration, and the gateway's credentials with mode 0600.
    pub(crate) fn configure(&self, key: &str, secret: &str) -> Result<()> {
        fs::write(self.path.join("demo.toml"), example_config::TEXT)?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut credentials = options.open(self.path.join("credentials.toml"))?;
        Ok(writeln!(credentials, "key = \"{key}\"\nsecret = \"{secret}\"")?)
    }

    /// Removes the directory if it is temporary.
    pub(crate) fn remove(self) -> Result<()> {
        let closed = self.temporary.map(TempDir::close).transpose();
        closed.map(drop).context("cannot remove the work directory")
    }

    /// Keeps the directory, so that the user can examine it.
    pub(crate) fn keep(self) {
        drop(self.temporary.map(TempDir::keep));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn credentials_file_is_private() {
        let work_dir = WorkDir::open(None).unwrap();
        work_dir.configure("a-key", "a-secret").unwrap();
        let path = work_dir.path().join("credentials.toml");
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "key = \"a-key\"\nsecret = \"a-secret\"\n");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        work_dir.remove().unwrap();
    }

    #[test]
    fn rejects_a_non_empty_directory() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("outbox"), "").unwrap();
        assert!(WorkDir::open(Some(directory.path().to_owned())).is_err());
    }
}
