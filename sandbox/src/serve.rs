//! `tidegate-sandbox serve`: a sandbox until a signal comes.

use std::io::{self, Write};
use std::net::SocketAddr;

use anyhow::Context;
use serde_json::json;
use tidegate_sandbox::{Device, Sandbox, Undeclared};
use tokio::signal::unix::{SignalKind, signal};

/// What `serve` can be told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Address to listen on; port 0 takes a free one. It guards nothing: keep it on loopback.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,

    /// Print one line of JSON instead of a text for people.
    #[arg(long)]
    json: bool,

    /// Store values of undeclared attributes too, instead of leaving them out.
    #[arg(long)]
    accept_undeclared: bool,
}

/// Serves, says where on stdout, and ends with 0 on SIGINT or SIGTERM.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let policy =
        if arguments.accept_undeclared { Undeclared::Accept } else { Undeclared::default() };
    let sandbox = Sandbox::builder().listen(arguments.listen).undeclared(policy).start().await?;

    let ready = if arguments.json { for_programs(&sandbox) } else { for_people(&sandbox) };
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{ready}").and_then(|()| stdout.flush()).context("cannot write to stdout")?;
    drop(stdout);

    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn for_programs(sandbox: &Sandbox) -> String {
    let ready = json!({
        "url": sandbox.url(),
        "applicationId": sandbox.application_id(),
        "apiToken": sandbox.api_token(),
        "devices": sandbox.devices(),
    });
    ready.to_string()
}

fn for_people(sandbox: &Sandbox) -> String {
    let url = sandbox.url();
    let application = sandbox.application_id();
    let token = sandbox.api_token();
    let table = sandbox.devices().iter().map(line).collect::<Vec<_>>().join("\n");
    let example = sandbox.devices().first().map(|device| {
        let Device { device_id, key, secret, name, .. } = device;
        let state = format!("{url}/applications/{application}/devices/{device_id}/state");
        format!(
            "\n\nCredentials file for {name} (mode 0600):\n\
             key = \"{key}\"\n\
             secret = \"{secret}\"\n\n\
             Its latest states:\n\
             curl -H 'Authorization: Bearer {token}' '{state}?limit=10'"
        )
    });
    format!(
        "The sandbox serves the Losant Device API until Ctrl-C.\n\n\
         url          {url}\n\
         application  {application}\n\
         api token    {token}\n\n\
         {table}{}\n\n\
         Figures:  curl {url}/sandbox/counters\n\
         Trouble:  curl -X POST {url}/sandbox/dark    (or light, cut-streams, expire-tokens)",
        example.unwrap_or_default()
    )
}

fn line(device: &Device) -> String {
    let Device { device_id, device_class, key, secret, name, .. } = device;
    format!("{device_id}  {:<11}{name:<12}key {key:<16}secret {secret}", device_class.to_string())
}
