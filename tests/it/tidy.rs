//! The rules of the house, as ARCHITECTURE.md has them.

use std::path::{Path, PathBuf};

/// The longest file, in lines.
const LINES_MAX: usize = 500;

/// Module of `src`, and which of our modules it may name. What is not listed may name all.
const MAY_IMPORT: [(&str, &[&str]); 18] = [
    ("model", &["model"]),
    ("logic", &["logic", "model"]),
    ("clock", &["random", "logic", "model"]),
    ("outbox", &["outbox", "logic", "model"]),
    ("supervisor", &["pulse"]),
    ("pulse", &[]),
    ("notify", &["pulse"]),
    ("random", &[]),
    ("logging", &["logic"]),
    ("config", &["config", "logic", "model"]),
    ("losant", &["losant", "random", "config", "logic", "model"]),
    ("bus", &["bus", "random", "pulse", "status", "clock", "config", "logic", "model"]),
    ("control", &[]),
    ("manage", &["control", "outbox", "model"]),
    ("status", &["status", "control", "pulse", "outbox", "logic", "model"]),
    ("actuate", &["actuate", "bus", "logging", "logic", "model", "status"]),
    (
        "task",
        &[
            "task", "random", "pulse", "status", "actuate", "bus", "outbox", "losant", "clock",
            "config", "logic", "model",
        ],
    ),
    ("main", &["cli"]),
];

/// What the pure modules may not name, because it is IO or a clock.
const IMPURE: [&str; 9] = [
    "tokio",
    "reqwest",
    "rumqttc",
    "sled",
    "std::fs",
    "std::net",
    "std::process",
    "Instant::now",
    "SystemTime::now",
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

/// The module of `src` that a file belongs to.
fn module_of(path: &str) -> &str {
    let path = path.strip_prefix("src/").unwrap();
    path.split('/').next().unwrap().trim_end_matches(".rs")
}

/// The lines of a file that are program: before its tests, without comments; with their numbers.
fn program(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines =
        text.lines().take_while(|line| *line != "#[cfg(test)]" || !text.contains("mod tests {"));
    (1..).zip(lines).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Which of our modules a line names.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, prefix)| {
        let rest = &line[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

fn report(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

#[test]
fn modules_name_only_what_is_below_them() {
    let mut offences = Vec::new();
    for (path, text) in files_of(&["src"]) {
        let module = module_of(&path);
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module) else {
            continue;
        };
        for (number, line) in program(&text) {
            for name in named(line).filter(|name| !name.is_empty() && !allowed.contains(name)) {
                offences.push(format!("{path}:{number}: {module} may not name {name}"));
            }
        }
    }
    report(&offences);
}

#[test]
fn model_and_logic_do_no_io_and_read_no_clock() {
    let mut offences = Vec::new();
    for (path, text) in files_of(&["src"]) {
        // Tests need an instant to begin at, in a file of their own as at the foot of one.
        if !matches!(module_of(&path), "model" | "logic") || path.ends_with("/tests.rs") {
            continue;
        }
        for (number, line) in program(&text) {
            for word in IMPURE.iter().filter(|word| line.contains(*word)) {
                offences.push(format!("{path}:{number}: {} may not name {word}", module_of(&path)));
            }
        }
    }
    report(&offences);
}

#[test]
fn the_sandbox_knows_nothing_of_the_daemon() {
    let manifest = std::fs::read_to_string(root().join("sandbox/Cargo.toml")).unwrap();
    assert!(!manifest.contains("path = \""), "the sandbox depends on a crate of ours");
    let files = files_of(&["sandbox/src", "sandbox/tests"]);
    let offences: Vec<_> = files
        .iter()
        .filter(|(_, text)| text.contains("tidegate::"))
        .map(|(path, _)| path.clone())
        .collect();
    report(&offences);
}

#[test]
fn every_file_says_what_it_is_and_is_short_enough() {
    let mut offences = Vec::new();
    for (path, text) in
        files_of(&["src", "sandbox/src", "sandbox/tests", "demo/src", "tests", "benches"])
    {
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
fn no_file_names_a_place_that_only_its_author_has() {
    let homes = ["home", "Users", "root", "work"].map(|name| format!("\"/{name}/"));
    let mut offences = Vec::new();
    for (path, text) in files_of(&["src", "sandbox", "demo", "tests", "benches"]) {
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
fn the_table_of_the_actions_names_tests_that_there_are() {
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
fn the_guarantees_name_tests_that_there_are() {
    let document = std::fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let program: String =
        files_of(&["src", "tests"]).into_iter().map(|(_, text)| text + "\n").collect();
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
fn a_rule_that_is_broken_is_found() {
    let promises = "| `outbox` | `ab_c` | `a_test_of_four_words`, `make soak` |";
    assert_eq!(tests_named(promises).collect::<Vec<_>>(), ["a_test_of_four_words"]);
    let found: Vec<_> = named("use crate::outbox::Outbox; crate::model::Name").collect();
    assert_eq!(found, ["outbox", "model"]);
    assert_eq!(module_of("src/logic/pace.rs"), "logic");
    assert_eq!(module_of("src/logic.rs"), "logic");
    let text = "use a;\n// use b\n#[cfg(test)]\nmod tests {\n";
    assert_eq!(program(text).collect::<Vec<_>>(), [(1, "use a;")]);
}
