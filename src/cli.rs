//! The command line: its words, and what each does.

mod check;
mod commands;
mod config;
mod control;
mod device;
mod outbox;
mod progress;
mod prompt;
mod provision;
mod reload;
mod run;
mod secrecy;
mod sensor;
mod setup;
mod status;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::control as daemon;
use tidegate_config::{Config, Problems};
use tidegate_delivery::response::ResponseClass;

/// Exit code for a configuration that cannot be used: `EX_CONFIG` of sysexits.h, which the unit does not restart on.
pub const EXIT_CONFIG: u8 = 78;

/// Exit code for wrong arguments: `EX_USAGE` of sysexits.h.
pub const EXIT_USAGE: u8 = 64;

/// Exit code for all that has none of its own.
pub const EXIT_FAILURE: u8 = 1;

/// Exit code for a cloud or a daemon that does not answer: `EX_UNAVAILABLE` of sysexits.h.
pub const EXIT_UNAVAILABLE: u8 = 69;

/// Exit code for credentials that are not good for what was asked: `EX_NOPERM` of sysexits.h.
pub const EXIT_NO_PERMISSION: u8 = 77;

/// Where the configuration is if nothing else is said.
const DEFAULT_CONFIG: &str = "/etc/tidegate/tidegate.toml";

/// Arguments that cannot be meant, beyond what clap sees.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

impl Usage {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// What was asked is not there: a broker, a line.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unavailable(String);

/// Edge gateway between local sensors and the Losant Device API.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sets the daemon up: asks who the gateway is and where its first sensor, checks it with Losant, writes, starts.
    Setup(Box<setup::SetupArgs>),
    /// Runs the daemon until SIGTERM or SIGINT.
    Run(ConfigArgs),
    /// Has the running daemon read its configuration again and apply what has changed, and tells how that went.
    Reload(ConfigArgs),
    /// Shows what a configuration means, or everything that is wrong with it (exit code 78).
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// Says nothing of a configuration that can be used.
        #[arg(long, short)]
        quiet: bool,
    },
    /// Shows the configuration value by value, or what there is to configure.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Creates the attributes that the configuration reports and Losant does not have yet.
    Provision(provision::ProvisionArgs),
    /// Asks the running daemon how it is; the exit code says it, too.
    Status(status::StatusArgs),
    /// Shows what waits and what was refused; exports, imports, requeues and removes it.
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// Shows the sensors, and what they make of what they hear.
    #[command(subcommand)]
    Sensor(sensor::SensorCommand),
    /// Tells what became of commands, or what one would write.
    #[command(subcommand)]
    Commands(CommandsCommand),
    /// Does one action of the Losant Device API.
    #[command(arg_required_else_help = true, disable_help_subcommand = true, after_help = device::AFTER_HELP)]
    Device {
        #[command(flatten)]
        target: Box<device::TargetArgs>,
        #[command(subcommand)]
        action: Box<device::DeviceCommand>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Shows every value that counts and where it is written: as TOML that means the same, without secrets.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Prints JSON: by key, the value and where it is from.
        #[arg(long)]
        json: bool,
    },
    /// Prints a JSON Schema of the configuration, for editors.
    Schema,
}

#[derive(Debug, Subcommand)]
enum CommandsCommand {
    /// Lists commands with their results, newest first: the last 50 of a running daemon, or all when it is stopped.
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
        /// The most that are listed.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Shows all that is known of one command.
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Its number in the list.
        number: u64,
    },
    /// Shows what a command would write, or why it would be refused.
    Run(DryRunArgs),
}

#[derive(Debug, Args)]
struct DryRunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Writes nothing; there is no other way here.
    #[arg(long)]
    dry_run: bool,
    /// Whose command it is: a name from the configuration, or an id.
    device: String,
    /// The name of the command.
    command: String,
    /// The payload as JSON.
    #[arg(default_value = "null", allow_negative_numbers = true)]
    payload: String,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration; a directory conf.d beside it is read, too.
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

impl ConfigArgs {
    fn load(&self) -> anyhow::Result<Config> {
        Ok(tidegate_config::load(&self.config)?)
    }

    /// Without the access key, for what does not talk to Losant.
    fn look(&self) -> anyhow::Result<Config> {
        Ok(tidegate_config::look(&self.config)?)
    }

    /// Where the daemon is asked.
    fn socket(&self) -> anyhow::Result<PathBuf> {
        Ok(tidegate_config::status_socket(&self.config)?)
    }
}

/// Does what the command line says and turns its outcome into an exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; nothing can be done if even they cannot be printed.
            error.print().unwrap_or_default();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::Setup(args) => setup::setup(&args),
        Command::Provision(args) => provision::provision(&args),
        Command::Run(args) => {
            tidegate_config::explain(&args.config).map_err(Into::into).and_then(|explained| {
                secrecy::keep_out_of_core_dumps();
                run::run(&args.config, explained)
            })
        }
        // A mistake is told here; the daemon is not troubled with it.
        Command::Reload(args) => {
            args.look().and_then(|config| reload::reload(&config.status_socket))
        }
        Command::Check { config: args, quiet } => args
            .load()
            .and_then(|config| if quiet { Ok(()) } else { check::check(&args.config, &config) }),
        Command::Config(ConfigCommand::Show { config: args, json }) => {
            config::show(&args.config, json)
        }
        Command::Config(ConfigCommand::Schema) => config::schema(),
        Command::Status(args) => match status::status(&args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Outbox(command) => outbox::run(command),
        Command::Sensor(command) => sensor::run(command),
        Command::Commands(command) => commands::run(command),
        Command::Device { target, action } => device::run(&target, *action),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    let (written, code) = match error.downcast_ref::<Problems>() {
        Some(problems) => (writeln!(stderr, "{problems}"), EXIT_CONFIG),
        None => (writeln!(stderr, "tidegate: {error:#}"), exit_code(error)),
    };
    // With standard error gone, the exit code is all that can be told.
    written.unwrap_or_default();
    ExitCode::from(code)
}

/// The cause in one number, for scripts.
fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        return EXIT_USAGE;
    }
    if error.is::<Unavailable>() {
        return EXIT_UNAVAILABLE;
    }
    if error.is::<reload::Refused>() {
        return EXIT_CONFIG;
    }
    if let Some(error) = error.downcast_ref::<daemon::Error>() {
        return match error {
            daemon::Error::NotRunning { .. } | daemon::Error::TimedOut { .. } => EXIT_UNAVAILABLE,
            daemon::Error::NoPermission { .. } => EXIT_NO_PERMISSION,
            daemon::Error::Broken { .. } | daemon::Error::Refused { .. } => EXIT_FAILURE,
        };
    }
    let Some(error) = error.downcast_ref::<tidegate_losant::Error>() else { return EXIT_FAILURE };
    match error.verdict() {
        ResponseClass::Offline | ResponseClass::ServerError(_) => EXIT_UNAVAILABLE,
        ResponseClass::Unauthorized => EXIT_NO_PERMISSION,
        ResponseClass::Blocked if error.status() == Some(403) => EXIT_NO_PERMISSION,
        ResponseClass::Stored
        | ResponseClass::TooLarge
        | ResponseClass::Malformed
        | ResponseClass::Throttled(_)
        | ResponseClass::Blocked => EXIT_FAILURE,
    }
}

/// Prints to standard output. A reader that has gone away (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A path as an operator reads it.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
