//! A configuration that stands in no file yet: what a person is about to be told to write.

use std::path::Path;

use super::option_info::Notes;
use super::{Config, Problems, Purpose, load, resolve};

/// Stands for the gateway, which such a text need not name.
const NOBODY: &str = "[losant]\ndevice_id = \"000000000000000000000000\"\n";

/// Reads and checks a text as if it stood beside a good configuration. Relative paths in it start here.
///
/// # Errors
/// All problems that could be found.
pub fn check_text(text: &str) -> Result<Config, Problems> {
    let (mut problems, mut notes) = (Problems::default(), Notes::default());
    let tree = load::overlay(&[NOBODY, text], &mut problems);
    let raw = tree.and_then(|tree| load::read(tree, &mut problems));
    let here = Path::new("tidegate.toml");
    let config = raw
        .and_then(|raw| resolve::resolve(raw, here, Purpose::Inspect, &mut problems, &mut notes));
    config.filter(|_| problems.is_empty()).ok_or(problems)
}
