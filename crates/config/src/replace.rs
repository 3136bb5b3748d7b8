//! Replaces files atomically.

use std::fs::{OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Writes a new file and renames it, so that a power cut leaves the old or the new content. Returns
/// false if the content was the same already.
///
/// # Errors
/// If the file cannot be written. The old file is then unchanged.
pub fn replace(path: &Path, text: &str, mode: u32) -> std::io::Result<bool> {
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    let draft = path.with_extension("new");
    // A leftover of a power cut may have another mode.
    if draft.exists() {
        std::fs::remove_file(&draft)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    // Independent of the umask: the service user must be able to read files without secrets.
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
    fn file_is_replaced_if_it_differs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        // The leftover of a power cut, readable by all.
        std::fs::write(directory.path().join("a.new"), "half").unwrap();
        assert!(replace(&path, "secret", 0o600).unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!replace(&path, "secret", 0o600).unwrap());
        assert!(replace(&path, "other", 0o600).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "other");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
    }
}
