//! The files that `tidegate setup` writes, each atomically and only if it changes.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::answers::Answers;
use crate::cli::print;
use tidegate_config::CloudCredentials;

/// The file with the answers, beside the configuration.
pub(super) const FRAGMENT: &str = "conf.d/setup.toml";

/// The file with the access key, beside the configuration.
const CREDENTIALS: &str = "credentials.toml";

/// The content of a new configuration file, where the package has not installed one.
const MAIN: &str = "\
# tidegate: `tidegate setup` writes conf.d/setup.toml; tidegate.toml(5) has every option.\n";

/// The first lines of the file with the answers.
const HEADER: &str =
    "# Written by `tidegate setup`. A further run keeps the options, but not comments.\n\n";

/// Reads the credentials of an earlier run.
pub(super) fn kept_credentials(directory: &Path) -> Option<CloudCredentials> {
    tidegate_config::read_credentials(&directory.join(CREDENTIALS)).ok()
}

/// Writes the credentials, readable by the owner only. Returns whether they changed.
pub(super) fn write_credentials(
    directory: &Path,
    credentials: &CloudCredentials,
) -> anyhow::Result<bool> {
    let mut table = toml::Table::new();
    match credentials {
        CloudCredentials::AccessKey { key, secret } => {
            table.insert("key".to_owned(), key.clone().into());
            table.insert("secret".to_owned(), secret.expose().into());
        }
        CloudCredentials::Token(token) => {
            table.insert("token".to_owned(), token.expose().into());
        }
    }
    write(&directory.join(CREDENTIALS), &table.to_string(), 0o600)
}

/// Writes the answers, and a configuration file if there is none. Returns whether something
/// changed.
pub(super) fn write_configuration(
    main: &Path,
    directory: &Path,
    answers: &Answers,
) -> anyhow::Result<bool> {
    let fragment = directory.join(FRAGMENT);
    if let Some(parent) = fragment.parent().filter(|parent| !parent.exists()) {
        let made = std::fs::create_dir_all(parent);
        let made =
            made.and_then(|()| std::fs::set_permissions(parent, Permissions::from_mode(0o755)));
        made.with_context(|| format!("cannot create {}", parent.display()))?;
    }
    let is_new = !main.exists() && write(main, MAIN, 0o644)?;
    let is_changed = write(&fragment, &format!("{HEADER}{}", answers.text()), 0o644)?;
    Ok(is_new || is_changed)
}

fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<bool> {
    let replaced = tidegate_config::replace(path, text, mode);
    let is_new = replaced
        .with_context(|| format!("cannot write {}; try again with sudo", path.display()))?;
    if is_new {
        print(&format!("Wrote {}\n", path.display()))?;
    }
    Ok(is_new)
}
