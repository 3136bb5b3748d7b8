//! Secrets, which are read from separate files and never shown.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::Problems;
use super::access::{Readers, advice};
use tidegate_model::io_problem;

/// The maximum size of a credentials file in bytes; real ones have a few hundred.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// A text that no log line, error or debug output shows.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Returns the text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("***")
    }
}

/// The credentials of the gateway device.
#[derive(Debug, Clone, PartialEq)]
pub enum CloudCredentials {
    /// An access key, which is exchanged for a token at `POST /auth/device`.
    AccessKey {
        /// The key, which is no secret by itself.
        key: String,
        /// Its secret.
        secret: Secret,
    },
    /// A token made elsewhere, which cannot be renewed.
    Token(Secret),
}

impl CloudCredentials {
    /// Returns whether these are the placeholders of credentials that were not read.
    pub fn is_unread(&self) -> bool {
        *self == Self::unread()
    }

    /// Returns placeholders for credentials that were not read. Losant rejects them.
    pub(super) fn unread() -> Self {
        Self::AccessKey { key: String::new(), secret: Secret(String::new()) }
    }
}

/// A broker's user and password.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct UserPassword {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CloudFile {
    key: Option<String>,
    secret: Option<Secret>,
    token: Option<Secret>,
}

/// Returns the path of the Losant credentials: the configured one, or else the systemd credential
/// `losant`, or else `credentials.toml` in the directory of the configuration.
pub(super) fn cloud_credentials_path(configured: Option<PathBuf>, directory: &Path) -> PathBuf {
    let from_systemd =
        || Some(PathBuf::from(std::env::var_os("CREDENTIALS_DIRECTORY")?).join("losant"));
    configured
        .or_else(|| from_systemd().filter(|path| path.exists()))
        .unwrap_or_else(|| directory.join("credentials.toml"))
}

pub(super) fn read_cloud_credentials(
    path: &Path,
    problems: &mut Problems,
) -> Option<CloudCredentials> {
    let file: CloudFile = read(path, "key = \"…\" and secret = \"…\", or token = \"…\"", problems)?;
    match file {
        CloudFile { key: Some(key), secret: Some(secret), token: None } => {
            Some(CloudCredentials::AccessKey { key, secret })
        }
        CloudFile { key: None, secret: None, token: Some(token) } => {
            Some(CloudCredentials::Token(token))
        }
        CloudFile { .. } => {
            let fix =
                "give either key = \"…\" and secret = \"…\" (an access key), or token = \"…\"";
            problems.add(
                path.display().to_string(),
                "holds neither an access key nor a token alone",
                fix,
            );
            None
        }
    }
}

pub(super) fn read_user_password(path: &Path, problems: &mut Problems) -> Option<UserPassword> {
    read(path, "user = \"…\" and password = \"…\"", problems)
}

/// Reads a certificate with its private key.
pub(super) fn read_client_certificate(path: &Path, problems: &mut Problems) -> Option<Secret> {
    read_private(path, "a certificate and its private key in PEM", problems).map(Secret)
}

/// Reads a token from a file that contains `token = "…"` or the bare token, such as an application
/// token for the command line.
///
/// # Errors
/// If the file cannot be read, other users can read it, too, or it has other content.
pub fn read_token(path: &Path) -> Result<Secret, Problems> {
    let mut problems = Problems::default();
    read_bare_token(path, &mut problems).ok_or(problems)
}

/// Reads a token that the configuration names.
pub(super) fn read_bare_token(path: &Path, problems: &mut Problems) -> Option<Secret> {
    const CONTENT: &str = "the token, or token = \"…\",";
    let text = read_private(path, CONTENT, problems)?;
    let is_bare =
        |text: &str| !text.is_empty() && !text.contains([' ', '"', '=', '\n', '\r', '\t']);
    let token = match parse::<CloudFile>(&text) {
        Some(CloudFile { key: None, secret: None, token: Some(token) }) => Some(token),
        Some(_) | None => {
            Some(text.trim()).filter(|text| is_bare(text)).map(|t| Secret(t.to_owned()))
        }
    };
    if token.is_none() {
        let fix = format!("write {CONTENT} and nothing else into it");
        problems.add(path.display().to_string(), "does not hold a token alone", fix);
    }
    token
}

/// Reads an access key or a token from a file of the command line.
///
/// # Errors
/// If the file cannot be read, other users can read it, too, or it has other content.
pub fn read_credentials(path: &Path) -> Result<CloudCredentials, Problems> {
    let mut problems = Problems::default();
    read_cloud_credentials(path, &mut problems).ok_or(problems)
}

/// Reads a TOML file of secrets. Its errors never quote the file.
fn read<T: serde::de::DeserializeOwned>(
    path: &Path,
    content: &str,
    problems: &mut Problems,
) -> Option<T> {
    let parsed = parse(&read_private(path, content, problems)?);
    if parsed.is_none() {
        let fix = format!("write {content} and nothing else into it");
        problems.add(path.display().to_string(), "is not the expected TOML", fix);
    }
    parsed
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    let source = config::File::from_str(text, config::FileFormat::Toml);
    let parsed = config::Config::builder().add_source(source).build();
    parsed.and_then(config::Config::try_deserialize).ok()
}

/// Reads a small file that other users cannot read; `content` describes its expected content.
fn read_private(path: &Path, content: &str, problems: &mut Problems) -> Option<String> {
    let at = path.display().to_string();
    let text = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => {
            problems.add(
                at,
                format!("is larger than {FILE_BYTES_MAX} bytes"),
                format!("write only {content} into it"),
            );
            return None;
        }
        Ok(metadata) if is_open_to_others(&metadata) => {
            let fix = format!("chmod 600 {}", path.display());
            problems.add(at, "every user of this machine can read this secret", fix);
            return None;
        }
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => Some(text),
        Err(error) => {
            let missing = format!("create it with {content}");
            let fix = advice(path, &error, Readers::Service, &missing);
            let what = format!("cannot read the credentials: {}", io_problem(&error));
            problems.add(at, what, fix);
            None
        }
    }
}

fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o007 != 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn read_text(text: &str, mode: u32) -> (Option<CloudCredentials>, String) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials.toml");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut problems = Problems::default();
        let credentials = read_cloud_credentials(&path, &mut problems);
        (credentials, problems.to_string())
    }

    #[test]
    fn access_key_or_token_is_accepted() {
        let (credentials, _) = read_text("key = \"k\"\nsecret = \"s\"", 0o600);
        assert!(matches!(credentials, Some(CloudCredentials::AccessKey { key, .. }) if key == "k"));
        let (credentials, _) = read_text("token = \"t\"", 0o640);
        assert!(
            matches!(credentials, Some(CloudCredentials::Token(token)) if token.expose() == "t")
        );
    }

    #[test]
    fn file_that_others_can_read_is_rejected() {
        let (credentials, problems) = read_text("token = \"t\"", 0o644);
        assert!(credentials.is_none());
        assert!(problems.contains("chmod 600"), "{problems}");
    }

    #[test]
    fn errors_and_debug_output_show_no_secret() {
        for text in [
            "key = \"hunter2\"",
            "secret = hunter2",
            "token = \"hunter2\"\nfoo = 1",
            "token = [\"hunter2\"]",
        ] {
            let (credentials, problems) = read_text(text, 0o600);
            assert!(
                credentials.is_none() && !problems.is_empty() && !problems.contains("hunter2"),
                "{problems}"
            );
        }
        assert_eq!(format!("{:?}", Secret::from("hunter2".to_owned())), "***");
    }
}
