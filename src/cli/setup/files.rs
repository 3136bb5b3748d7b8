//! The files that `tidegate setup` writes: each whole or not at all, and only if it differs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::answers::Answers;
use crate::cli::print;
use tidegate_config::CloudCredentials;

/// The file of setup's own, beside the configuration.
pub(super) const FRAGMENT: &str = "conf.d/setup.toml";

/// Where the access key is, beside the configuration.
const CREDENTIALS: &str = "credentials.toml";

/// What a configuration begins with where the package has not put one.
const MAIN: &str = "# tidegate. What `tidegate setup` asked is in conf.d/setup.toml; every option, with its default, in tidegate.toml(5).\n";

const HEADER: &str = "# Written by `tidegate setup`, which keeps what is here when it runs again, but not comments.\n\n";

/// The credentials that are there already.
pub(super) fn kept_credentials(directory: &Path) -> Option<CloudCredentials> {
    tidegate_config::read_credentials(&directory.join(CREDENTIALS)).ok()
}

/// Writes the credentials, for nobody else to read. True if they changed.
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

/// Writes what was answered, and a configuration if there is none. True if something changed.
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
    let is_new =
        replaced.with_context(|| format!("cannot write {}; does it take sudo?", path.display()))?;
    if is_new {
        print(&format!("Wrote {}\n", path.display()))?;
    }
    Ok(is_new)
}
