//! The rules of the house, as ARCHITECTURE.md has them.

use std::path::{Path, PathBuf};

/// The longest file, in lines.
const LINES_MAX: usize = 500;

/// The crates that do no IO and read no clock.
const PURE: [&str; 8] =
    ["model", "template", "modbus", "timing", "ingest", "delivery", "commands", "discover"];

/// Crates that do IO, read a clock or hold a store. A pure crate depends on none of them.
const IMPURE: [&str; 9] = [
    "tokio",
    "tokio-util",
    "tokio-serial",
    "tokio-modbus",
    "reqwest",
    "rumqttc",
    "sled",
    "rustix",
    "tidegate-runtime",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every file of these directories: its path below the project, and its text.
fn files_of(directories: &[&str]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for directory in directories {
        rust_files(&root().join(directory), &mut files);
    }
    files.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root()).unwrap().to_string_lossy().into_owned(), text)
    };
    files.into_iter().map(read).collect()
}

fn report(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// The names in the tables of a manifest whose names end with `dependencies`.
fn dependencies(manifest: &str, table: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    let table = manifest.get(table).and_then(toml::Value::as_table).cloned();
    table.unwrap_or_default().keys().cloned().collect()
}

#[test]
fn pure_crates_depend_on_no_io() {
    let mut offences = Vec::new();
    for name in PURE {
        let path = format!("crates/{name}/Cargo.toml");
        let manifest = std::fs::read_to_string(root().join(&path)).unwrap();
        for dependency in dependencies(&manifest, "dependencies") {
            let pure = dependency.strip_prefix("tidegate-").is_none_or(|ours| PURE.contains(&ours));
            if !pure || IMPURE.contains(&dependency.as_str()) {
                offences.push(format!("{path}: depends on {dependency}"));
            }
        }
    }
    report(&offences);
}

#[test]
fn sandbox_depends_on_no_crate_of_the_daemon() {
    let manifest = std::fs::read_to_string(root().join("sandbox/Cargo.toml")).unwrap();
    let all = ["dependencies", "dev-dependencies"];
    let names = all.iter().flat_map(|table| dependencies(&manifest, table));
    report(&names.filter(|name| name.starts_with("tidegate")).collect::<Vec<_>>());
}

#[test]
fn every_file_has_a_purpose_and_at_most_500_lines() {
    let mut offences = Vec::new();
    for (path, text) in files_of(&["src", "crates", "sandbox", "demo", "tests", "benches"]) {
        if !text.starts_with("//! ") {
            offences.push(format!("{path}:1: the first line does not say what the file is for"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            offences.push(format!("{path}: {lines} lines, {LINES_MAX} at most"));
        }
    }
    report(&offences);
}

#[test]
fn no_file_names_a_path_of_its_author() {
    let homes = ["home", "Users", "root", "work"].map(|name| format!("\"/{name}/"));
    let mut offences = Vec::new();
    for (path, text) in files_of(&["src", "crates", "sandbox", "demo", "tests", "benches"]) {
        for (number, line) in (1..).zip(text.lines()) {
            for home in homes.iter().filter(|home| line.contains(*home)) {
                offences.push(format!("{path}:{number}: names {home}"));
            }
        }
    }
    report(&offences);
}

/// Whether there is a test of this name, such as `states::a_state_is_stored`, in that directory.
fn is_test(directory: &str, name: &str) -> bool {
    let Some((module, function)) = name.split_once("::") else { return false };
    let text = std::fs::read_to_string(root().join(directory).join(format!("{module}.rs")));
    text.is_ok_and(|text| text.contains(&format!("fn {function}()")))
}

#[test]
fn action_table_names_existing_tests() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (python, javascript) =
        (read("tests/conformance/actions.py"), read("tests/conformance/actions.mjs"));
    let mut offences = Vec::new();
    let document = read("docs/device-actions.md");
    let rows: Vec<_> = document.lines().filter(|line| line.starts_with("| `")).collect();
    for row in &rows {
        let cells: Vec<_> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let ["", action, method, user, credential, client, sandbox, py, js, ""] = cells[..] else {
            panic!("not eight cells: {row}")
        };
        let is_good = ![method, user, credential].contains(&"")
            && is_test("tests/it", client)
            && is_test("sandbox/tests/api", sandbox)
            && (py == "has none" || python.contains(&format!("\"{py}\"")))
            && (js == "has none" || javascript.contains(&format!("'{js}'")));
        if !is_good {
            offences.push(format!("docs/device-actions.md: {action} is not tested as it says"));
        }
    }
    assert_eq!(rows.len(), 16);
    report(&offences);
}

/// What stands between backticks and is the name of a test: a sentence of four words or more.
fn tests_named(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |word: &&str| {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        word.chars().all(is_word) && word.matches('_').count() >= 3
    };
    text.split('`').skip(1).step_by(2).filter(is_name)
}

#[test]
fn guarantees_name_existing_tests() {
    let document = std::fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let program: String =
        files_of(&["src", "crates", "tests"]).into_iter().map(|(_, text)| text + "\n").collect();
    let is_there = |name: &&str| program.contains(&format!("fn {name}("));
    let missing = tests_named(&document).filter(|name| !is_there(name));
    let mut offences: Vec<_> = missing.map(|name| format!("there is no test {name}")).collect();
    // The promises stand in tables right below the chapters' headings, the figures in others below.
    let mut is_promise = false;
    let rows = document.lines().filter(|line| {
        is_promise = if line.starts_with('#') { line.starts_with("## ") } else { is_promise };
        is_promise && line.starts_with("| ") && !line.starts_with("| Promise |")
    });
    for row in rows.filter(|row| !row.starts_with("| --- |") && tests_named(row).next().is_none()) {
        offences.push(format!("no test is named for: {row}"));
    }
    report(&offences);
}

#[test]
fn broken_rules_are_found() {
    let promises = "| `outbox` | `ab_c` | `a_test_of_four_words`, `make soak` |";
    assert_eq!(tests_named(promises).collect::<Vec<_>>(), ["a_test_of_four_words"]);
    let manifest = "[dependencies]\ntokio = \"1\"\n[dev-dependencies]\nrand = \"1\"";
    assert_eq!(dependencies(manifest, "dependencies"), ["tokio"]);
}
