//! Files that cannot be read: the problem in words, and the advice that fits it.

use std::io::{Error, ErrorKind};
use std::path::Path;

use super::Problems;
use tidegate_model::io_problem;

/// Who must be able to read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Readers {
    /// Everybody may.
    All,
    /// Only root and the service.
    Service,
}

/// Returns the advice for a file that cannot be read; `otherwise` is for a file that is missing.
pub(super) fn advice(path: &Path, error: &Error, readers: Readers, otherwise: &str) -> String {
    let path = path.display();
    match (error.kind(), readers) {
        (ErrorKind::PermissionDenied, Readers::Service) => format!(
            "run this as root (sudo), or let the service read it: chown root:tidegate {path}; \
             chmod 640 {path}; a user in group tidegate can then read it, too"
        ),
        (ErrorKind::PermissionDenied, Readers::All) => format!(
            "run this as root (sudo), or let everybody read it: chmod 644 {path}; its directories \
             need chmod 755"
        ),
        (ErrorKind::IsADirectory, _) => "name a file, not a directory".to_owned(),
        (ErrorKind::NotADirectory, _) => "correct the path".to_owned(),
        (ErrorKind::InvalidData, _) => "save it as UTF-8 text".to_owned(),
        (_, _) => otherwise.to_owned(),
    }
}

/// Reports a file without secrets that cannot be read.
pub(super) fn report(
    at: &str,
    path: &Path,
    error: &Error,
    otherwise: &str,
    problems: &mut Problems,
) {
    let what = if error.kind() == ErrorKind::InvalidData {
        "is not UTF-8 text".to_owned()
    } else {
        format!("cannot read it: {}", io_problem(error))
    };
    problems.add(at, what, advice(path, error, Readers::All, otherwise));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_permission_has_its_own_advice() {
        let path = Path::new("/etc/tidegate/credentials.toml");
        let denied = Error::from_raw_os_error(13);
        let fix = advice(path, &denied, Readers::Service, "create it");
        assert!(fix.contains("chown root:tidegate /etc/tidegate/credentials.toml"), "{fix}");
        assert!(fix.contains("chmod 640") && !fix.contains("create"), "{fix}");
        let missing = Error::from_raw_os_error(2);
        assert_eq!(advice(path, &missing, Readers::Service, "create it"), "create it");
        let mut problems = Problems::default();
        report("a.toml", Path::new("a.toml"), &denied, "create it", &mut problems);
        let said = problems.to_string();
        assert!(said.starts_with("a.toml: cannot read it: permission denied; run"), "{said}");
        assert!(said.contains("chmod 644 a.toml"), "{said}");
    }
}
