//! The command line: its subcommands and options.

mod audit;
mod check;
mod commands;
mod config;
mod control;
mod device;
mod fragment;
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
use tidegate_model::io_problem;

/// Exit code for a configuration that cannot be used: `EX_CONFIG` of sysexits.h, which the unit
/// does not restart on.
pub const EXIT_CONFIG: u8 = 78;

/// Exit code for wrong arguments: `EX_USAGE` of sysexits.h.
pub const EXIT_USAGE: u8 = 64;

/// Exit code for all other failures.
pub const EXIT_FAILURE: u8 = 1;

/// Exit code if Losant or the daemon does not answer: `EX_UNAVAILABLE` of sysexits.h.
pub const EXIT_UNAVAILABLE: u8 = 69;

/// Exit code for missing permission: `EX_NOPERM` of sysexits.h.
pub const EXIT_NO_PERMISSION: u8 = 77;

/// The default of `--config`.
const DEFAULT_CONFIG: &str = "/etc/tidegate/tidegate.toml";

/// Invalid arguments that clap does not detect.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

impl Usage {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// A broker, a line or another resource is not available.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unavailable(String);

/// Edge gateway between local sensors and the Losant Device API.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub struct Cli {
    /// The configuration file; files in conf.d beside it are read, too
    // The subcommands have this option, too. It can be written before them or after them.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Set up the gateway step by step: device, access key, first sensor, service
    Setup(Box<setup::SetupArgs>),
    /// Run the daemon until SIGTERM or SIGINT
    Run(ConfigArgs),
    /// Make the running daemon reload its configuration
    Reload(ConfigArgs),
    /// Validate the configuration and print a summary, or all errors (exit code 78)
    Check {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print nothing for a valid configuration
        #[arg(long, short)]
        quiet: bool,
        /// Also ask Losant and the brokers: devices, attributes, scopes, logins, subscriptions
        #[arg(long)]
        online: bool,
    },
    /// Show the effective configuration, or its JSON Schema
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Create missing attributes and peripherals in Losant
    Provision(provision::ProvisionArgs),
    /// Show gateway health
    Status(status::StatusArgs),
    /// Read sent states back from Losant and compare them, value by value
    Audit(audit::AuditArgs),
    /// Manage the outbox: list, export, import, requeue, purge
    #[command(subcommand)]
    Outbox(outbox::OutboxCommand),
    /// List, test and discover sensors
    #[command(subcommand)]
    Sensor(sensor::SensorCommand),
    /// Show received commands, or test one
    #[command(subcommand)]
    Commands(CommandsCommand),
    /// Call an action of the Losant Device API
    #[command(
        arg_required_else_help = true,
        disable_help_subcommand = true,
        after_help = device::AFTER_HELP
    )]
    Device {
        #[command(flatten)]
        target: Box<device::TargetArgs>,
        #[command(subcommand)]
        action: Box<device::DeviceCommand>,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Show every effective value and its origin as TOML, without secrets
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON: value and origin by key
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the configuration, for editors
    Schema,
}

#[derive(Debug, Subcommand)]
enum CommandsCommand {
    /// List commands and results, newest first: the last 50 while the daemon runs, else all
    List {
        #[command(flatten)]
        config: ConfigArgs,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// The most commands to list
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Show one command in full
    Show {
        #[command(flatten)]
        config: ConfigArgs,
        /// The number in the list
        number: u64,
    },
    /// Show what a command would write, or why it would be refused
    Run(DryRunArgs),
}

#[derive(Debug, Args)]
struct DryRunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Write nothing; this option is required
    #[arg(long)]
    dry_run: bool,
    /// The device: a name from the configuration, or an id
    device: String,
    /// The name of the command
    command: String,
    /// The payload as JSON
    #[arg(default_value = "null", allow_negative_numbers = true)]
    payload: String,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file; files in conf.d beside it are read, too
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

impl ConfigArgs {
    fn load(&self) -> anyhow::Result<Config> {
        Ok(tidegate_config::load(&self.config)?)
    }

    /// Loads the configuration without the access key, for subcommands that do not call Losant.
    fn inspect(&self) -> anyhow::Result<Config> {
        Ok(tidegate_config::load_to_inspect(&self.config)?)
    }

    /// Returns the path of the daemon's socket.
    fn socket(&self) -> anyhow::Result<PathBuf> {
        Ok(tidegate_config::status_socket(&self.config)?)
    }
}

/// Runs the command line and returns its exit code.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors. A failure to print them cannot be reported.
            error.print().unwrap_or_default();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::Setup(args) => setup::setup(&args),
        Command::Provision(args) => provision::provision(&args),
        Command::Run(args) => tidegate_config::explain(&args.config).map_err(Into::into).and_then(
            |(config, entries)| {
                secrecy::keep_out_of_core_dumps();
                run::run(&args.config, config, entries)
            },
        ),
        // The daemon judges the files, so that its log and its status have the outcome, too.
        Command::Reload(args) => args.socket().and_then(|socket| reload::reload(&socket)),
        // Losant is asked with the credentials of the daemon, which must be there then.
        Command::Check { config: args, quiet, online: true } => {
            args.load().and_then(|config| check::online::check(&config, quiet))
        }
        Command::Check { config: args, quiet, online: false } => check::check(&args.config, quiet),
        Command::Config(ConfigCommand::Show { config: args, json }) => {
            config::show(&args.config, json)
        }
        Command::Config(ConfigCommand::Schema) => config::schema(),
        Command::Status(args) => match status::status(&args) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Audit(args) => match audit::audit(&args) {
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
        None => (writeln!(stderr, "tidegate: {}", chain(error)), exit_code(error)),
    };
    // Without standard error only the exit code is left.
    written.unwrap_or_default();
    ExitCode::from(code)
}

/// Describes an error with its causes on one line. Errors of the operating system and of the HTTP
/// library are in plain words.
fn chain(error: &anyhow::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            io_problem(error)
        } else if let Some(error) = cause.downcast_ref::<reqwest::Error>() {
            tidegate_losant::describe(error)
        } else {
            cause.to_string()
        };
        let is_included = texts.last().is_some_and(|last| last.contains(&text));
        if !is_included {
            texts.push(text);
        }
    }
    texts.join(": ")
}

/// Returns the exit code for an error.
fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<Usage>() {
        return EXIT_USAGE;
    }
    if error.is::<Unavailable>() {
        return EXIT_UNAVAILABLE;
    }
    if let Some(check::online::Found::Unchecked { .. }) = error.downcast_ref() {
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
    match error.response_class() {
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

/// Prints to standard output. A closed pipe (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Formats a path.
fn shown(path: &Path) -> String {
    path.display().to_string()
}
