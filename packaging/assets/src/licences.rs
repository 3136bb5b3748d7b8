//! The licences of all crates that are linked in: a Debian copyright file, and the texts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use serde_json::Value;

/// How a licence file may begin.
const NAMES: [&str; 4] = ["LICENSE", "LICENCE", "COPYING", "NOTICE"];

/// One crate that is linked in.
struct Linked {
    name: String,
    version: String,
    licence: String,
    authors: String,
    directory: PathBuf,
}

/// What is packaged.
const PACKAGES: [&str; 2] = ["tidegate", "tidegate-sandbox"];

/// Writes `copyright` and `third-party.txt` into a directory for each package.
pub(crate) fn write(directory: &Path) -> anyhow::Result<()> {
    for package in PACKAGES {
        let directory = directory.join(package);
        std::fs::create_dir_all(&directory)?;
        let linked = linked(package)?;
        std::fs::write(directory.join("copyright"), copyright(package, &linked)?)?;
        std::fs::write(directory.join("third-party.txt"), texts(&linked)?)?;
    }
    Ok(())
}

/// Everything that a program is built from on Linux, itself not.
fn linked(program: &str) -> anyhow::Result<Vec<Linked>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let cargo = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = Command::new("cargo").args(arguments).current_dir(&root).output()?;
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    let tree = ["tree", "--locked", "--package", program, "--edges", "normal", "--prefix", "none"];
    let tree = cargo(&[&tree[..], &["--format", "{p}"]].concat())?;
    let metadata: Value =
        serde_json::from_str(&cargo(&["metadata", "--locked", "--format-version", "1"])?)?;
    let is_linked = |name: &str, version: &str| {
        let line = format!("{name} v{version}");
        tree.lines().any(|found| found == line || found.starts_with(&format!("{line} ")))
    };
    let packages = metadata.get("packages").and_then(Value::as_array).context("no packages")?;
    let mut linked: Vec<_> = packages
        .iter()
        .map(Linked::of)
        .filter(|package| package.name != program && is_linked(&package.name, &package.version))
        .collect();
    linked.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    Ok(linked)
}

impl Linked {
    fn of(package: &Value) -> Self {
        let text =
            |key: &str| package.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let authors = package.get("authors").and_then(Value::as_array).into_iter().flatten();
        let authors: Vec<_> = authors.filter_map(Value::as_str).collect();
        let manifest = PathBuf::from(text("manifest_path"));
        Self {
            name: text("name"),
            version: text("version"),
            licence: text("license").replace('/', " OR "),
            authors: authors.join(", "),
            directory: manifest.parent().map(Path::to_owned).unwrap_or_default(),
        }
    }

    /// The licence files that the crate ships.
    fn files(&self) -> anyhow::Result<Vec<PathBuf>> {
        let is_licence = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase());
            path.is_file()
                && name.is_some_and(|name| NAMES.iter().any(|known| name.starts_with(known)))
        };
        let entries = std::fs::read_dir(&self.directory)?;
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(is_licence);
        files.sort();
        Ok(files)
    }
}

/// The machine-readable copyright file of Debian policy 12.5.
fn copyright(program: &str, linked: &[Linked]) -> Result<String, std::fmt::Error> {
    let mut page = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: tidegate\n\n\
         Files: *\n\
         Copyright: 2026, the tidegate authors\n\
         License: MIT or Apache-2.0\n\
         Comment:\n \
         The program is linked with the crates below. Their licence texts are in\n \
         /usr/share/doc/{program}/third-party.txt.\n",
    );
    for Linked { name, version, licence, authors, .. } in linked {
        let authors = if authors.is_empty() { "its authors" } else { authors };
        writeln!(page, " .\n {name} {version}: {licence}; {authors}")?;
    }
    page.push_str(
        "\nLicense: MIT or Apache-2.0\n \
         On Debian systems the Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0.\n \
         .\n",
    );
    for line in include_str!("../../../LICENSE-MIT").lines() {
        writeln!(page, " {}", if line.is_empty() { "." } else { line })?;
    }
    Ok(page)
}

/// Each licence text once, with the crates that it is of.
fn texts(linked: &[Linked]) -> anyhow::Result<String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in linked {
        for file in package.files()? {
            let text = String::from_utf8_lossy(&std::fs::read(&file)?).trim().to_owned();
            texts.entry(text).or_default().push(format!("{} {}", package.name, package.version));
        }
    }
    let mut page = String::new();
    for (text, mut packages) in texts {
        packages.dedup();
        writeln!(page, "{}\n\n{text}\n\n{}", packages.join(", "), "=".repeat(80))?;
    }
    Ok(page)
}
