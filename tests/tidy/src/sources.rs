//! The files of the project.

use std::path::{Path, PathBuf};

/// The directories with Rust sources.
pub(crate) const RUST: [&str; 7] =
    ["src", "crates", "sandbox", "demo", "packaging", "tests", "benches"];

/// A file and its text.
pub(crate) struct Source {
    /// The path below the root of the project.
    pub(crate) path: String,
    /// The whole text.
    pub(crate) text: String,
}

/// Returns the root of the project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reads a file below the root.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Reads every Rust file of some directories, in the order of their paths.
pub(crate) fn rust_files(directories: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    for directory in directories {
        collect(&root().join(directory), &mut paths);
    }
    paths.sort();
    let source = |path: PathBuf| {
        let relative = path.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        Source { text: std::fs::read_to_string(&path).unwrap(), path: relative }
    };
    paths.into_iter().map(source).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}
