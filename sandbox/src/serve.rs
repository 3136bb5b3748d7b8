//! `tidegate-sandbox serve`: runs a sandbox until SIGINT or SIGTERM.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use tidegate_sandbox::{
    ApplicationSpec, Builder, Device, JobResponse, Sandbox, UnfitValues, parse_devices_file,
};
use tokio::signal::unix::{SignalKind, signal};

/// The options of `serve`.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Arguments {
    /// Listen on this address; port 0 is a free port. Use loopback: the sandbox protects nothing.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Read applications and devices from a TOML file instead of using the default ones.
    #[arg(long, value_name = "FILE")]
    devices: Option<PathBuf>,

    /// Store devices, states, commands, logs and tokens in a directory instead of in memory.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,

    /// Print one line of JSON instead of text.
    #[arg(long)]
    json: bool,

    /// Store values of undeclared attributes or of another type, instead of dropping them.
    #[arg(long, conflicts_with = "reject_undeclared")]
    accept_undeclared: bool,

    /// Respond with 400 to values of undeclared attributes or of another type.
    #[arg(long)]
    reject_undeclared: bool,

    /// Convert values of another type to the type of the attribute, where possible.
    #[arg(long)]
    convert: bool,

    /// Respond to export and removeData with 202 and a job id, as the current API does.
    #[arg(long)]
    jobs: bool,
}

/// Starts a sandbox, prints its address on stdout, and returns on SIGINT or SIGTERM.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let as_json = arguments.json;
    let sandbox = builder(arguments)?.start().await?;

    let ready = if as_json { json_summary(&sandbox).to_string() } else { text_summary(&sandbox) };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{ready}").and_then(|()| stdout.flush()).context("cannot write to stdout")?;
    drop(stdout);

    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn builder(arguments: Arguments) -> anyhow::Result<Builder> {
    let unfit_values = match (arguments.accept_undeclared, arguments.reject_undeclared) {
        (true, _) => UnfitValues::Accept,
        (false, true) => UnfitValues::Reject,
        (false, false) => UnfitValues::Ignore,
    };
    let job_response = if arguments.jobs { JobResponse::Enqueued } else { JobResponse::Success };
    let mut builder = Sandbox::builder()
        .listen(arguments.listen)
        .unfit_values(unfit_values)
        .convert(arguments.convert)
        .job_response(job_response);
    if let Some(path) = arguments.devices {
        builder = builder.applications(read_devices_file(&path)?);
    }
    if let Some(directory) = arguments.data_dir {
        builder = builder.data_dir(directory);
    }
    Ok(builder)
}

fn read_devices_file(path: &Path) -> anyhow::Result<Vec<ApplicationSpec>> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    parse_devices_file(&text).with_context(|| format!("cannot parse {}", path.display()))
}

/// Returns the addresses and credentials as JSON; `applicationId` and `apiToken` are those of the
/// first application.
fn json_summary(sandbox: &Sandbox) -> Value {
    let applications = sandbox.applications().iter();
    let applications = applications.map(|application| {
        let ApplicationSpec { application_id, api_token, .. } = application;
        json!({"applicationId": application_id, "apiToken": api_token})
    });
    json!({
        "url": sandbox.url(),
        "applicationId": sandbox.application_id(),
        "apiToken": sandbox.api_token(),
        "applications": applications.collect::<Vec<_>>(),
        "devices": sandbox.devices(),
    })
}

/// Returns the addresses and credentials as text, with commands to copy.
fn text_summary(sandbox: &Sandbox) -> String {
    let url = sandbox.url();
    let mut text =
        format!("The sandbox serves the Losant Device API until Ctrl-C.\n\nurl  {url}\n");
    for application in sandbox.applications() {
        let ApplicationSpec { application_id, api_token, .. } = application;
        let own = |device: &&Device| device.application_id == *application_id;
        let devices = sandbox.devices().iter().filter(own);
        let table = devices.map(device_line).collect::<Vec<_>>().join("\n");
        // Writing to a string cannot fail.
        write!(text, "\napplication {application_id}, token {api_token}\n{table}\n").ok();
    }
    if let Some(device) = sandbox.devices().first() {
        text.push_str(&examples(sandbox, device));
    }
    write!(
        text,
        "\nCounters:  curl {url}/sandbox/counters\n\
         Faults:    curl -X POST {url}/sandbox/offline (or online, cut-streams, expire-tokens, …)"
    )
    .ok();
    text
}

/// Returns a credentials file and two commands for a device.
fn examples(sandbox: &Sandbox, device: &Device) -> String {
    let url = sandbox.url();
    let Device { application_id, device_id, key, secret, name, .. } = device;
    let owner = sandbox.applications().iter();
    let mut owner = owner.filter(|application| application.application_id == *application_id);
    let token = owner.next().map(|application| &*application.api_token).unwrap_or_default();
    let body = json!({"deviceId": device_id, "key": key, "secret": secret});
    format!(
        "\nA credentials file for {name} (mode 0600):\n\
         key = \"{key}\"\n\
         secret = \"{secret}\"\n\n\
         To get a token for {name}:\n\
         curl -H 'Content-Type: application/json' -d '{body}' {url}/auth/device\n\n\
         To read its latest states with the application token:\n\
         curl -H 'Authorization: Bearer {token}' \
         '{url}/applications/{application_id}/devices/{device_id}/state?limit=10'\n"
    )
}

fn device_line(device: &Device) -> String {
    let Device { device_id, device_class, key, secret, name, .. } = device;
    format!(
        "{device_id}  {:<11} {name:<12} key {key:<16} secret {secret}",
        device_class.to_string()
    )
}
