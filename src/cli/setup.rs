//! `tidegate setup`: from a fresh installation to readings in the cloud.
//!
//! It owns two files: `credentials.toml`, and `conf.d/setup.toml` beside the configuration, which itself stays as it was
//! shipped. Running it again keeps what it is not told otherwise, and writes only what has changed.

mod answers;
mod files;
mod found;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::Args;

use super::{DEFAULT_CONFIG, print, prompt, provision, secrecy};
use answers::Answers;
use tidegate_config::{Cloud, CloudCredentials, Config};
use tidegate_losant::Client;
use tidegate_losant::query::Shape;
use tidegate_model::DeviceId;

/// How often a person may try.
const TRIES_MAX: usize = 3;

/// The unit of the package.
const UNIT: &str = "tidegate.service";

/// Answers to the questions, for scripts.
#[derive(Debug, Args)]
pub(super) struct SetupArgs {
    /// The configuration beside which conf.d/setup.toml and credentials.toml are written.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The gateway's device id in Losant.
    #[arg(long, value_name = "ID")]
    device_id: Option<DeviceId>,
    /// The access key. Its secret is asked for, or is the first line of standard input.
    #[arg(long, value_name = "KEY")]
    access_key: Option<String>,
    /// The Device API, if it is not Losant's own instance.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    sensor: answers::SensorArgs,
    /// A file with an application token, to create the attributes that are missing. It is used once and not kept.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Does not start the service.
    #[arg(long)]
    no_start: bool,
    /// Takes every offer: to create attributes if there is a token, and to start the service.
    #[arg(long)]
    yes: bool,
}

/// Asks, checks, writes, and starts.
pub(super) fn setup(args: &SetupArgs) -> anyhow::Result<()> {
    let directory = std::path::absolute(&args.config)?;
    let directory = directory.parent().unwrap_or(Path::new("/")).to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        let mut answers = Answers::read(&directory.join(files::FRAGMENT))?;
        let credentials = identify(args, &directory, &mut answers).await?;
        answers.sensor(&args.sensor, &args.config)?;
        let mut is_changed = files::write_credentials(&directory, &credentials)?;
        is_changed |= files::write_configuration(&args.config, &directory, &answers)?;
        let config = tidegate_config::load(&args.config)?;
        print("The configuration is good; tidegate check shows what it means.\n")?;
        offer_attributes(args, &config).await?;
        start(args, is_changed)
    })
}

/// Finds out who the gateway is, until Losant agrees.
async fn identify(
    args: &SetupArgs,
    directory: &Path,
    answers: &mut Answers,
) -> anyhow::Result<CloudCredentials> {
    let kept = files::kept_credentials(directory);
    let mut tries = 0;
    loop {
        tries += 1;
        answers.device(args)?;
        let credentials = match (&args.access_key, &kept) {
            (None, Some(kept)) if tries == 1 => kept.clone(),
            (key, _) => {
                let key = match key {
                    Some(key) => key.clone(),
                    None => prompt::line("Access key", None, "--access-key KEY")?,
                };
                let secret = prompt::secret("Access secret")?;
                CloudCredentials::AccessKey { key, secret }
            }
        };
        secrecy::keep_out_of_core_dumps();
        let device = answers.device_id()?;
        let client = Client::new(Cloud::new(answers.url(), device, credentials.clone()))?;
        match client.get(device, Shape::default()).await {
            Ok(known) => {
                // What comes from the cloud is not to be obeyed by a terminal.
                let (name, class) = (known.name.escape_debug(), known.device_class.escape_debug());
                print(&format!("Losant knows this device: {name} ({class})\n"))?;
                return Ok(credentials);
            }
            Err(error) if prompt::is_possible() && tries < TRIES_MAX => {
                print(&format!("Losant does not take that: {error}\n"))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn offer_attributes(args: &SetupArgs, config: &Config) -> anyhow::Result<()> {
    let client = Client::new(config.cloud.clone())?;
    let missing = provision::find_missing(&client, config, &BTreeMap::new()).await?;
    if missing.is_empty() {
        return Ok(());
    }
    let token = match &args.token_file {
        Some(file) => tidegate_config::read_token(file)?,
        None if prompt::is_possible() => {
            if !prompt::offer(
                false,
                "Create them? It takes an application token, which is not kept",
            )? {
                return print("tidegate provision creates them later.\n");
            }
            prompt::secret("Application token")?
        }
        None => return print("tidegate provision --token-file FILE creates them.\n"),
    };
    provision::create(&client, config, &missing, token).await
}

/// Has systemd start the service, where it is systemd that starts services.
fn start(args: &SetupArgs, is_changed: bool) -> anyhow::Result<()> {
    // What sd_booted(3) looks for.
    let is_booted = Path::new("/run/systemd/system").is_dir();
    if args.no_start || !is_booted || args.config != Path::new(DEFAULT_CONFIG) {
        return print(&format!("Start it with: tidegate run --config {}\n", args.config.display()));
    }
    if !prompt::offer(args.yes, "Start the service, now and at each boot?")? {
        return print(&format!("Start it with: systemctl enable --now {UNIT}\n"));
    }
    systemctl(&["enable", UNIT])?;
    systemctl(&[if is_changed { "restart" } else { "start" }, UNIT])?;
    print("The service runs; tidegate status shows how it is.\n")
}

fn systemctl(words: &[&str]) -> anyhow::Result<()> {
    let ended = Command::new("systemctl").args(words).status().context("cannot run systemctl")?;
    anyhow::ensure!(ended.success(), "systemctl {} failed", words.join(" "));
    Ok(())
}
