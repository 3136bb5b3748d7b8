//! `tidegate outbox`: looks into the outbox of a daemon that is stopped.

use std::fmt::Write as _;

use anyhow::Context as _;
use serde_json::json;

use super::print;
use super::status::describe_ledger;
use crate::Config;
use crate::outbox::{Options, Outbox, SEGMENT_BYTES};
use crate::status::OutboxStatus;

/// Prints what waits, and the ledger.
pub(super) fn status(config: &Config, json: bool) -> anyhow::Result<()> {
    let settings = &config.outbox;
    anyhow::ensure!(
        settings.path.exists(),
        "there is no outbox at {} yet",
        settings.path.display()
    );
    let options = Options { bytes_max: settings.bytes_max, segment_bytes: SEGMENT_BYTES };
    let outbox = Outbox::open(&settings.path, options)
        .with_context(|| format!("outbox {}", settings.path.display()))?;
    let waiting = OutboxStatus::of(&outbox);
    let ledger = serde_json::to_value(outbox.ledger())?;
    let (states, readings, bytes) = (waiting.states, waiting.readings, waiting.bytes);
    if json {
        let document =
            json!({ "states": states, "readings": readings, "bytes": bytes, "ledger": ledger });
        return print(&format!("{document}\n"));
    }
    let mut page =
        format!("outbox    {states} states with {readings} readings wait ({bytes} bytes)\n");
    for (device, backlog) in outbox.backlog().devices {
        writeln!(page, "device    {device}: {} states", backlog.states)?;
    }
    describe_ledger(&mut page, &ledger)?;
    print(&page)
}
