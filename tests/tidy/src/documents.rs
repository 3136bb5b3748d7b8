//! Documents: the tests and paths that they name must exist, and no place is left unfinished.

use crate::report;
use crate::sources::{read, root, rust_files};

/// The rows of the table in docs/device-actions.md: one for each Device action.
const ACTIONS: usize = 16;

/// Returns whether a directory has a test of this name, such as `states::are_stored`.
fn is_test(directory: &str, name: &str) -> bool {
    let Some((module, function)) = name.split_once("::") else { return false };
    let text = std::fs::read_to_string(root().join(directory).join(format!("{module}.rs")));
    text.is_ok_and(|text| text.contains(&format!("fn {function}()")))
}

#[test]
fn action_table_names_existing_tests() {
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
            offences.push(format!("docs/device-actions.md: {action} names a test that is missing"));
        }
    }
    assert_eq!(rows.len(), ACTIONS);
    report(&offences);
}

/// Returns the names between backticks that look like tests: three words or more.
fn tests_named(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |word: &&str| {
        let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        word.chars().all(is_word) && word.matches('_').count() >= 2
    };
    text.split('`').skip(1).step_by(2).filter(is_name)
}

#[test]
fn guarantees_name_existing_tests() {
    let document = read("docs/guarantees.md");
    let files = rust_files(&["src", "crates", "tests", "sandbox"]);
    let program: String = files.into_iter().map(|file| file.text + "\n").collect();
    let options = read("config/tidegate.toml");
    let is_there = |name: &&str| {
        program.contains(&format!("fn {name}(")) || options.contains(&format!("{name} = "))
    };
    let missing = tests_named(&document).filter(|name| !is_there(name));
    let mut offences: Vec<_> = missing.map(|name| format!("there is no test {name}")).collect();
    // A table right below a chapter's heading holds promises; other tables hold figures.
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
fn finds_names_of_tests() {
    let promises = "| `outbox` | `ab_c` | `test_of_words`, `make soak` |";
    assert_eq!(tests_named(promises).collect::<Vec<_>>(), ["test_of_words"]);
}

/// Returns the paths of files between backticks.
fn paths_named(text: &str) -> impl Iterator<Item = &str> {
    let is_path = |word: &&str| {
        let is_ours = ["src/", "crates/", "sandbox/", "tests/", "docs/", "packaging/", "deploy/"];
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        word.chars().all(is_plain) && is_ours.iter().any(|start| word.starts_with(start))
    };
    // A placeholder such as NAME.rs is the name of a file that a reader adds.
    let is_real = |word: &&str| !word.contains("NAME") && !word.contains("NNNN");
    text.split('`').skip(1).step_by(2).filter(is_path).filter(is_real)
}

/// Returns the paths of the documents in the root and in these directories.
fn documents(directories: &[&str]) -> Vec<String> {
    let mut documents = Vec::new();
    for directory in directories.iter().chain(&["."]) {
        for entry in std::fs::read_dir(root().join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                documents.push(format!("{directory}/{name}"));
            }
        }
    }
    documents.sort();
    documents
}

#[test]
fn documents_name_existing_paths() {
    let mut offences = Vec::new();
    for document in documents(&["docs"]) {
        let text = read(&document);
        let missing = paths_named(&text).filter(|path| !root().join(path).exists());
        offences.extend(missing.map(|path| format!("{document}: there is no {path}")));
    }
    report(&offences);
}

/// Words by which an author marks a place that is not finished.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "TBD", "XXX"];

fn unfinished(path: &str, text: &str) -> Vec<String> {
    let mut offences = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
        if let Some(word) = words.find(|word| UNFINISHED.contains(word)) {
            offences.push(format!("{path}:{number}: {word}; finish it, or remove it"));
        }
    }
    offences
}

#[test]
fn documents_have_no_unfinished_place() {
    let directories = ["docs", "docs/adr", "deploy", "packaging", "sandbox/schemas", "tests/data"];
    let documents = documents(&directories);
    let offences = documents.iter().flat_map(|document| unfinished(document, &read(document)));
    report(&offences.collect::<Vec<_>>());
}

#[test]
fn finds_an_unfinished_place() {
    let offences = unfinished("a.md", "No mastodon.\nThe limit is TBD.\n- TODO: figures\n");
    assert_eq!(
        offences,
        ["a.md:2: TBD; finish it, or remove it", "a.md:3: TODO; finish it, or remove it"]
    );
}
