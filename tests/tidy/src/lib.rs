//! Checks the rules that the compiler does not keep: manifests, sizes, words, and names in
//! documents.

#![cfg(test)]
mod documents;
mod layout;
mod manifests;
mod signatures;
mod sources;
mod types;
mod words;

/// Fails with all offences, one a line.
fn report(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}
