//! The parts of the work without a broker and a cloud, for the count of their instructions.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use crate::generator::DEVICES;
use crate::plant::Plant;
use crate::queue::Queue;

/// The states that wait before a part reads or removes some.
const BACKLOG: u64 = 50_000;

/// A part of the work.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Decode a message and map it, with one sensor of 50 devices.
    Map,
    /// The same with 10,000 sensors.
    MapMany,
    /// Write a state as JSON.
    Json,
    /// Append states to the outbox, in commits of 100.
    Append,
    /// Read waiting states of the outbox.
    Peek,
    /// Remove confirmed states from the outbox.
    Acknowledge,
}

impl Part {
    /// Returns the name on the command line.
    pub(crate) fn argument(self) -> &'static str {
        match self {
            Self::Map => "map",
            Self::MapMany => "map-many",
            Self::Json => "json",
            Self::Append => "append",
            Self::Peek => "peek",
            Self::Acknowledge => "acknowledge",
        }
    }

    /// Returns the first cell of its row.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Map => "decode a message and map its six values (a sensor, 50 devices)",
            Self::MapMany => "the same with 10,000 sensors",
            Self::Json => "write the state as JSON",
            Self::Append => "outbox: append, in commits of 100 states",
            Self::Peek => "outbox: read, 500 states at a time",
            Self::Acknowledge => "outbox: remove, 500 states at a time",
        }
    }
}

/// The options of the command that runs a part, under callgrind.
#[derive(Args)]
pub(crate) struct Options {
    /// Part to run
    #[arg(value_enum)]
    part: Part,
    /// Messages or states
    count: u64,
    /// Directory for an outbox
    #[arg(long, default_value = ".")]
    directory: PathBuf,
}

/// Runs a part.
///
/// # Errors
///
/// The directory cannot be written.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let (count, directory) = (options.count, options.directory.as_path());
    match options.part {
        Part::Map => {
            black_box(Plant::with_devices(DEVICES)?.run(count));
        }
        Part::MapMany => {
            black_box(Plant::with_sensors(10_000)?.run(count));
        }
        Part::Json => {
            let state = Plant::with_devices(DEVICES)?.run(1);
            for _ in 0..count {
                black_box(serde_json::to_vec(black_box(&state))?);
            }
        }
        Part::Append => Queue::create(directory, DEVICES)?.append(count)?,
        Part::Peek => filled(directory)?.peek(count)?,
        Part::Acknowledge => {
            anyhow::ensure!(count <= BACKLOG, "at most {BACKLOG} states wait");
            filled(directory)?.acknowledge(count)?;
        }
    }
    Ok(())
}

fn filled(directory: &Path) -> anyhow::Result<Queue> {
    let mut queue = Queue::create(directory, DEVICES)?;
    queue.append(BACKLOG)?;
    Ok(queue)
}
