//! The command line: its words, and what each does.

mod check;
mod outbox;
mod run;
mod status;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, Problems};

/// Exit code for a configuration that cannot be used: `EX_CONFIG` of sysexits.h, which the unit does not restart on.
pub const EXIT_CONFIG: u8 = 78;

/// Exit code for wrong arguments: `EX_USAGE` of sysexits.h.
pub const EXIT_USAGE: u8 = 64;

/// Edge gateway between local sensors and the Losant Device API.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, disable_help_subcommand = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the daemon until SIGTERM or SIGINT.
    Run(ConfigArgs),
    /// Shows what a configuration means, or everything that is wrong with it (exit code 78).
    Check(ConfigArgs),
    /// Asks the running daemon how it is.
    Status {
        #[command(flatten)]
        config: ConfigArgs,
        /// Prints the daemon's JSON as it is.
        #[arg(long)]
        json: bool,
    },
    /// Looks into the outbox of a daemon that is stopped.
    #[command(subcommand)]
    Outbox(OutboxCommand),
}

#[derive(Debug, Subcommand)]
enum OutboxCommand {
    /// Shows what waits, and what became of all readings.
    Status {
        #[command(flatten)]
        config: ConfigArgs,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration; a directory conf.d beside it is read, too.
    #[arg(long, short, value_name = "FILE", default_value = "/etc/tidegate/tidegate.toml")]
    config: PathBuf,
}

impl ConfigArgs {
    fn load(&self) -> anyhow::Result<Config> {
        Ok(config::load(&self.config)?)
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
        Command::Run(args) => args.load().and_then(run::run),
        Command::Check(args) => args.load().and_then(|config| check::check(&args.config, &config)),
        Command::Status { config, json } => {
            config.load().and_then(|config| status::status(&config, json))
        }
        Command::Outbox(OutboxCommand::Status { config, json }) => {
            config.load().and_then(|config| outbox::status(&config, json))
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let mut stderr = std::io::stderr().lock();
    let (written, code) = match error.downcast_ref::<Problems>() {
        Some(problems) => (writeln!(stderr, "{problems}"), ExitCode::from(EXIT_CONFIG)),
        None => (writeln!(stderr, "tidegate: {error:#}"), ExitCode::FAILURE),
    };
    // With standard error gone, the exit code is all that can be told.
    written.unwrap_or_default();
    code
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
