//! Lines of a GPIO chip: the tables `[bus.gpio.…]`.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::settings::{Exclusive, Settings, Table, Topics};
use super::values::INTERVAL_RANGE;
use crate::check::{Check, choice, span};
use crate::field::{Field, Scalar};
use crate::key::join;
use crate::table::{Flag, Span, Text, Word, table};
use tidegate_model::Name;

/// The chip of the header pins on all Pis; on a Pi 5 since kernel 6.6.
const CHIP: &str = "/dev/gpiochip0";

/// The range of line numbers, far above those of any chip.
const OFFSET_RANGE: RangeInclusive<i64> = 0..=1_023;

/// The range of the debounce time. No contact bounces for a second.
const DEBOUNCE_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(1);

/// The default debounce time, which is enough for most contacts.
const DEBOUNCE_DEFAULT: Duration = Duration::from_millis(5);

/// The maximum number of lines in one request (`GPIO_V2_LINES_MAX`, include/uapi/linux/gpio.h).
const LINES_MAX: usize = 64;

table!(Raw {
    chip: Text,
    interval: Span,
    input: BTreeMap<String, RawInput>,
    output: BTreeMap<String, RawOutput>,
});

table!(RawInput {
    line: Option<Word>,
    active_low: Flag,
    bias: Text,
    edges: Text,
    debounce: Span,
});

table!(RawOutput {
    line: Option<Word>,
    active_low: Flag,
    drive: Text,
    at_start: Text,
    at_stop: Text,
});

/// Lines of one chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioBus {
    /// The character device.
    pub chip: PathBuf,
    /// How often each input is reported, in addition to its edges.
    pub interval: Duration,
    /// The lines to read.
    pub inputs: Vec<GpioInput>,
    /// The lines to drive.
    pub outputs: Vec<GpioOutput>,
}

/// Which line of a chip.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum GpioLine {
    /// By its number on the chip, from 0.
    Offset(u32),
    /// By the name that the board gives it.
    Named(String),
}

impl fmt::Display for GpioLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(formatter, "line {offset}"),
            Self::Named(name) => write!(formatter, "line \"{name}\""),
        }
    }
}

/// An input line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioInput {
    /// The name, which is the topic of its messages.
    pub name: Name,
    /// The line of the chip.
    pub line: GpioLine,
    /// Whether 0 volts is active.
    pub is_active_low: bool,
    /// The resistor in the chip.
    pub bias: Bias,
    /// The kernel ignores levels shorter than this; zero for no filter.
    pub debounce: Duration,
    /// How its edges are used.
    pub edges: Edges,
}

/// The resistor in a chip at an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// Unchanged.
    AsIs,
    /// To the supply.
    PullUp,
    /// To ground.
    PullDown,
    /// None.
    Disabled,
}

/// How the edges of an input are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edges {
    /// Each edge is reported.
    Reported,
    /// Edges are ignored, as on chips without interrupts.
    Ignored,
    /// Edges to active are counted.
    CountedRising,
    /// Edges to inactive are counted.
    CountedFalling,
    /// All edges are counted.
    CountedBoth,
}

/// An output line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioOutput {
    /// Its name.
    pub name: Name,
    /// The line of the chip.
    pub line: GpioLine,
    /// Whether active is 0 volts.
    pub is_active_low: bool,
    /// How it is driven.
    pub drive: Drive,
    /// The level when the bus starts.
    pub at_start: AtStart,
    /// The level when the bus stops.
    pub at_stop: AtStop,
}

/// How an output is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// To supply and ground.
    PushPull,
    /// To ground only.
    OpenDrain,
    /// To the supply only.
    OpenSource,
}

/// The level of an output when its bus starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// Inactive.
    Off,
    /// Active.
    On,
    /// Unchanged.
    Keep,
}

/// The level of an output when its bus stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStop {
    /// Inactive.
    Off,
    /// Active.
    On,
    /// Unchanged.
    Keep,
    /// The level before the bus started.
    Restore,
}

impl Settings for GpioBus {
    type Raw = Raw;

    const TOPICS: Topics = Topics::Optional;

    fn resolve(table: &Table<'_>, raw: Raw, check: &mut Check<'_>) -> Self {
        let key = table.key;
        let chip = check.or_default(&format!("{key}.chip"), raw.chip, CHIP.to_owned());
        if raw.input.is_empty() && raw.output.is_empty() {
            let fix = format!("add one: [{key}.input.door] with line = 17");
            check.problems.add(key, "there is no line", fix);
        }
        for (word, count) in [("input", raw.input.len()), ("output", raw.output.len())] {
            if count > LINES_MAX {
                let fix = format!("give at most {LINES_MAX}");
                check.problems.add(format!("{key}.{word}"), format!("there are {count}"), fix);
            }
        }
        let mut taken = BTreeMap::new();
        let inputs = raw.input.into_iter();
        let inputs: Vec<_> = inputs
            .filter_map(|(name, raw)| {
                input(&join(&format!("{key}.input"), &name), &name, raw, &mut taken, check)
            })
            .collect();
        let outputs = raw.output.into_iter();
        let outputs: Vec<_> = outputs
            .filter_map(|(name, raw)| {
                output(&join(&format!("{key}.output"), &name), &name, raw, &mut taken, check)
            })
            .collect();
        let interval = Duration::from_secs(60);
        GpioBus {
            chip: check.path(&chip),
            interval: span(
                &format!("{key}.interval"),
                raw.interval,
                interval,
                &INTERVAL_RANGE,
                check,
            ),
            inputs,
            outputs,
        }
    }

