//! `tidegate outbox`: what waits, what was refused, and what an operator can do about it.
//!
//! All of it goes through [`crate::outbox_admin`]: beside a running daemon over its socket, else on the outbox itself.

mod access;
mod export;
mod import;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{ConfigArgs, Usage, print, prompt};
use crate::outbox_admin::{Lane, Request, STATES_MAX, Waiting};
use access::OutboxAccess;
use tidegate_config::Config;
use tidegate_model::{DeviceId, Name};
use tidegate_outbox::{Reject, Removed};

/// How long a device may not be called again after a call, on average: 30 calls in 15 s (rest-api/overview).
const CALL_MILLIS: u64 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum OutboxCommand {
    /// Shows what waits for each device, and what became of all readings.
    Status {
        #[command(flatten)]
        config: ConfigArgs,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Lists the oldest states that wait, or those that the cloud refused.
    List {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        choice: DeviceChoice,
        /// Lists what the cloud refused or would ignore, newest first, with its words.
        #[arg(long)]
        rejects: bool,
        /// The most that are listed for each device.
        #[arg(long, default_value_t = 20)]
        limit: usize,
        /// Prints JSON, a line for each.
        #[arg(long)]
        json: bool,
    },
    /// Writes what waits to a file that another gateway can import.
    Export {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        choice: DeviceChoice,
        /// Takes out of the outbox what is safe in the file.
        #[arg(long)]
        remove: bool,
        /// Where to, a new file; "-" for standard output.
        file: PathBuf,
    },
    /// Lets the states of an exported file wait here.
    Import {
        #[command(flatten)]
        config: ConfigArgs,
        /// Where from; "-" for standard input.
        file: PathBuf,
    },
    /// Lets refused states wait again, when what they were refused for is mended.
    Requeue {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        choice: DeviceChoice,
        /// All of them.
        #[arg(long, conflicts_with = "numbers")]
        all: bool,
        /// Their numbers in the list of rejects.
        numbers: Vec<u64>,
    },
    /// Removes what waits, or what was refused, for good.
    Purge {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        choice: DeviceChoice,
        /// Removes what was refused, and nothing that waits.
        #[arg(long)]
        rejects: bool,
        /// Does not ask.
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct DeviceChoice {
    /// Only of this device: a name from the configuration, or an id.
    #[arg(long)]
    device: Option<String>,
}

/// Does one of them.
pub(super) fn run(command: OutboxCommand) -> anyhow::Result<()> {
    match command {
        OutboxCommand::Status { config, json } => {
            let config = config.inspect()?;
            status(&config, &OutboxAccess::to(&config)?, json)
        }
        OutboxCommand::List { config, choice, rejects, limit, json } => {
            let config = config.inspect()?;
            let (chosen, way) = (choice.id(&config)?, OutboxAccess::to(&config)?);
            let names = names(&config);
            if rejects {
                list_rejects(&way, chosen, limit, json, &names)
            } else {
                list(&way, chosen, limit, json, &names)
            }
        }
        OutboxCommand::Export { config, choice, remove, file } => {
            let config = config.inspect()?;
            export::export(&OutboxAccess::to(&config)?, choice.id(&config)?, remove, &file)
        }
        OutboxCommand::Import { config, file } => {
            import::import(&OutboxAccess::to(&config.inspect()?)?, &file)
        }
        OutboxCommand::Requeue { config, choice, all, numbers } => {
            let config = config.inspect()?;
            if !all && numbers.is_empty() && choice.device.is_none() {
                return Err(Usage::new("say which: numbers, --device or --all").into());
            }
            let way = OutboxAccess::to(&config)?;
            let numbers = rejects_of(&way, choice.id(&config)?, &numbers)?;
            let requeued: Removed = way.ask(&Request::Requeue { numbers })?;
            print(&format!("{} states wait again\n", requeued.states))
        }
        OutboxCommand::Purge { config, choice, rejects, yes } => {
            let config = config.inspect()?;
            let (chosen, way) = (choice.id(&config)?, OutboxAccess::to(&config)?);
            if rejects { forget(&way, chosen, yes) } else { purge(&way, chosen, yes) }
        }
    }
}

impl DeviceChoice {
    fn id(&self, config: &Config) -> anyhow::Result<Option<DeviceId>> {
        let Some(text) = &self.device else { return Ok(None) };
        let named = text.parse().ok().and_then(|name| config.devices.get::<Name>(&name));
        let id = named.copied().map_or_else(|| text.parse(), Ok);
        let usage = |error| Usage::new(format!("no device of the configuration, and {error}"));
        Ok(Some(id.map_err(usage)?))
    }
}

/// The names that the configuration gives to devices.
fn names(config: &Config) -> BTreeMap<DeviceId, String> {
    config.devices.iter().map(|(name, id)| (*id, name.to_string())).collect()
}

fn shown(device: DeviceId, names: &BTreeMap<DeviceId, String>) -> String {
    names.get(&device).map_or_else(|| device.to_string(), |name| format!("{name} ({device})"))
}

fn status(config: &Config, way: &OutboxAccess<'_>, json: bool) -> anyhow::Result<()> {
    let lanes: Vec<Lane> = way.ask(&Request::Lanes)?;
    let rejects: Vec<Reject> = way.ask(&Request::Rejects)?;
    let ledger = way.ledger()?;
    let sum = |part: fn(&Lane) -> u64| lanes.iter().map(part).sum::<u64>();
    let (states, readings) = (sum(|lane| lane.states), sum(|lane| lane.readings));
    let bytes = sum(|lane| lane.bytes);
    if json {
        let document = json!({
            "states": states, "readings": readings, "bytes": bytes, "devices": lanes,
            "rejects": rejects.len(), "ledger": ledger,
        });
        return print(&format!("{document}\n"));
    }
    let mut page =
        format!("outbox    {states} states with {readings} readings wait ({bytes} bytes)\n");
    let names = names(config);
    for lane in &lanes {
        write!(page, "device    {}: {} states", shown(lane.device, &names), lane.states)?;
        if let Some(oldest) = lane.oldest {
            write!(page, ", the oldest of {oldest}")?;
        }
        let seconds = catch_up_seconds(lane.states, config.reporter.batch_states_max);
        let time = humantime::format_duration(std::time::Duration::from_secs(seconds));
        writeln!(page, "; at least {time} to catch up")?;
    }
    if !rejects.is_empty() {
        writeln!(page, "rejects   {}; see: tidegate outbox list --rejects", rejects.len())?;
    }
    describe_ledger(&mut page, &ledger)?;
    print(&page)
}

/// How long a backlog takes inside the throttle, when the cloud answers at once and bytes are not what limits a batch.
fn catch_up_seconds(states: u64, batch_states_max: usize) -> u64 {
    let calls = states.div_ceil(batch_states_max.max(1) as u64);
    (calls * CALL_MILLIS).div_ceil(1_000)
}

fn list(
    way: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
    limit: usize,
    json: bool,
    names: &BTreeMap<DeviceId, String>,
) -> anyhow::Result<()> {
    for device in waiting_devices(way, chosen)? {
        let (mut after, mut left) = (0, limit);
        while left > 0 {
            let limit = left.min(STATES_MAX);
            let states: Vec<Waiting> = way.ask(&Request::States { device, after, limit })?;
            let Some(last) = states.last() else { break };
            (after, left) = (last.sequence, left.saturating_sub(states.len()));
            for Waiting { sequence, time, state } in states {
                if json {
                    let line = json!({ "device": device, "sequence": sequence, "time": time, "state": state });
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
    way: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
    limit: usize,
    json: bool,
    names: &BTreeMap<DeviceId, String>,
) -> anyhow::Result<()> {
    let rejects: Vec<Reject> = way.ask(&Request::Rejects)?;
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

/// The devices for which something waits; the chosen one alone, if there is one.
fn waiting_devices(
    way: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
) -> anyhow::Result<Vec<DeviceId>> {
    let lanes: Vec<Lane> = way.ask(&Request::Lanes)?;
    let devices = lanes.into_iter().map(|lane| lane.device);
    Ok(devices.filter(|device| chosen.is_none_or(|one| one == *device)).collect())
}

/// The numbers of rejects: those of one device, if one is chosen, and of these those that are named, if some are.
fn rejects_of(
    way: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
    named: &[u64],
) -> anyhow::Result<Vec<u64>> {
    let rejects: Vec<Reject> = way.ask(&Request::Rejects)?;
    let numbers: Vec<u64> = rejects
        .iter()
        .filter(|reject| chosen.is_none_or(|one| one == reject.device))
        .map(|reject| reject.number)
        .filter(|number| named.is_empty() || named.contains(number))
        .collect();
    if let Some(missing) = named.iter().find(|number| !numbers.contains(number)) {
        anyhow::bail!("there is no reject {missing}; see: tidegate outbox list --rejects");
    }
    Ok(numbers)
}

fn forget(way: &OutboxAccess<'_>, chosen: Option<DeviceId>, yes: bool) -> anyhow::Result<()> {
    let numbers = rejects_of(way, chosen, &[])?;
    let parts = [format!("{} refused states", numbers.len())];
    prompt::confirm(yes, "removes for good", &parts)?;
    let forgotten: Removed = way.ask(&Request::Forget { numbers })?;
    print(&format!("{} refused states are removed\n", forgotten.states))
}

fn purge(way: &OutboxAccess<'_>, chosen: Option<DeviceId>, yes: bool) -> anyhow::Result<()> {
    let lanes: Vec<Lane> = way.ask(&Request::Lanes)?;
    let lanes: Vec<_> =
        lanes.iter().filter(|lane| chosen.is_none_or(|one| one == lane.device)).collect();
    let part = |lane: &&Lane| {
        format!("{} states of {}, which the cloud does not have", lane.states, lane.device)
    };
    prompt::confirm(yes, "removes for good", &lanes.iter().map(part).collect::<Vec<_>>())?;
    let mut purged = 0;
    for device in lanes.iter().map(|lane| lane.device) {
        let request = Request::Purge { device, first: 1, through: u64::MAX, is_exported: false };
        purged += way.ask::<Removed>(&request)?.states;
    }
    print(&format!("{purged} states are removed; the ledger counts their readings as purged\n"))
}

/// One line for each bus: what came in and what became of it.
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
    fn a_backlog_takes_half_a_second_for_each_full_batch() {
        assert_eq!(catch_up_seconds(0, 100), 0);
        assert_eq!(catch_up_seconds(1, 100), 1);
        assert_eq!(catch_up_seconds(1_000_000, 100), 5_000);
    }
}
