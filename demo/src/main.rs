//! `tidegate-demo`: shows the daemon's main job in less than a minute.
//!
//! The Losant sandbox, an MQTT broker and simulated instruments run in this process; the daemon is
//! the real program. During the demo the cloud becomes unreachable and reachable again, a serial
//! instrument is unplugged and plugged in again, and commands reach actuators. The demo succeeds if
//! every reading and every command is accounted for.

mod broker;
mod command;
mod daemon;
mod display;
mod example_config;
mod measurements;
mod mqtt;
mod report;
mod scenario;
mod snapshot;
mod status;
mod testbed;
mod thermometer;
mod work_dir;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;

use crate::display::Display;
use crate::testbed::{Interrupted, Testbed};
use crate::work_dir::WorkDir;

/// Typical duration on an idle machine, which is the length of the progress bar.
const DURATION: Duration = Duration::from_secs(36);
/// Lines of the daemon's log that a failure prints.
const LOG_LINES: usize = 20;
/// Exit code after Ctrl-C, by the convention of shells: 128 + SIGINT.
const EXIT_INTERRUPTED: u8 = 130;

/// Show tidegate's main job on simulated instruments, in less than a minute.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Run this daemon [default: `tidegate` beside this program]
    #[arg(long, value_name = "FILE")]
    tidegate: Option<PathBuf>,
    /// Keep everything running after the demo, until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// Work in this empty or new directory and keep it [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    work_dir: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let program = daemon_program(arguments.tidegate)?;
    let work_dir = WorkDir::open(arguments.work_dir)?;
    let display = Display::new(DURATION);
    display.event("start: cloud sandbox, MQTT broker, 3 instruments, 2 actuators, 1 daemon");
    display.print(&format!("          work directory: {}", work_dir.path().display()));
    let mut testbed = Testbed::start(program, &work_dir, display).await?;
    let outcome = scenario::run(&mut testbed, arguments.keep).await;
    testbed.display.close();
    let problems = match outcome {
        Ok(report) => {
            testbed.display.print(&format!("\n{report}"));
            if arguments.keep {
                // The user may have sent readings and commands that the demo did not count.
                testbed.display.print("not verified: the figures may include data that you sent");
                work_dir.remove()?;
                return Ok(ExitCode::SUCCESS);
            }
            report.problems()
        }
        Err(error) => {
            // The demo has failed already, so it ignores a failure to stop the daemon.
            testbed.daemon.stop().await.ok();
            if error.is::<Interrupted>() {
                testbed.display.print("\ninterrupted: nothing was verified");
                work_dir.remove()?;
                return Ok(ExitCode::from(EXIT_INTERRUPTED));
            }
            vec![format!("{error:#}")]
        }
    };
    if problems.is_empty() {
        testbed.display.print("every reading and every command is accounted for");
        work_dir.remove()?;
        return Ok(ExitCode::SUCCESS);
    }
    for problem in problems {
        testbed.display.print(&format!("FAILED: {problem}"));
    }
    let log = testbed.daemon.log_path();
    let lines = testbed.daemon.last_log_lines(LOG_LINES);
    testbed.display.print(&format!("\nlast lines of {}:\n{}", log.display(), lines.join("\n")));
    work_dir.keep();
    Ok(ExitCode::FAILURE)
}

/// Returns the path of the daemon: the given one, or the program beside this one.
fn daemon_program(given: Option<PathBuf>) -> Result<PathBuf> {
    let program = match given {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("tidegate"),
    };
    let found = program.canonicalize();
    found.with_context(|| {
        format!("no daemon at {}; build it or name it with --tidegate", program.display())
    })
}
