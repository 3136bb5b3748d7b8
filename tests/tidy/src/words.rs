//! The language: words that hide the actor or the action.

use crate::report;
use crate::sources::{RUST, rust_files};

/// Words that a reader has to decode, each with the field's word.
const PRIVATE: [(&str, &str); 7] = [
    ("told", "reported, logged"),
    ("tells", "reports, says"),
    ("hear", "receive, read"),
    ("hears", "receives, reads"),
    ("heard", "received, read"),
    ("whoever", "the user, the caller"),
    ("nobody", "no user, no task"),
];

fn words(line: &str) -> impl Iterator<Item = String> {
    let split = line.split(|letter: char| !letter.is_ascii_alphabetic());
    split.map(str::to_ascii_lowercase)
}

fn check(path: &str, text: &str) -> Vec<String> {
    let mut offences = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        // The name of a stored field cannot change.
        if line.contains("serde(rename") {
            continue;
        }
        for word in words(line) {
            if let Some((word, better)) = PRIVATE.iter().find(|(private, _)| *private == word) {
                offences.push(format!("{path}:{number}: \"{word}\"; use {better}"));
            }
        }
    }
    offences
}

#[test]
fn sources_use_the_words_of_the_field() {
    let files = rust_files(&RUST);
    // This file has to name the words.
    let files = files.iter().filter(|file| !file.path.ends_with("tidy/src/words.rs"));
    report(&files.flat_map(|file| check(&file.path, &file.text)).collect::<Vec<_>>());
}

#[test]
fn finds_a_private_word() {
    let offences = check("a.rs", "// The collector is told.\nlet is_heard = 1;\n// untold\n");
    assert_eq!(
        offences,
        ["a.rs:1: \"told\"; use reported, logged", "a.rs:2: \"heard\"; use received, read",]
    );
}
