//! Checks a configuration that is in no file yet: one that a command proposes to write.

use std::path::Path;

use super::check::Purpose;
use super::option_info::OptionInfos;
use super::{Config, Problems, load, resolve};

/// A gateway, which such a text need not name.
const GATEWAY: &str = "[losant]\ndevice_id = \"000000000000000000000000\"\n";

/// Reads and checks a text as part of a valid configuration. Relative paths start at the working
/// directory.
///
/// # Errors
/// All problems that could be found.
pub fn check_text(text: &str) -> Result<Config, Problems> {
    let (mut problems, mut options) = (Problems::default(), OptionInfos::default());
    let tree = load::overlay(&[GATEWAY, text], &mut problems);
    let raw = tree.and_then(|mut tree| load::read(&mut tree, &mut problems));
    let here = Path::new("tidegate.toml");
    let config = raw
        .and_then(|raw| resolve::resolve(raw, here, Purpose::Inspect, &mut problems, &mut options));
    config.filter(|_| !problems.has_errors()).ok_or(problems)
}
