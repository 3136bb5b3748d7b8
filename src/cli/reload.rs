//! `tidegate reload`: SIGHUP for the daemon behind the status socket, and what came of it.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use rustix::net::sockopt::socket_peercred;
use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::{control, print};

/// How long the daemon may take: its own limit, and some.
const WAIT: Duration = Duration::from_secs(40);

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The new configuration was refused: exit code 78, as at a start.
#[derive(Debug, thiserror::Error)]
#[error("the daemon goes on with its old configuration:\n{0}")]
pub(super) struct Refused(String);

/// Asks for a reload and waits for its outcome.
pub(super) fn reload(socket: &Path) -> anyhow::Result<()> {
    let before = count(&control::document(socket, "/status")?);
    let daemon =
        socket_peercred(UnixStream::connect(socket)?).context("cannot find the daemon")?.pid;
    kill_process(daemon, Signal::HUP).context("cannot signal the daemon; does it take sudo?")?;
    for _ in 0..WAIT.as_millis() / LOOK_INTERVAL.as_millis() {
        std::thread::sleep(LOOK_INTERVAL);
        let document = control::document(socket, "/status")?;
        if count(&document) > before {
            return report(&document);
        }
    }
    anyhow::bail!("the daemon has not reloaded within {} s; its log says more", WAIT.as_secs())
}

fn count(document: &Value) -> u64 {
    document.pointer("/reload/count").and_then(Value::as_u64).unwrap_or_default()
}

fn report(document: &Value) -> anyhow::Result<()> {
    let joined = |pointer: &str, between: &str| {
        let list = document.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).collect::<Vec<_>>().join(between)
    };
    let problems = joined("/reload/problems", "\n");
    if !problems.is_empty() {
        return Err(Refused(problems).into());
    }
    let (changed, next_start) =
        (joined("/reload/changed", ", "), joined("/reload/next_start", ", "));
    let changed = if changed.is_empty() { "nothing".to_owned() } else { changed };
    print(&format!("changed: {changed}\n"))?;
    if !next_start.is_empty() {
        print(&format!("these wait for the next start: {next_start}\n"))?;
    }
    Ok(())
}
