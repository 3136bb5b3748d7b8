//! `tidegate-sandbox serve`: a sandbox until a signal comes.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::{Value, json};
use tidegate_sandbox::{
    ApplicationSpec, Builder, Device, JobAnswer, Sandbox, Undeclared, parse_world,
};
use tokio::signal::unix::{SignalKind, signal};

/// What `serve` can be told.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Arguments {
    /// Address to listen on; port 0 takes a free one. It guards nothing: keep it on loopback.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Take applications and devices from this TOML file instead of the default ones.
    #[arg(long, value_name = "FILE")]
    world: Option<PathBuf>,

    /// Keep devices, states, commands, logs and tokens in this directory.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,

    /// Print one line of JSON instead of a text for people.
    #[arg(long)]
    json: bool,

    /// Store values of undeclared attributes too, instead of leaving them out.
    #[arg(long, conflicts_with = "refuse_undeclared")]
    accept_undeclared: bool,

    /// Answer 400 for values of undeclared attributes or of another type.
    #[arg(long)]
    refuse_undeclared: bool,

    /// Convert values of another type to the attribute's, where that can be.
    #[arg(long)]
    convert: bool,

    /// Answer export and removeData with 202 and a job, as the current API does, instead of 200.
    #[arg(long)]
    jobs: bool,
}

/// Serves, says where on stdout, and ends with 0 on SIGINT or SIGTERM.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let as_json = arguments.json;
    let sandbox = builder(arguments)?.start().await?;

    let ready = if as_json { for_programs(&sandbox).to_string() } else { for_people(&sandbox) };
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
    let undeclared = match (arguments.accept_undeclared, arguments.refuse_undeclared) {
        (true, _) => Undeclared::Accept,
        (false, true) => Undeclared::Refuse,
        (false, false) => Undeclared::Ignore,
    };
    let jobs = if arguments.jobs { JobAnswer::Enqueued } else { JobAnswer::Success };
    let mut builder = Sandbox::builder()
        .listen(arguments.listen)
        .undeclared(undeclared)
        .convert(arguments.convert)
        .job_answer(jobs);
    if let Some(path) = arguments.world {
        builder = builder.applications(read_world(&path)?);
    }
    if let Some(directory) = arguments.state {
        builder = builder.state(directory);
    }
    Ok(builder)
}

fn read_world(path: &Path) -> anyhow::Result<Vec<ApplicationSpec>> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    parse_world(&text).with_context(|| format!("cannot use {}", path.display()))
}

/// `applicationId` and `apiToken` are those of the first application.
fn for_programs(sandbox: &Sandbox) -> Value {
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

fn for_people(sandbox: &Sandbox) -> String {
    let url = sandbox.url();
    let mut text =
        format!("The sandbox serves the Losant Device API until Ctrl-C.\n\nurl  {url}\n");
    for application in sandbox.applications() {
        let ApplicationSpec { application_id, api_token, .. } = application;
        let own = |device: &&Device| device.application_id == *application_id;
        let devices = sandbox.devices().iter().filter(own);
        let table = devices.map(line).collect::<Vec<_>>().join("\n");
        // Writing to a string does not fail.
        write!(text, "\napplication {application_id}, token {api_token}\n{table}\n").ok();
    }
    if let Some(device) = sandbox.devices().first() {
        text.push_str(&snippet(sandbox, device));
    }
    write!(
        text,
        "\nFigures:  curl {url}/sandbox/counters\n\
         Trouble:  curl -X POST {url}/sandbox/dark    (or light, cut-streams, expire-tokens, …)"
    )
    .ok();
    text
}

/// What a device needs to begin, ready to be pasted.
fn snippet(sandbox: &Sandbox, device: &Device) -> String {
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
         A token for {name}, as its program gets it:\n\
         curl -H 'Content-Type: application/json' -d '{body}' {url}/auth/device\n\n\
         Its latest states, with the application's token:\n\
         curl -H 'Authorization: Bearer {token}' \
         '{url}/applications/{application_id}/devices/{device_id}/state?limit=10'\n"
    )
}

fn line(device: &Device) -> String {
    let Device { device_id, device_class, key, secret, name, .. } = device;
    format!(
        "{device_id}  {:<11} {name:<12} key {key:<16} secret {secret}",
        device_class.to_string()
    )
}
