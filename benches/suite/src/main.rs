//! Measures tidegate: against other programs, in instructions, and at many sizes.
//!
//! | command | `make` | what it measures |
//! | --- | --- | --- |
//! | `peers` | `bench-peers` | whole programs from the broker to the cloud |
//! | `instructions` | `bench-instructions` | instructions for a message, and small computers |
//! | `scale` | `bench-scale` | the cost against sensors, devices and the backlog |
//!
//! The results are in docs/performance.md.

mod document;
mod estimate;
mod figures;
mod generator;
mod instructions;
mod limits;
mod machine;
mod measure;
mod mqtt;
mod part;
mod peer;
mod peers;
mod plant;
mod plot;
mod process;
mod queue;
mod row;
mod scale;
mod sequence;
mod sink;
mod world;

use clap::Parser;

/// Measure tidegate
#[derive(Parser)]
enum Command {
    /// Measure tidegate and other programs that do the same work
    Peers(peers::Options),
    /// Count instructions with callgrind, and estimate small computers
    Instructions(instructions::Options),
    /// Measure the cost against sensors, devices and the backlog
    Scale(scale::Options),
    /// Run one part of the work, under callgrind
    #[command(hide = true)]
    Part(part::Options),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Peers(options) => peers::run(&options),
        Command::Instructions(options) => instructions::run(&options),
        Command::Scale(options) => scale::run(&options),
        Command::Part(options) => part::run(&options),
    }
}
