//! `tidegate-demo`: shows the daemon's main job on real parts, in less than a minute.
//!
//! A cloud, an MQTT broker and simulated instruments run in this process; the daemon is the real
//! program. The cloud goes dark and comes back, a serial line is unplugged and plugged in again,
//! commands reach actuators; in the end every reading and every command must be accounted for.

mod broker;
mod daemon;
mod display;
mod figures;
mod mqtt;
mod order;
mod script;
mod stage;
mod status;
mod tally;
mod thermometer;
mod weather;
mod work;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use crate::display::Display;
use crate::stage::{Interrupted, Stage};
use crate::work::WorkDir;

/// What a run takes on an idle machine; the display's bar ends here.
const LENGTH: Duration = Duration::from_secs(36);
/// Lines of the daemon's log that are shown when something fails.
const LOG_LINES: usize = 20;

/// What a shell answers for a program that Ctrl-C ended: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Show tidegate's main job on simulated instruments, in less than a minute.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The daemon's program [default: `tidegate` beside this program]
    #[arg(long, value_name = "FILE")]
    tidegate: Option<PathBuf>,
    /// Keep all running after the script, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// An empty or new directory to work in, which stays [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

/// Runs the demo; succeeds only if all the numbers add up.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let options = Arguments::parse();
    let program = program(options.tidegate)?;
    let work = WorkDir::open(options.work_dir)?;
    let display = Display::new(LENGTH);
    display.event("start: a cloud, an MQTT broker, three instruments, two actuators, one daemon");
    display.print(&format!("          work directory: {}", work.path().display()));
    let mut stage = Stage::set(program, &work, display).await?;
    let outcome = script::play(&mut stage, options.keep).await;
    stage.display.close();
    let problems = match outcome {
        Ok(tally) => {
            stage.display.print(&format!("\n{tally}"));
            if options.keep {
                // Whoever played along has sent readings and commands that nobody else counted.
                stage.display.print("not judged: what you sent yourself is in these numbers");
                work.remove()?;
                return Ok(ExitCode::SUCCESS);
            }
            tally.problems()
        }
        Err(error) => {
            // What went wrong is known; an orderly end of the daemon would be a bonus.
            stage.daemon.stop().await.ok();
            if error.is::<Interrupted>() {
                stage.display.print("\ninterrupted: nothing was counted");
                work.remove()?;
                return Ok(ExitCode::from(INTERRUPTED));
            }
            vec![format!("{error:#}")]
        }
    };
    if problems.is_empty() {
        stage.display.print("every reading and every command is accounted for");
        work.remove()?;
        return Ok(ExitCode::SUCCESS);
    }
    for problem in problems {
        stage.display.print(&format!("FAILED: {problem}"));
    }
    let (log, tail) = stage.daemon.log_tail(LOG_LINES);
    stage.display.print(&format!("\nthe end of {}:\n{}", log.display(), tail.join("\n")));
    work.keep();
    Ok(ExitCode::FAILURE)
}

/// The daemon's program: the one given, or the one that was built beside this one.
fn program(given: Option<PathBuf>) -> Result<PathBuf> {
    let program = match given {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("tidegate"),
    };
    let found = program.canonicalize();
    found.with_context(|| {
        format!("no daemon at {}; build it, or name it with --tidegate", program.display())
    })
}
