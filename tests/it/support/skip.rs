//! Skips tests that need a privilege which the machine does not grant, and never silently.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

/// Begins a line that reports a skipped test.
pub(super) const SKIPPED: &str = "SKIPPED ";

/// Returns the path of the test that contains the call, as the test runner names it.
macro_rules! test_name {
    () => {{
        fn here() {}
        $crate::support::test_path(std::any::type_name_of_val(&here))
    }};
}
pub(crate) use test_name;

/// Returns the path of a test, from the type name of a function in it.
pub(crate) fn test_path(here: &'static str) -> &'static str {
    let path = here.trim_end_matches("::here").trim_end_matches("::{{closure}}");
    path.split_once("::").expect("a path begins with the crate").1
}

/// Records that `test` is skipped, and why. The caller returns.
///
/// Prints a line and adds it to `target/skipped-tests`, which `make test` counts at its end.
///
/// # Panics
///
/// If `TEST_SKIPS` is `deny`: then a skipped test is a failure.
pub(crate) fn skip(test: &str, reason: &str) {
    let is_denied = std::env::var_os("TEST_SKIPS").is_some_and(|value| value == "deny");
    assert!(!is_denied, "{test} would be skipped ({reason}), but TEST_SKIPS is \"deny\"");
    print(&format!("{SKIPPED}{test}: {reason}"));
    let list = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("skipped-tests");
    let mut list = OpenOptions::new().create(true).append(true).open(list).unwrap();
    list.write_all(format!("{test}\t{reason}\n").as_bytes()).unwrap();
}

/// Prints a line. The test runner shows it even when the test succeeds, unlike one of `eprintln!`.
pub(super) fn print(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}
