//! Measures tidegate: against other programs, in instructions, and at many sizes.
//!
//! | command | `make` | what it measures |
//! | --- | --- | --- |
//! | `peers` | `bench-peers` | whole programs from the broker to the cloud |
//!
//! The results are in docs/performance.md.

mod document;
mod figures;
mod generator;
mod limits;
mod machine;
mod measure;
mod mqtt;
mod peer;
mod peers;
mod process;
mod row;
mod sequence;
mod sink;
mod world;

use clap::Parser;

/// Measure tidegate
#[derive(Parser)]
enum Command {
    /// Measure tidegate and other programs that do the same work
    Peers(peers::Options),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Peers(options) => peers::run(&options),
    }
}
