//! `tidegate status`: asks the running daemon over its socket.

use std::fmt::Write as _;
use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use super::print;
use crate::Config;

/// How long the daemon may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Prints the daemon's status.
pub(super) fn status(config: &Config, json: bool) -> anyhow::Result<()> {
    let answer = answer(config)?;
    if json {
        return print(&answer);
    }
    let mut page = String::new();
    describe(&mut page, &parse(&answer)?)?;
    print(&page)
}

/// What the daemon tells.
pub(super) fn document(config: &Config) -> anyhow::Result<Value> {
    parse(&answer(config)?)
}

/// A connection to the daemon.
pub(super) fn connect(config: &Config) -> anyhow::Result<UnixStream> {
    let path = &config.status_socket;
    UnixStream::connect(path).with_context(|| {
        format!("no daemon answers at {}; is it running, and may you ask it?", path.display())
    })
}

fn answer(config: &Config) -> anyhow::Result<String> {
    let socket = connect(config)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut answer = String::new();
    let read = socket.take(ANSWER_BYTES_MAX).read_to_string(&mut answer);
    read.context("the daemon did not answer")?;
    Ok(answer)
}

fn parse(answer: &str) -> anyhow::Result<Value> {
    serde_json::from_str(answer).context("the daemon's answer cannot be read")
}

fn describe(page: &mut String, document: &Value) -> std::fmt::Result {
    let number =
        |pointer: &str| document.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
    let online = match document.pointer("/cloud/online").and_then(Value::as_bool) {
        Some(true) => "online",
        Some(false) => "offline",
        None => "not tried yet",
    };
    writeln!(
        page,
        "cloud     {online}, {} batches, {} states stored",
        number("/cloud/batches"),
        number("/cloud/states_stored")
    )?;
    match document.pointer("/clock/trust").and_then(Value::as_str) {
        Some("waiting") => {
            writeln!(page, "clock     waiting for the time of day; readings are kept")?;
        }

        Some(trust) => writeln!(page, "clock     trusted ({trust})")?,
        None => {}
    }
    writeln!(
        page,
        "outbox    {} states wait ({} bytes)",
        number("/outbox/states"),
        number("/outbox/bytes")
    )?;
    writeln!(
        page,
        "commands  {} received, {} executed, {} failed",
        number("/commands/received"),
        number("/commands/executed"),
        number("/commands/failed")
    )?;
    for (device, is_open) in
        document.pointer("/streams").and_then(Value::as_object).into_iter().flatten()
    {
        let state = if is_open.as_bool() == Some(true) { "open" } else { "closed" };
        writeln!(page, "stream    {device} {state}")?;
    }
    describe_ledger(page, document.pointer("/ledger").unwrap_or(&Value::Null))
}

/// One line for each bus: what came in and what became of it.
pub(super) fn describe_ledger(page: &mut String, ledger: &Value) -> std::fmt::Result {
    for (bus, account) in ledger.as_object().into_iter().flatten() {
        let number = |key: &str| account.get(key).and_then(Value::as_u64).unwrap_or_default();
        write!(
            page,
            "bus       {bus}: {} readings received, {} stored",
            number("received"),
            number("stored")
        )?;
        if number("derived") > 0 {
            write!(page, ", {} derived", number("derived"))?;
        }
        for kind in ["rejected", "dropped", "condensed"] {
            for (reason, readings) in
                account.get(kind).and_then(Value::as_object).into_iter().flatten()
            {
                write!(page, ", {readings} {kind} ({reason})")?;
            }
        }
        writeln!(page)?;
    }
    Ok(())
}
