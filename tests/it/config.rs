//! Each directory in `tests/config` is a configuration and what the program says about it. Adding a case is adding a directory.
//!
//! A case has `tidegate.toml`, `conf.d` and files of secrets as an operator would write them, perhaps `environment` with a
//! `NAME=value` a line, and `expected.txt`. With `BLESS=1` in the environment of the tests that file is written anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::support::{PROGRAM, write_private};

/// What is asked about each case.
const QUESTIONS: [&[&str]; 1] = [&["check"]];

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

/// What the program says about a case, as a person at a terminal would see it.
fn said(case: &Path) -> String {
    let directory = TempDir::new().unwrap();
    copy(case, directory.path());
    let mut said = String::new();
    for question in QUESTIONS {
        let output = Command::new(PROGRAM)
            .args(question)
            .args(["--config", "tidegate.toml"])
            .current_dir(&directory)
            .env_remove("CREDENTIALS_DIRECTORY")
            .envs(environment(case))
            .output()
            .unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let place = std::fs::canonicalize(&directory).unwrap();
        let text = text.replace(&*place.to_string_lossy(), "DIRECTORY");
        let (words, code) = (question.join(" "), output.status.code().unwrap());
        writeln!(said, "$ tidegate {words}\n{text}[exit code {code}]\n").unwrap();
    }
    said
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