    fn exclusive(&self) -> Vec<Exclusive> {
        let inputs = self.inputs.iter().map(|input| ("input", &input.line));
        let outputs = self.outputs.iter().map(|output| ("output", &output.line));
        let lines = inputs.chain(outputs).map(|(option, line)| Exclusive {
            option,
            resource: format!("{line} of {}", self.chip.display()),
            fix: "give each its own line",
        });
        lines.collect()
    }
}

/// The owner of each line, by key.
type Taken = BTreeMap<GpioLine, String>;

fn input(
    key: &str,
    name: &str,
    raw: RawInput,
    taken: &mut Taken,
    check: &mut Check<'_>,
) -> Option<GpioInput> {
    let name: Option<Name> = check.parsed(key, name);
    let line = line(key, raw.line, taken, check);
    let biases = [
        ("as-is", Bias::AsIs),
        ("pull-up", Bias::PullUp),
        ("pull-down", Bias::PullDown),
        ("disabled", Bias::Disabled),
    ];
    let bias = choice(&format!("{key}.bias"), raw.bias, check, &biases);
    let words = [
        ("report", Edges::Reported),
        ("ignore", Edges::Ignored),
        ("count-rising", Edges::CountedRising),
        ("count-falling", Edges::CountedFalling),
        ("count-both", Edges::CountedBoth),
    ];
    let edges = choice(&format!("{key}.edges"), raw.edges, check, &words);
    let debounce_key = format!("{key}.debounce");
    if edges == Some(Edges::Ignored) && raw.debounce.is_some() {
        check.problems.add(&debounce_key, "is for edges, which are ignored", "remove it");
    }
    let default = if edges == Some(Edges::Ignored) { Duration::ZERO } else { DEBOUNCE_DEFAULT };
    Some(GpioInput {
        debounce: span(&debounce_key, raw.debounce, default, &DEBOUNCE_RANGE, check),
        is_active_low: check.or_default(&format!("{key}.active_low"), raw.active_low, false),
        name: name?,
        line: line?,
        bias: bias?,
        edges: edges?,
    })
}

fn output(
    key: &str,
    name: &str,
    raw: RawOutput,
    taken: &mut Taken,
    check: &mut Check<'_>,
) -> Option<GpioOutput> {
    let name: Option<Name> = check.parsed(key, name);
    let line = line(key, raw.line, taken, check);
    let drives = [
        ("push-pull", Drive::PushPull),
        ("open-drain", Drive::OpenDrain),
        ("open-source", Drive::OpenSource),
    ];
    let drive = choice(&format!("{key}.drive"), raw.drive, check, &drives);
    let starts = [("off", AtStart::Off), ("on", AtStart::On), ("keep", AtStart::Keep)];
    let at_start = choice(&format!("{key}.at_start"), raw.at_start, check, &starts);
    let stops = [
        ("off", AtStop::Off),
        ("on", AtStop::On),
        ("keep", AtStop::Keep),
        ("restore", AtStop::Restore),
    ];
    let at_stop = choice(&format!("{key}.at_stop"), raw.at_stop, check, &stops);
    Some(GpioOutput {
        is_active_low: check.or_default(&format!("{key}.active_low"), raw.active_low, false),
        name: name?,
        line: line?,
        drive: drive?,
        at_start: at_start?,
        at_stop: at_stop?,
    })
}

fn line(
    key: &str,
    field: Option<Field<Scalar>>,
    taken: &mut Taken,
    check: &mut Check<'_>,
) -> Option<GpioLine> {
    let line_key = format!("{key}.line");
    let fix = "give its number on the chip, or its name: line = 17";
    let line = match check.required(&line_key, field, fix)? {
        Scalar::Integer(offset) => {
            let offset = check.within(&line_key, offset, &OFFSET_RANGE, i64::to_string);
            GpioLine::Offset(u32::try_from(offset).ok()?)
        }
        Scalar::Text(name) if !name.is_empty() => GpioLine::Named(name),
        Scalar::Text(_) | Scalar::Float(_) | Scalar::Boolean(_) => {
            check.problems.add(line_key, "is neither a number nor a name", fix);
            return None;
        }
    };
    if let Some(other) = taken.insert(line.clone(), key.to_owned()) {
        check.problems.add(line_key, format!("{other} has the same line"), "give each its own");
    }
    Some(line)
}
