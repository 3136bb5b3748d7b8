//! Makes the call of an action and prints its answer.

use anyhow::Context as _;
use serde_json::Value;

use super::args::PatchArgs;
use super::command::DeviceCommand;
use super::confirm::Irreversible;
use super::target::{Target, TargetArgs};
use super::{confirm, follow, input, loss, print};
use crate::cli::secrecy;
use tidegate_losant::query::Shape;
use tidegate_losant::{Action, Answer, Call, Client, StreamCall};
use tidegate_runtime::clock::SystemClock;

/// Executes one action.
pub(in crate::cli) fn perform(args: &TargetArgs, command: DeviceCommand) -> anyhow::Result<()> {
    let keep_alive_interval =
        if let DeviceCommand::CommandStream(args) | DeviceCommand::StateStream(args) = &command {
            args.keep_alive_interval
        } else {
            None
        };
    let target = args.resolve(action(&command), keep_alive_interval)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(execute(&target, command))
}

async fn execute(target: &Target, command: DeviceCommand) -> anyhow::Result<()> {
    let (client, device, now) = (&target.client, target.device, SystemClock.read());
    match command {
        DeviceCommand::CommandStream(_) => {
            stream(target, |client| client.command_stream(device).json()).await
        }
        DeviceCommand::Delete => {
            confirm::confirm(target, &Irreversible::deletion(target))?;
            send(target, client.delete(device)).await
        }
        DeviceCommand::Export(args) => {
            let (query, body) = input::export(&args)?;
            send(target, client.export(device, &query, body.as_ref())).await
        }
        DeviceCommand::Get(args) => send(target, client.get(device, args.shape())).await,
        DeviceCommand::GetCommand(args) => {
            send(target, client.get_command(device, &args.history(now))).await
        }
        DeviceCommand::GetCompositeState(args) => {
            send(target, client.get_composite_state(device, &args.composite())).await
        }
        DeviceCommand::GetLogEntries(args) => {
            send(target, client.get_log_entries(device, &args.history(now))).await
        }
        DeviceCommand::GetState(args) => {
            send(target, client.get_state(device, &args.history(now))).await
        }
        DeviceCommand::Patch(args) => patch(target, &args).await,
        DeviceCommand::RemoveData(args) => {
            let period = args.period.period();
            confirm::confirm(target, &Irreversible::removal(target, period))?;
            send(target, client.remove_data(device, period)).await
        }
        DeviceCommand::SendCommand(args) => {
            send(target, client.send_command(device, &input::command(&args, now)?)).await
        }
        DeviceCommand::SendState(args) => {
            send(target, client.send_state(device, &input::states(&args, now)?)).await
        }
        DeviceCommand::SetConnectionStatus(args) => {
            let status = input::connection(&args, now)?;
            send(target, client.set_connection_status(device, &status)).await
        }
        DeviceCommand::StateStream(_) => stream(target, |client| client.state_stream(device)).await,
        DeviceCommand::PayloadCounts(args) => {
            send(target, client.payload_counts(device, args.period())).await
        }
        DeviceCommand::PayloadCountsBreakdown(args) => {
            let period = args.period.period();
            send(target, client.payload_counts_breakdown(device, period, args.resolution)).await
        }
    }
}

/// Sends a patch. Asks first if it would delete something.
async fn patch(target: &Target, args: &PatchArgs) -> anyhow::Result<()> {
    let (client, device) = (&target.client, target.device);
    let patch = input::patch(args)?;
    if patch.replaces() && !confirm::is_confirmed(target) {
        secrecy::keep_out_of_core_dumps();
        let shape = Shape { exclude_connection_info: true, ..Shape::default() };
        let old = client.get(device, shape).json().await;
        let old =
            old.context("cannot determine what the patch deletes; --yes patches without a check")?;
        let losses = loss::losses(&old, &patch);
        if !losses.is_empty() {
            confirm::confirm(target, &Irreversible::replacement(target, losses))?;
        }
    }
    send(target, client.patch(device, &patch, args.shape.shape())).await
}

async fn send<T: Answer>(target: &Target, call: Call<'_, T>) -> anyhow::Result<()> {
    if target.is_dry_run {
        return print::request(target, call.request());
    }
    secrecy::keep_out_of_core_dumps();
    print::answer(&call.json().await?)
}

async fn stream<'a, F>(target: &'a Target, call: F) -> anyhow::Result<()>
where
    F: Fn(&'a Client) -> StreamCall<'a, Value>,
{
    if target.is_dry_run {
        return print::request(target, call(&target.client).request());
    }
    secrecy::keep_out_of_core_dumps();
    follow::follow(|| call(&target.client)).await
}

fn action(command: &DeviceCommand) -> Action {
    match command {
        DeviceCommand::CommandStream(_) => Action::CommandStream,
        DeviceCommand::Delete => Action::Delete,
        DeviceCommand::Export(_) => Action::Export,
        DeviceCommand::Get(_) => Action::Get,
        DeviceCommand::GetCommand(_) => Action::GetCommand,
        DeviceCommand::GetCompositeState(_) => Action::GetCompositeState,
        DeviceCommand::GetLogEntries(_) => Action::GetLogEntries,
        DeviceCommand::GetState(_) => Action::GetState,
        DeviceCommand::Patch(_) => Action::Patch,
        DeviceCommand::RemoveData(_) => Action::RemoveData,
        DeviceCommand::SendCommand(_) => Action::SendCommand,
        DeviceCommand::SendState(_) => Action::SendState,
        DeviceCommand::SetConnectionStatus(_) => Action::SetConnectionStatus,
        DeviceCommand::StateStream(_) => Action::StateStream,
        DeviceCommand::PayloadCounts(_) => Action::PayloadCounts,
        DeviceCommand::PayloadCountsBreakdown(_) => Action::PayloadCountsBreakdown,
    }
}
