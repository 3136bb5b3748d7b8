//! `tidegate setup`: leads from a fresh installation to readings in Losant.
//!
//! It owns two files beside the configuration: `credentials.toml` and `conf.d/setup.toml`. The
//! configuration file itself stays as shipped. A second run keeps earlier answers and writes only
//! changes.

mod answers;
mod files;
mod first_state;
mod found;
mod identify;
mod sensor;
mod trial;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::Args;

use super::provision::{self, Plan, Provisional};
use super::{DEFAULT_CONFIG, print, prompt};
use answers::Answers;
use first_state::TrialRun;
use tidegate_config::Config;
use tidegate_ingest::mapping::RecordedMessage;
use tidegate_losant::Client;
use tidegate_model::DeviceId;
use tidegate_runtime::clock::SystemClock;

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
    sensor: sensor::SensorArgs,
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

/// Where the conversation goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// With the next question.
    Next,
    /// With the question before.
    Back,
    /// With the same question.
    Again,
}

/// Asks the questions, checks the answers with Losant, writes the files, and starts the service.
///
/// If it fails, it discards what was typed or pasted meanwhile: a secret must not reach the shell.
pub(super) fn setup(args: &SetupArgs) -> anyhow::Result<()> {
    let directory = std::path::absolute(&args.config)?;
    let directory = directory.parent().unwrap_or(Path::new("/")).to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("cannot start the runtime")?.block_on(converse(args, &directory));
    if done.is_err() {
        prompt::discard_pending();
    }
    done
}

async fn converse(args: &SetupArgs, directory: &Path) -> anyhow::Result<()> {
    let mut answers = Answers::read(&directory.join(files::FRAGMENT))?;
    let recording = sensor::recording();
    let credentials = loop {
        let credentials = identify::identify(args, directory, &mut answers).await?;
        match sensor::ask(&mut answers, &args.sensor, &args.config, &recording)? {
            Flow::Next => break credentials,
            Flow::Back | Flow::Again => {}
        }
    };
    let mut is_changed = files::write_credentials(directory, &credentials)?;
    is_changed |= files::write_configuration(&args.config, directory, &answers)?;
    let config = match tidegate_config::load(&args.config) {
        Err(problems) if !answers.has_sensor() && problems.iter().all(|one| one.at == "bus") => {
            return print("There is no sensor yet: run `tidegate setup` again to add one.\n");
        }
        loaded => loaded?,
    };
    print("The configuration is valid; `tidegate check` prints a summary.\n")?;
    let messages = provision::recorded(&recording);
    // The file exists only after sensor learn.
    std::fs::remove_file(&recording).unwrap_or_default();
    offer_attributes(args, config, &messages).await?;
    let since = SystemClock.read();
    let config = tidegate_config::load(&args.config)?;
    if start(args, is_changed)? {
        return if prompt::is_possible() {
            first_state::wait(&config, since, None).await
        } else {
            Ok(())
        };
    }
    let question = "Run the gateway now until its first state is in Losant?";
    if config.buses.is_empty() || !prompt::is_possible() || !prompt::choose(question, true)? {
        return Ok(());
    }
    first_state::wait(&config, since, Some(TrialRun::start(&args.config)?)).await
}

/// Shows what Losant lacks and offers to create it.
async fn offer_attributes(
    args: &SetupArgs,
    config: Config,
    messages: &[RecordedMessage],
) -> anyhow::Result<()> {
    let client = Client::new(config.cloud.clone())?;
    let provisional = Provisional::complete(config);
    let plan = provision::plan(&client, &provisional, messages, &[]).await?;
    print(&plan.show(false, false)?)?;
    if !plan.has_work(true, false) {
        return Ok(());
    }
    let token = match &args.token_file {
        Some(file) => tidegate_config::read_token(file)?,
        None if prompt::is_possible() => {
            let question = "Create them? This needs an application token, which is not kept";
            if !prompt::offer(false, question)? {
                return print("Create them later with `tidegate provision`.\n");
            }
            return create(args, &provisional.config, &plan).await;
        }
        None => return print("Create them with `tidegate provision --token-file FILE`.\n"),
    };
    provision::create(&provisional.config, &plan, &token, &args.config).await
}

/// Asks for the application token until Losant accepts it or the user gives up.
async fn create(args: &SetupArgs, config: &Config, plan: &Plan) -> anyhow::Result<()> {
    loop {
        let token = prompt::secret("Application token")?;
        let Err(error) = provision::create(config, plan, &token, &args.config).await else {
            return Ok(());
        };
        print(&format!("Losant did not create them: {error:#}\n"))?;
        if !prompt::choose("Try another token?", true)? {
            return print("Create them later with `tidegate provision`.\n");
        }
    }
}

/// Starts the service through systemd, if systemd runs. Returns whether the service runs.
fn start(args: &SetupArgs, is_changed: bool) -> anyhow::Result<bool> {
    // The test of sd_booted(3).
    let is_booted = Path::new("/run/systemd/system").is_dir();
    if args.no_start || !is_booted || args.config != Path::new(DEFAULT_CONFIG) {
        print(&format!("Start it with: tidegate run --config {}\n", args.config.display()))?;
        return Ok(false);
    }
    if !prompt::offer(args.yes, "Start the service, now and at each boot?")? {
        print(&format!("Start it with: systemctl enable --now {UNIT}\n"))?;
        return Ok(false);
    }
    systemctl(&["enable", UNIT])?;
    systemctl(&[if is_changed { "restart" } else { "start" }, UNIT])?;
    print("The service is running; `tidegate status` shows its health.\n")?;
    Ok(true)
}

fn systemctl(arguments: &[&str]) -> anyhow::Result<()> {
    let ended =
        Command::new("systemctl").args(arguments).status().context("cannot run systemctl")?;
    anyhow::ensure!(ended.success(), "systemctl {} failed", arguments.join(" "));
    Ok(())
}
