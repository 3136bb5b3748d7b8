//! The health problems of a daemon: what it finds, how soon, and whether it is healthy again.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::Daemon;

/// The longest time until a problem is found.
const FOUND_MAX: Duration = Duration::from_secs(30);

/// The longest time until a problem is over after its cure. A broker's client waits for up to 10 s,
/// a throttled device for 16 s, and a session must last for 20 s.
const CURED_MAX: Duration = Duration::from_secs(90);

/// Returns the problems in the status document.
fn problems(daemon: &Daemon) -> Vec<Value> {
    daemon.status()["health"]["problems"].as_array().unwrap().clone()
}

fn codes(problems: &[Value]) -> Vec<&str> {
    problems.iter().map(|problem| problem["code"].as_str().unwrap()).collect()
}

/// Waits until the daemon reports exactly one problem, with this code and these words in its
/// sentence. Returns the problem.
pub(crate) fn expect_problem(daemon: &Daemon, code: &str, words: &[&str]) -> Value {
    let is_expected = |found: &[Value]| {
        let sentence = found.first().and_then(|one| one["sentence"].as_str()).unwrap_or_default();
        codes(found) == [code] && words.iter().all(|word| sentence.contains(word))
    };
    let found = wait(daemon, FOUND_MAX, is_expected, &format!("{code} with {words:?}"));
    let problem = found[0].clone();
    let sentence = problem["sentence"].as_str().unwrap();
    assert!(sentence.starts_with(&code.replace('_', " ")), "{problem}");
    assert!(problem["cure"].as_str().unwrap().ends_with('.'), "{problem}");
    assert!(problem["since_s"].as_u64().unwrap() <= FOUND_MAX.as_secs(), "{problem}");
    assert_eq!(problem["severity"], daemon.status()["health"]["condition"]);
    problem
}

/// Waits until the daemon is online and has no problem.
pub(crate) fn expect_healthy(daemon: &Daemon) {
    wait(daemon, CURED_MAX, <[Value]>::is_empty, "no problem");
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test waits in real time, because there are sockets"
)]
fn wait(
    daemon: &Daemon,
    time_max: Duration,
    is_expected: impl Fn(&[Value]) -> bool,
    what: &str,
) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let found = problems(daemon);
        if is_expected(&found) {
            return found;
        }
        let elapsed = started.elapsed();
        assert!(elapsed < time_max, "not {what} within {time_max:?}, but {found:#?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
