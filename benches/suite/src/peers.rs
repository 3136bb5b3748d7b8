//! The command `peers`: measures all programs and prints one table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::document;
use crate::figures::{self, float, median};
use crate::machine;
use crate::measure::{self, Extent, Figure, Measure};
use crate::peer::{Peer, Tools};
use crate::row::Row;
use crate::world::fresh_directory;

/// The options of the command.
#[derive(Args)]
pub(crate) struct Options {
    /// Release build of tidegate
    #[arg(long, default_value = "target/release/tidegate")]
    tidegate: PathBuf,
    /// Directory that benches/suite/prepare.sh filled; measurements run here, on its disk
    #[arg(long, default_value = "target/bench-peers")]
    installed: PathBuf,
    /// Runs of each measure; the table has their median
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Measures to run
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "load,calm,outage,drain,kill,serial"
    )]
    measures: Vec<Measure>,
    /// Programs to measure
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "tidegate,script,syslog-ng,node-red"
    )]
    peers: Vec<Peer>,
    /// Seconds of a measure of throughput
    #[arg(long, default_value_t = 12)]
    seconds: u64,
    /// Seconds of a calm plant, and of an outage without messages
    #[arg(long, default_value_t = 30)]
    calm_seconds: u64,
    /// Messages of an outage
    #[arg(long, default_value_t = 200_000)]
    messages: u64,
    /// Document whose part "peers" is replaced by the table
    #[arg(long)]
    document: Option<PathBuf>,
}

/// A column of the table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    Peer(Peer),
    Subscriber,
    Appends,
}

impl Column {
    /// Returns the name of the directory with the files and logs of its last measure.
    fn directory(self) -> &'static str {
        match self {
            Self::Peer(Peer::Tidegate) => "tidegate",
            Self::Peer(Peer::Script) => "script",
            Self::Peer(Peer::SyslogNg) => "syslog-ng",
            Self::Peer(Peer::NodeRed) => "node-red",
            Self::Subscriber => "subscriber",
            Self::Appends => "appends",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Peer(peer) => peer.name(),
            Self::Subscriber => "limit: bare QoS 1 subscriber",
            Self::Appends => "limit: append + fdatasync",
        }
    }
}

/// The figures of all runs.
type Results = BTreeMap<Column, BTreeMap<Row, Vec<f64>>>;

/// Measures, prints the table, and writes it to the document.
///
/// # Errors
///
/// mosquitto is missing, or a directory cannot be written. A measure that fails leaves its cells
/// empty.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let tools = Tools { tidegate: options.tidegate.clone(), installed: options.installed.clone() };
    let machine = machine::describe(&fresh_directory(&options.installed, "machine")?)?;
    let mut notes = Vec::new();
    let mut columns = Vec::new();
    for peer in &options.peers {
        if peer.is_installed(&tools) {
            columns.push(Column::Peer(*peer));
        } else {
            notes.push(format!("{} is left out: it is not installed.", peer.name()));
        }
    }
    columns.extend([Column::Subscriber, Column::Appends]);
    let results = measure_all(options, &tools, &columns, &mut notes)?;
    let versions = columns.iter().filter_map(|column| match column {
        Column::Peer(peer) => Some(peer.version(&tools)),
        Column::Subscriber | Column::Appends => None,
    });
    let versions = versions.chain([machine::broker_version()]).collect::<Vec<_>>().join("; ");
    let runs = match options.runs {
        1 => "One run each".to_owned(),
        runs => format!("Medians of {runs} runs"),
    };
    let mut text = format!("{machine} {runs}. {versions}.\n\n");
    text += &table(options, &columns, &results);
    for note in notes {
        text.push('\n');
        text.push_str(&note);
        text.push('\n');
    }
    document::publish(options.document.as_deref(), "peers", &text)
}

fn measure_all(
    options: &Options,
    tools: &Tools,
    columns: &[Column],
    notes: &mut Vec<String>,
) -> anyhow::Result<Results> {
    let extent = Extent {
        time: Duration::from_secs(options.seconds),
        calm: Duration::from_secs(options.calm_seconds),
        messages: options.messages,
    };
    let mut results = Results::new();
    for column in columns {
        if let Column::Peer(peer) = column {
            let size = float(peer.size(tools)?) / 1e6;
            results.entry(*column).or_default().insert(Row::Size, vec![size]);
        }
    }
    // The programs take turns, so that a disturbance of the computer does not meet only one.
    for run in 1..=options.runs {
        for measure in &options.measures {
            for column in columns {
                let directory = fresh_directory(&options.installed, column.directory())?;
                match one(*measure, *column, tools, &directory, extent) {
                    Ok(figures) => {
                        show(run, *column, &figures, options);
                        let rows = results.entry(*column).or_default();
                        for (row, figure) in figures {
                            rows.entry(row).or_default().push(figure);
                        }
                    }
                    Err(error) => {
                        let note = format!("{}: a measure failed: {error:#}.", column.title());
                        document::progress(&note);
                        if !notes.contains(&note) {
                            notes.push(note);
                        }
                    }
                }
            }
        }
    }
    Ok(results)
}

fn one(
    measure: Measure,
    column: Column,
    tools: &Tools,
    directory: &Path,
    extent: Extent,
) -> anyhow::Result<Vec<Figure>> {
    match column {
        Column::Peer(peer) => measure::peer(measure, peer, tools, directory, extent),
        Column::Subscriber => measure::subscriber(measure, directory, extent),
        Column::Appends => measure::appends(measure, directory, extent),
    }
}

fn show(run: u32, column: Column, figures: &[Figure], options: &Options) {
    for (row, figure) in figures {
        let title = row.title(options.messages, options.calm_seconds);
        document::progress(&format!(
            "run {run}: {}: {title}: {}",
            column.title(),
            figures::text(*figure)
        ));
    }
}

fn table(options: &Options, columns: &[Column], results: &Results) -> String {
    let mut head = vec!["measure".to_owned()];
    head.extend(columns.iter().map(|column| column.title().to_owned()));
    let mut rows = Vec::new();
    for row in Row::ALL {
        let figure = |column: &Column| {
            let runs = results.get(column)?.get(&row)?;
            median(runs).map(figures::text)
        };
        let cells: Vec<_> = columns.iter().map(figure).collect();
        if cells.iter().any(Option::is_some) {
            let mut line = vec![row.title(options.messages, options.calm_seconds)];
            line.extend(cells.into_iter().map(|cell| cell.unwrap_or_else(|| "–".to_owned())));
            rows.push(line);
        }
    }
    document::table(&head, &rows)
}
