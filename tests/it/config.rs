//! Each directory in `tests/config` is a configuration and what the program says about it. Adding a
//! case is adding a directory.
//!
//! A case has `tidegate.toml`, `conf.d` and files of secrets as an operator would write them,
//! perhaps `environment` with a `NAME=value` a line, and `expected.txt`. With `BLESS=1` in the
//! environment of the tests that file is written anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PROGRAM, write_private};

/// What is asked about each case.
const QUESTIONS: [&[&str]; 2] = [&["check"], &["config", "show"]];

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, target) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy(&path, &target);
        } else {
            // git keeps no modes, and files of secrets must not be open to others.
            write_private(&target, &std::fs::read_to_string(path).unwrap());
        }
    }
}

fn environment(case: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(case.join("environment")).unwrap_or_default();
    let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.into(), value.into()));
    text.lines().filter_map(pair).collect()
}

fn output(directory: &Path, question: &[&str], variables: Vec<(String, String)>) -> Output {
    Command::new(PROGRAM)
        .args(question)
        .args(["--config", "tidegate.toml"])
        .current_dir(directory)
        .env_remove("CREDENTIALS_DIRECTORY")
        .envs(variables)
        .output()
        .unwrap()
}

/// What the program says in `directory`, and its exit code.
fn ask(directory: &Path, question: &[&str], variables: Vec<(String, String)>) -> (String, i32) {
    let output = output(directory, question, variables);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let place = std::fs::canonicalize(directory).unwrap();
    let text = text.replace(&*place.to_string_lossy(), "DIRECTORY");
    (text, output.status.code().unwrap())
}

/// What the program says about a case, as a person at a terminal would see it.
fn said(case: &Path) -> String {
    let directory = TempDir::new().unwrap();
    copy(case, directory.path());
    let mut said = String::new();
    for question in QUESTIONS {
        let (text, code) = ask(directory.path(), question, environment(case));
        writeln!(said, "$ tidegate {}\n{text}[exit code {code}]\n", question.join(" ")).unwrap();
    }
    said
}

#[test]
fn what_is_shown_is_a_configuration_that_means_the_same() {
    let mut compared = 0;
    for case in std::fs::read_dir(cases()).unwrap().map(|case| case.unwrap().path()) {
        let directory = TempDir::new().unwrap();
        copy(&case, directory.path());
        let (_, code) = ask(directory.path(), &["check"], environment(&case));
        if code != 0 {
            continue;
        }
        let shown = output(directory.path(), &["config", "show"], environment(&case)).stdout;
        let meant = output(directory.path(), &["check"], environment(&case)).stdout;
        if directory.path().join("conf.d").exists() {
            std::fs::remove_dir_all(directory.path().join("conf.d")).unwrap();
        }
        std::fs::write(directory.path().join("tidegate.toml"), &shown).unwrap();
        let again = output(directory.path(), &["check"], Vec::new());
        let texts = [again.stdout, meant].map(|text| String::from_utf8(text).unwrap());
        assert_eq!(again.status.code(), Some(0), "{}", case.display());
        assert_eq!(texts[0], texts[1], "{}", case.display());
        compared += 1;
    }
    assert!(compared >= 2, "{compared}");
}

#[test]
fn each_value_is_shown_to_scripts_with_its_place() {
    let (case, directory) = (cases().join("good"), TempDir::new().unwrap());
    copy(&case, directory.path());
    let (shown, _) = ask(directory.path(), &["config", "show", "--json"], environment(&case));
    let document: Value = serde_json::from_str(&shown).unwrap();
    for (key, expected) in [
        ("outbox.size_max", json!({ "value": "256 MiB", "from": { "default": true } })),
        (
            "bus.mqtt.house.host",
            json!({ "value": "127.0.0.1", "from": { "file": "conf.d/house.toml", "line": 2 } }),
        ),
        (
            "bus.serial.boiler.baud_rate",
            json!({
                "value": 19_200,
                "from": { "variable": "TIDEGATE_BUS__SERIAL__BOILER__BAUD_RATE" },
            }),
        ),
    ] {
        assert_eq!(document[key], expected, "{key}");
    }
    assert!(!shown.contains("hunter2"));
}

#[test]
fn each_configuration_is_answered_as_its_case_expects() {
    let is_blessing = std::env::var_os("BLESS").is_some();
    let mut differing = Vec::new();
    let mut names: Vec<_> =
        std::fs::read_dir(cases()).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    for case in names {
        let (said, file) = (said(&case), case.join("expected.txt"));
        if is_blessing {
            std::fs::write(&file, &said).unwrap();
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if said != expected {
            differing.push(format!("{}\n--- expected\n{expected}--- said\n{said}", case.display()));
        }
    }
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
