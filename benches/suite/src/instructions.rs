//! The command `instructions`: counts instructions with callgrind, and estimates small computers.
//!
//! Each count is the difference of two runs, divided by the difference of their messages, so that
//! the start does not count. It hardly depends on the computer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::document;
use crate::estimate;
use crate::figures::{self, float};
use crate::generator::{Generator, Load};
use crate::measure::{self, DEFAULT_RETRY, Extent, Measure};
use crate::part::Part;
use crate::peer::{Peer, Site, Tools};
use crate::process::Program;
use crate::row::Row;
use crate::sequence::WARM_UP;
use crate::sink::Sink;
use crate::world::{Broker, fresh_directory};

/// The messages between the generator and the sink: callgrind slows a program 50 times down.
const LEAD: u64 = 5_000;

/// The longest time without an arrival from the daemon under callgrind.
const PATIENCE: Duration = Duration::from_secs(120);

/// The options of the command.
#[derive(Args)]
pub(crate) struct Options {
    /// Release build of tidegate
    #[arg(long, default_value = "target/release/tidegate")]
    tidegate: PathBuf,
    /// Directory for the measurements
    #[arg(long, default_value = "target/bench-peers")]
    directory: PathBuf,
    /// Parts to count before the whole daemon
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "map,map-many,json,append,peek,acknowledge"
    )]
    parts: Vec<Part>,
    /// Messages of the short run, at most 10000; the long one has five times as many
    #[arg(long, default_value_t = 10_000)]
    messages: u64,
    /// Time that the card of a small computer takes to sync, in milliseconds
    #[arg(long, default_value_t = 20)]
    sync_ms: u32,
    /// Document whose parts "instructions" and "estimate" are replaced
    #[arg(long)]
    document: Option<PathBuf>,
}

/// Counts, prints the tables, and writes them to the document.
///
/// # Errors
///
/// valgrind or mosquitto is missing, or a program fails.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for part in &options.parts {
        let count = part_instructions(*part, options)?;
        document::progress(&format!("{}: {}", part.title(), figures::text(count.round())));
        rows.push(vec![part.title().to_owned(), figures::text(count.round())]);
    }
    let daemon = daemon_instructions(options)?;
    let title = "the whole daemon from the broker to the cloud, in user mode";
    rows.push(vec![title.to_owned(), figures::text(daemon.round())]);
    let head = ["part", "instructions for a message"].map(str::to_owned);
    let document = options.document.as_deref();
    document::publish(document, "instructions", &document::table(&head, &rows))?;
    let share = kernel_share(options)?;
    let text = estimate::text(daemon, share, options.sync_ms);
    document::publish(document, "estimate", &text)
}

fn part_instructions(part: Part, options: &Options) -> anyhow::Result<f64> {
    let directory = fresh_directory(&options.directory, "part")?;
    difference(options.messages, |count| {
        let out = directory.join("callgrind");
        let mut command = callgrind(&out);
        command.arg(std::env::current_exe()?).arg("part").arg(part.argument());
        command.arg(count.to_string()).arg("--directory").arg(&directory);
        let status = Program::start(&mut command, &directory.join("log"))?.wait()?;
        ensure!(status.success(), "callgrind failed; see {}", directory.join("log").display());
        total(&out)
    })
}

fn daemon_instructions(options: &Options) -> anyhow::Result<f64> {
    difference(options.messages, |count| {
        let directory = fresh_directory(&options.directory, "daemon")?;
        let out = directory.join("callgrind");
        let (broker, sink) = (Broker::start(&directory, 1_000)?, Sink::start()?);
        let tools =
            Tools { tidegate: options.tidegate.clone(), installed: options.directory.clone() };
        let site = Site {
            directory: directory.clone(),
            broker: broker.port,
            sink: sink.port(),
            retry_max: DEFAULT_RETRY,
        };
        let daemon = Peer::Tidegate.command(&tools, &site)?;
        let mut command = callgrind(&out);
        command.arg(daemon.get_program()).args(daemon.get_args());
        let mut program = Program::start(&mut command, &directory.join("log"))?;
        let publish = |first, count| {
            let load = Load { first, count, rate: None, lead: LEAD, time: PATIENCE * 10 };
            Generator::start(broker.port, load, sink.progress())?.finish()
        };
        for _ in 0..60 {
            publish(WARM_UP, 1)?;
            thread::sleep(Duration::from_secs(2));
            if sink.missing(WARM_UP..WARM_UP + 1) == 0 {
                break;
            }
        }
        publish(0, count)?;
        sink.wait_for(count, PATIENCE);
        program.stop();
        ensure!(sink.unique() == count, "{} of {count} messages arrived", sink.unique());
        total(&out)
    })
}

/// Returns the share of the kernel in the daemon's processor time under load.
fn kernel_share(options: &Options) -> anyhow::Result<f64> {
    let directory = fresh_directory(&options.directory, "tidegate")?;
    let tools = Tools { tidegate: options.tidegate.clone(), installed: options.directory.clone() };
    let seconds = Duration::from_secs(6);
    let extent = Extent { time: seconds, calm: seconds, messages: 0 };
    let figures = measure::peer(Measure::Load, Peer::Tidegate, &tools, &directory, extent)?;
    let share = figures.iter().find(|(row, _)| *row == Row::KernelShare);
    Ok(share.context("the load has no share of the kernel")?.1 / 100.0)
}

/// Returns the growth of the instructions from a short to a long run, for one message.
fn difference(
    messages: u64,
    instructions: impl Fn(u64) -> anyhow::Result<u64>,
) -> anyhow::Result<f64> {
    let (short, long) = (messages, 5 * messages);
    let more = float(instructions(long)?) - float(instructions(short)?);
    Ok(more / float(long - short))
}

/// Returns the beginning of a command under callgrind.
///
/// Linux 6.4 and newer show a program its true auxiliary vector by prctl, with a vDSO that
/// valgrind has unmapped, and the program crashes. strace lets the call fail; the program then
/// reads valgrind's own `/proc/self/auxv`.
fn callgrind(out: &Path) -> Command {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "--seccomp-bpf", "-o", "/dev/null"]);
    command.args(["-e", "trace=prctl", "-e", "inject=prctl:error=EINVAL"]);
    command.args(["valgrind", "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command
}

/// Returns the number of instructions that callgrind counted.
fn total(out: &Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(out).context("callgrind wrote no result")?;
    parse_total(&text).context("the result of callgrind has no total")
}

fn parse_total(text: &str) -> Option<u64> {
    let line = |key| text.lines().find_map(|line: &str| line.strip_prefix(key));
    let total = line("totals: ").or_else(|| line("summary: "))?;
    total.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_total_of_callgrind() {
        let text = "events: Ir\nsummary: 5\nfn=(1)\n1 5\ntotals: 1234\n";
        assert_eq!(parse_total(text), Some(1_234));
    }

    #[test]
    fn start_does_not_count() {
        let instructions = difference(100, |count| Ok(1_000_000 + 70 * count)).unwrap();
        assert!((instructions - 70.0).abs() < 1e-6, "{instructions}");
    }
}
