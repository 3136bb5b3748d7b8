//! `tidegate setup`: leads from a fresh installation to readings in Losant.
//!
//! It owns two files beside the configuration: `credentials.toml` and `conf.d/setup.toml`. The
//! configuration file itself stays as shipped. A second run keeps earlier answers and writes only
//! changes.

mod answers;
mod files;
mod found;

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

/// The most attempts to enter valid credentials.
const ATTEMPTS_MAX: usize = 3;

/// The systemd unit of the package.
const UNIT: &str = "tidegate.service";

/// Options of `tidegate setup`; each answers a question.
#[derive(Debug, Args)]
pub(super) struct SetupArgs {
    /// The configuration file; conf.d/setup.toml and credentials.toml are written beside it
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// The device id of the gateway in Losant
    #[arg(long, value_name = "ID")]
    device_id: Option<DeviceId>,
    /// The access key; its secret is asked for, or read from standard input
    #[arg(long, value_name = "KEY")]
    access_key: Option<String>,
    /// The URL of the Device API, unless it is Losant's public instance
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    sensor: answers::SensorArgs,
    /// Create missing attributes with the application token in FILE; used once, not kept
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Do not start the service
    #[arg(long)]
    no_start: bool,
    /// Answer yes to every offer: create attributes if there is a token, start the service
    #[arg(long)]
    yes: bool,
}

/// Asks the questions, checks the answers with Losant, writes the files, and starts the service.
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
        print("The configuration is valid; `tidegate check` prints a summary.\n")?;
        offer_attributes(args, config).await?;
        start(args, is_changed)
    })
}

/// Asks for device and access key until Losant accepts them.
async fn identify(
    args: &SetupArgs,
    directory: &Path,
    answers: &mut Answers,
) -> anyhow::Result<CloudCredentials> {
    let kept = files::kept_credentials(directory);
    let mut attempts = 0;
    loop {
        attempts += 1;
        answers.device(args)?;
        let credentials = match (&args.access_key, &kept) {
            (None, Some(kept)) if attempts == 1 => kept.clone(),
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
                // Text from the cloud must not control the terminal.
                let (name, class) = (known.name.escape_debug(), known.device_class.escape_debug());
                print(&format!("Found in Losant: {name} ({class})\n"))?;
                return Ok(credentials);
            }
            Err(error) if prompt::is_possible() && attempts < ATTEMPTS_MAX => {
                print(&format!("Losant refused: {error}\n"))?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn offer_attributes(args: &SetupArgs, config: Config) -> anyhow::Result<()> {
    let provisional = provision::Provisional::complete(config);
    let config = &provisional.config;
    let client = Client::new(config.cloud.clone())?;
    let plan = provision::plan(&client, &provisional, &[], &[]).await?;
    print(&plan.show(false, false)?)?;
    if !plan.has_work(false, false) {
        return Ok(());
    }
    let token = match &args.token_file {
        Some(file) => tidegate_config::read_token(file)?,
        None if prompt::is_possible() => {
            if !prompt::offer(
                false,
                "Create them? This needs an application token, which is not kept",
            )? {
                return print("Create them later with `tidegate provision`.\n");
            }
            prompt::secret("Application token")?
        }
        None => return print("Create them with `tidegate provision --token-file FILE`.\n"),
    };
    provision::create(config, &plan, &token).await
}

/// Starts the service through systemd, if systemd runs.
fn start(args: &SetupArgs, is_changed: bool) -> anyhow::Result<()> {
    // The test of sd_booted(3).
    let is_booted = Path::new("/run/systemd/system").is_dir();
    if args.no_start || !is_booted || args.config != Path::new(DEFAULT_CONFIG) {
        return print(&format!("Start it with: tidegate run --config {}\n", args.config.display()));
    }
    if !prompt::offer(args.yes, "Start the service, now and at each boot?")? {
        return print(&format!("Start it with: systemctl enable --now {UNIT}\n"));
    }
    systemctl(&["enable", UNIT])?;
    systemctl(&[if is_changed { "restart" } else { "start" }, UNIT])?;
    print("The service is running; `tidegate status` shows its health.\n")
}

fn systemctl(arguments: &[&str]) -> anyhow::Result<()> {
    let ended =
        Command::new("systemctl").args(arguments).status().context("cannot run systemctl")?;
    anyhow::ensure!(ended.success(), "systemctl {} failed", arguments.join(" "));
    Ok(())
}
