//! Lines of a GPIO chip after they have been checked.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_model::Name;

/// Lines of one chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioBus {
    /// The character device.
    pub chip: PathBuf,
    /// How often each input is told, whether it changed or not.
    pub interval: Duration,
    /// What is read.
    pub inputs: Vec<GpioInput>,
    /// What is driven.
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

/// A line that is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioInput {
    /// Its name, which is the topic of its messages.
    pub name: Name,
    /// Where it is.
    pub line: GpioLine,
    /// Whether 0 volts is active.
    pub is_active_low: bool,
    /// The resistor in the chip.
    pub bias: Bias,
    /// How long a level must last, for the kernel, to be one; zero for no filter.
    pub debounce: Duration,
    /// What becomes of its edges.
    pub edges: Edges,
}

/// The resistor in a chip at an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// As it was set before.
    AsIs,
    /// To the supply.
    PullUp,
    /// To ground.
    PullDown,
    /// None.
    Disabled,
}

/// What becomes of the edges of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edges {
    /// Each is told.
    Reported,
    /// They are not looked at, as on chips that have no interrupts.
    Ignored,
    /// Those to active are counted.
    CountedRising,
    /// Those to inactive are counted.
    CountedFalling,
    /// All are counted.
    CountedBoth,
}

/// A line that is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpioOutput {
    /// Its name.
    pub name: Name,
    /// Where it is.
    pub line: GpioLine,
    /// Whether active is 0 volts.
    pub is_active_low: bool,
    /// How it is driven.
    pub drive: Drive,
    /// What it is when the bus starts.
    pub at_start: AtStart,
    /// What it is when the bus stops.
    pub at_stop: AtStop,
}

/// How an output is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// To both sides.
    PushPull,
    /// To ground only.
    OpenDrain,
    /// To the supply only.
    OpenSource,
}

/// What an output is when its bus starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStart {
    /// Inactive.
    Off,
    /// Active.
    On,
    /// What it was.
    Keep,
}

/// What an output is when its bus stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtStop {
    /// Inactive.
    Off,
    /// Active.
    On,
    /// What it is then.
    Keep,
    /// What it was before the bus started.
    Restore,
}
