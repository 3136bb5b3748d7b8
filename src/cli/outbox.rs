//! `tidegate outbox`: lists, exports, imports, requeues and purges states.
//!
//! All commands use [`crate::outbox_admin`]: over the socket of a running daemon, or on the files
//! of a stopped one.

mod access;
mod export;
mod import;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ConfigArgs, Usage, print, prompt};
use crate::outbox_admin::{ListedState, QueueInfo, Request, STATES_MAX};
pub(super) use access::OutboxAccess;
use tidegate_config::Config;
use tidegate_model::{DeviceId, Name};
use tidegate_outbox::{Reject, Removed};

/// The average pause between two calls for a device, in milliseconds: Losant allows 30 calls in
/// 15 s (rest-api/overview).
const CALL_MILLIS: u64 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum OutboxCommand {
    /// Show the queue of each device, and the ledger
    Status {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the oldest queued states, or the rejected states
    List {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        choice: DeviceChoice,
        /// List the rejected states, newest first, with Losant's messages
        #[arg(long)]
        rejects: bool,
        /// List at most this many states of each device
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Print JSON, one line per state
        #[arg(long)]
        json: bool,
    },
    /// Write the queued states to a file that another gateway can import
    Export {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        choice: DeviceChoice,
        /// Remove the exported states from the outbox after the file is synced
        #[arg(long)]
        remove: bool,
        /// The new file, or "-" for standard output
        file: PathBuf,
    },
    /// Queue the states of an export file
    Import {
        #[command(flatten)]
        config: ConfigArgs,
        /// The export file, or "-" for standard input
        file: PathBuf,
    },
    /// Queue rejected states again, after the cause is fixed
    Requeue {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        choice: DeviceChoice,
        /// Requeue all rejected states
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
        /// The numbers of the states in the list of rejects
        numbers: Vec<u64>,
    },
    /// Remove queued or rejected states permanently
    Purge {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        choice: DeviceChoice,
        /// Remove the rejected states instead of the queued ones
        #[arg(long)]
        rejects: bool,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct DeviceChoice {
    /// Only states of this device: a name from the configuration, or an id
    #[arg(long)]
    device: Option<String>,
}

/// Runs a subcommand.
pub(super) fn run(command: OutboxCommand) -> anyhow::Result<()> {
    match command {
        OutboxCommand::Status { config, json } => {
            let config = config.inspect()?;
            status(&config, &OutboxAccess::open(&config)?, json)
        }
        OutboxCommand::List { config, choice, rejects, limit, json } => {
            let config = config.inspect()?;
            let (chosen, access) = (choice.id(&config)?, OutboxAccess::open(&config)?);
            let names = names(&config);
            if rejects {
                list_rejects(&access, chosen, limit, json, &names)
            } else {
                list(&access, chosen, limit, json, &names)
            }
        }
        OutboxCommand::Export { config, choice, remove, file } => {
            let config = config.inspect()?;
            export::export(&OutboxAccess::open(&config)?, choice.id(&config)?, remove, &file)
        }
        OutboxCommand::Import { config, file } => {
            import::import(&OutboxAccess::open(&config.inspect()?)?, &file)
        }
        OutboxCommand::Requeue { config, choice, all, numbers } => {
            let config = config.inspect()?;
            if !all && numbers.is_empty() && choice.device.is_none() {
                return Err(Usage::new("specify numbers, --device or --all").into());
            }
            let access = OutboxAccess::open(&config)?;
            let numbers = rejects_of(&access, choice.id(&config)?, &numbers)?;
            let requeued: Removed = access.ask(&Request::Requeue { numbers })?;
            print(&format!("requeued {} states\n", requeued.states))
        }
        OutboxCommand::Purge { config, choice, rejects, yes } => {
            let config = config.inspect()?;
            let (chosen, access) = (choice.id(&config)?, OutboxAccess::open(&config)?);
            if rejects { delete_rejects(&access, chosen, yes) } else { purge(&access, chosen, yes) }
        }
    }
}

impl DeviceChoice {
    pub(super) fn id(&self, config: &Config) -> anyhow::Result<Option<DeviceId>> {
        let Some(text) = &self.device else { return Ok(None) };
        let named = text.parse().ok().and_then(|name| config.devices.get::<Name>(&name));
        let id = named.copied().map_or_else(|| text.parse(), Ok);
        let usage = |error| {
            Usage::new(format!("the configuration has no device of this name, and {error}"))
        };
        Ok(Some(id.map_err(usage)?))
    }
}

/// Returns the names of the devices in the configuration.
fn names(config: &Config) -> BTreeMap<DeviceId, String> {
    config.devices.iter().map(|(name, id)| (*id, name.to_string())).collect()
}

fn shown(device: DeviceId, names: &BTreeMap<DeviceId, String>) -> String {
    names.get(&device).map_or_else(|| device.to_string(), |name| format!("{name} ({device})"))
}

fn status(config: &Config, access: &OutboxAccess<'_>, json: bool) -> anyhow::Result<()> {
    let queues: Vec<QueueInfo> = access.ask(&Request::Queues)?;
    let rejects: Vec<Reject> = access.ask(&Request::Rejects)?;
    let ledger = access.ledger()?;
    let sum = |part: fn(&QueueInfo) -> u64| queues.iter().map(part).sum::<u64>();
    let (states, readings) = (sum(|queue| queue.states), sum(|queue| queue.readings));
    let bytes = sum(|queue| queue.bytes);
    if json {
        let document = json!({
            "states": states, "readings": readings, "bytes": bytes, "devices": queues,
            "rejects": rejects.len(), "ledger": ledger,
        });
        return print(&format!("{document}\n"));
    }
    let mut page =
        format!("outbox    {states} states with {readings} readings queued ({bytes} bytes)\n");
    let names = names(config);
    for queue in &queues {
        write!(page, "device    {}: {} states", shown(queue.device, &names), queue.states)?;
        if let Some(oldest) = queue.oldest {
            write!(page, ", the oldest from {oldest}")?;
        }
        let seconds = catch_up_seconds(queue.states, config.reporter.batch_states_max);
        let time = humantime::format_duration(std::time::Duration::from_secs(seconds));
        writeln!(page, "; at least {time} to catch up")?;
    }
    if !rejects.is_empty() {
        writeln!(
            page,
            "rejects   {}; list them with: tidegate outbox list --rejects",
            rejects.len()
        )?;
    }
    describe_ledger(&mut page, &ledger)?;
    print(&page)
}

/// Returns the least time to send a backlog within the throttle: Losant answers at once, and each
/// batch has the most states.
fn catch_up_seconds(states: u64, batch_states_max: usize) -> u64 {
    let calls = states.div_ceil(batch_states_max.max(1) as u64);
    (calls * CALL_MILLIS).div_ceil(1_000)
}

fn list(
    access: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
    limit: usize,
    json: bool,
    names: &BTreeMap<DeviceId, String>,
) -> anyhow::Result<()> {
    for device in queued_devices(access, chosen)? {
        let (mut after, mut left) = (0, limit);
        while left > 0 {
            let limit = left.min(STATES_MAX);
            let states: Vec<ListedState> = access.ask(&Request::States { device, after, limit })?;
            let Some(last) = states.last() else { break };
            (after, left) = (last.sequence, left.saturating_sub(states.len()));
            for ListedState { sequence, time, state } in states {
                if json {
                    let line = json!({
                        "device": device, "sequence": sequence, "time": time, "state": state,
                    });
                    print(&format!("{line}\n"))?;
                } else {
                    let device = shown(device, names);
                    print(&format!("{device} {sequence} {}\n", state.get()))?;
                }
            }
        }
    }
    Ok(())
}

fn list_rejects(
    access: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
    limit: usize,
    json: bool,
    names: &BTreeMap<DeviceId, String>,
) -> anyhow::Result<()> {
    let rejects: Vec<Reject> = access.ask(&Request::Rejects)?;
    let wanted = rejects.iter().filter(|reject| chosen.is_none_or(|one| one == reject.device));
    for reject in wanted.take(limit) {
        if json {
            print(&format!("{}\n", serde_json::to_string(reject)?))?;
            continue;
        }
        let Reject { number, device, reason, why, time, state, .. } = reject;
        let device = shown(*device, names);
        print(&format!("{number} {time} {device} {reason}: {why}\n    {state}\n"))?;
    }
    Ok(())
}

/// Returns the devices with queued states, or only the chosen one of them.
fn queued_devices(
    access: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
) -> anyhow::Result<Vec<DeviceId>> {
    let queues: Vec<QueueInfo> = access.ask(&Request::Queues)?;
    let devices = queues.into_iter().map(|queue| queue.device);
    Ok(devices.filter(|device| chosen.is_none_or(|one| one == *device)).collect())
}

/// Returns the numbers of the rejects of the chosen device, or of all devices; with `named` only
/// these numbers.
fn rejects_of(
    access: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
    named: &[u64],
) -> anyhow::Result<Vec<u64>> {
    let rejects: Vec<Reject> = access.ask(&Request::Rejects)?;
    let numbers: Vec<u64> = rejects
        .iter()
        .filter(|reject| chosen.is_none_or(|one| one == reject.device))
        .map(|reject| reject.number)
        .filter(|number| named.is_empty() || named.contains(number))
        .collect();
    if let Some(missing) = named.iter().find(|number| !numbers.contains(number)) {
        anyhow::bail!(
            "there is no reject {missing}; list them with: tidegate outbox list --rejects"
        );
    }
    Ok(numbers)
}

fn delete_rejects(
    access: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
    yes: bool,
) -> anyhow::Result<()> {
    let numbers = rejects_of(access, chosen, &[])?;
    let details = [format!("{} rejected states", numbers.len())];
    prompt::confirm(yes, "removes permanently", &details)?;
    let deleted: Removed = access.ask(&Request::DeleteRejects { numbers })?;
    print(&format!("deleted {} rejected states\n", deleted.states))
}

fn purge(access: &OutboxAccess<'_>, chosen: Option<DeviceId>, yes: bool) -> anyhow::Result<()> {
    let queues: Vec<QueueInfo> = access.ask(&Request::Queues)?;
    let queues: Vec<_> =
        queues.iter().filter(|queue| chosen.is_none_or(|one| one == queue.device)).collect();
    let part = |queue: &&QueueInfo| {
        format!("{} states of {}, which Losant does not have", queue.states, queue.device)
    };
    prompt::confirm(yes, "removes permanently", &queues.iter().map(part).collect::<Vec<_>>())?;
    let mut purged = 0;
    for device in queues.iter().map(|queue| queue.device) {
        let request = Request::Purge { device, first: 1, last: u64::MAX, is_exported: false };
        purged += access.ask::<Removed>(&request)?.states;
    }
    print(&format!("purged {purged} states; the ledger counts their readings as purged\n"))
}

/// Writes one line for each bus with the counts of its readings.
fn describe_ledger(page: &mut String, ledger: &Value) -> std::fmt::Result {
    for (bus, account) in ledger.as_object().into_iter().flatten() {
        let number = |key: &str| account.get(key).and_then(Value::as_u64).unwrap_or_default();
        write!(
            page,
            "bus       {bus}: {} readings received, {} stored",
            number("received"),
            number("stored")
        )?;
        if number("generated") > 0 {
            write!(page, ", {} generated", number("generated"))?;
        }
        for kind in ["rejected", "dropped", "filtered"] {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn catch_up_takes_half_a_second_per_full_batch() {
        assert_eq!(catch_up_seconds(0, 100), 0);
        assert_eq!(catch_up_seconds(1, 100), 1);
        assert_eq!(catch_up_seconds(1_000_000, 100), 5_000);
    }
}
