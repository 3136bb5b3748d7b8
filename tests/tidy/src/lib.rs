//! Checks the rules that the compiler does not keep: manifests, sizes, words, and names in
//! documents.

#![cfg(test)]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by a panic, in its helpers too"
)]

mod documents;
mod layout;
mod manifests;
mod signatures;
mod sources;
mod words;

/// Fails with all offences, one a line.
fn report(offences: &[String]) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}
