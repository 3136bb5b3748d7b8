//! Files that are written whole or not at all.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Writes a file beside itself and renames it, so that a power cut leaves the old or the new one. False if it was so already.
///
/// # Errors
/// When it cannot be written; the old one is as it was.
pub fn replace(path: &Path, text: &str, mode: u32) -> std::io::Result<bool> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    let draft = path.with_extension("new");
    // One that was left behind may have another mode.
    if draft.exists() {
        std::fs::remove_file(&draft)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    // Whatever the umask: the service's user must be able to read what is no secret.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_if_it_differs_and_has_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        // What a power cut left behind, open to all.
        std::fs::write(directory.path().join("a.new"), "half").unwrap();
        assert!(replace(&path, "secret", 0o600).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!replace(&path, "secret", 0o600).unwrap());
        assert!(replace(&path, "other", 0o600).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "other");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }
}
