//! `tidegate status`: asks the running daemon over its socket.

use std::fmt::Write as _;

use serde_json::Value;

use super::{control, print};
use crate::Config;

/// Prints the daemon's status.
pub(super) fn status(config: &Config, json: bool) -> anyhow::Result<()> {
    let document = control::document(config, "/status")?;
    if json {
        return print(&format!("{document}\n"));
    }
    let mut page = String::new();
    describe(&mut page, &document)?;
    print(&page)
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
