//! Requests the lines of one chip from the kernel.

use std::collections::BTreeMap;

use gpiocdev::Request;
use gpiocdev::chip::Chip;
use gpiocdev::line::{self, Direction, EdgeDetection, EdgeKind, Offset, Value};
use tokio::io::unix::AsyncFd;

use tidegate_config::{
    AtStart, AtStop, Bias, Drive, Edges, GpioBus, GpioInput, GpioLine, GpioOutput,
};
use tidegate_ingest::gpio::Edge;
use tidegate_model::{Name, io_problem};

/// The name of this program in the kernel's list of line users.
const CONSUMER: &str = "tidegate";

/// The edges that the kernel buffers. A line that flickers at 10 kHz fills the buffer in 100 ms.
const KERNEL_EDGES_MAX: u32 = 1_024;

/// The most edges that are read at once.
const BATCH_MAX: usize = 64;

/// Why lines cannot be requested, or are lost.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinesError {
    /// The chip has no such line.
    #[error("the chip has no {0}")]
    NoLine(GpioLine),
    /// Another program uses the line.
    #[error("{line} ({name}) is in use by \"{consumer}\"")]
    InUse { name: Name, line: GpioLine, consumer: String },
    /// The kernel refused the request.
    #[error("{}", describe(.0))]
    Kernel(#[from] gpiocdev::Error),
    /// The runtime cannot wait for edges.
    #[error("{}", io_problem(.0))]
    Wait(#[from] std::io::Error),
}

/// Describes an error of the GPIO library in words.
fn describe(error: &gpiocdev::Error) -> String {
    let text = error.to_string();
    // The library puts the name of the call before the text of the system.
    let text = text.rsplit("returned: ").next().unwrap_or_default();
    io_problem(&std::io::Error::other(text.trim_end_matches('.').to_owned()))
}

impl LinesError {
    /// Returns how to fix it, for the end of a message.
    pub(super) fn fix(&self) -> &'static str {
        match self {
            Self::NoLine(_) => "; `gpioinfo` lists its lines",
            Self::InUse { .. } => "; end that program, or use another line",
            Self::Kernel(_) | Self::Wait(_) => {
                "; check that it is a GPIO chip (`gpiodetect` lists them), and add the service \
                 user to group gpio"
            }
        }
    }
}

/// The requested inputs.
pub(super) struct Inputs {
    request: AsyncFd<Request>,
    names: BTreeMap<Offset, Name>,
}

/// The requested outputs.
pub(super) struct Outputs {
    request: Request,
    offsets: BTreeMap<Name, Offset>,
    at_stop: BTreeMap<Offset, Option<Value>>,
}

impl Inputs {
    /// Requests the inputs; `None` if there are none.
    pub(super) fn open(settings: &GpioBus) -> Result<Option<Self>, LinesError> {
        if settings.inputs.is_empty() {
            return Ok(None);
        }
        let chip = Chip::from_path(&settings.chip)?;
        let mut builder = Request::builder();
        builder.on_chip(&settings.chip).with_consumer(CONSUMER);
        builder.with_kernel_event_buffer_size(KERNEL_EDGES_MAX);
        let mut names = BTreeMap::new();
        for input in &settings.inputs {
            let offset = find(&chip, &input.name, &input.line)?;
            names.insert(offset, input.name.clone());
            builder.with_line(offset).from_line_config(&input_config(input));
        }
        Ok(Some(Self { request: watch(builder.request()?)?, names }))
    }

    /// Waits for edges and returns one batch. Cancel-safe.
    pub(super) async fn edges(&self) -> Result<Vec<(Name, Edge)>, LinesError> {
        let mut edges = Vec::new();
        let mut ready = self.request.readable().await?;
        while edges.len() < BATCH_MAX {
            if !self.request.get_ref().has_edge_event()? {
                ready.clear_ready();
                break;
            }
            let event = self.request.get_ref().read_edge_event()?;
            let edge = Edge {
                is_rising: event.kind == EdgeKind::Rising,
                timestamp_ns: event.timestamp_ns,
                number: event.line_seqno,
            };
            edges.extend(self.names.get(&event.offset).map(|name| (name.clone(), edge)));
        }
        Ok(edges)
    }

    /// Returns whether each input is active.
    pub(super) fn levels(&self) -> Result<Vec<(Name, bool)>, LinesError> {
        let level = |(offset, name): (&Offset, &Name)| {
            let value = self.request.get_ref().value(*offset)?;
            Ok((name.clone(), value == Value::Active))
        };
        self.names.iter().map(level).collect()
    }
}

impl Outputs {
    /// Requests the outputs and sets their `at_start` levels; `None` if there are none.
    pub(super) fn open(settings: &GpioBus) -> Result<Option<Self>, LinesError> {
        if settings.outputs.is_empty() {
            return Ok(None);
        }
        let chip = Chip::from_path(&settings.chip)?;
        let mut builder = Request::builder();
        builder.on_chip(&settings.chip).with_consumer(CONSUMER);
        let mut offsets = BTreeMap::new();
        for output in &settings.outputs {
            let offset = find(&chip, &output.name, &output.line)?;
            offsets.insert(output.name.clone(), offset);
            // Requested without a direction first, to read the present level.
            let active_low = output.is_active_low;
            builder
                .with_line(offset)
                .from_line_config(&line::Config { active_low, ..Default::default() });
        }
        let request = builder.request()?;
        let mut config = request.config();
        let mut at_stop = BTreeMap::new();
        for output in &settings.outputs {
            let Some(offset) = offsets.get(&output.name).copied() else { continue };
            let before = request.value(offset)?;
            config.with_line(offset).from_line_config(&output_config(output, before));
            at_stop.insert(offset, level_at_stop(output, before));
        }
        request.reconfigure(&config)?;
        Ok(Some(Self { request, offsets, at_stop }))
    }

    /// Sets one output; `None` if there is none of this name.
    pub(super) fn set(&self, output: &Name, is_active: bool) -> Option<Result<(), LinesError>> {
        let offset = self.offsets.get(output)?;
        let value = if is_active { Value::Active } else { Value::Inactive };
        Some(self.request.set_value(*offset, value).map_err(LinesError::from))
    }

    /// Sets all outputs to their `at_stop` levels.
    pub(super) fn close(self) -> Result<(), LinesError> {
        for (offset, value) in &self.at_stop {
            if let Some(value) = value {
                self.request.set_value(*offset, *value)?;
            }
        }
        Ok(())
    }
}

#[expect(
    deprecated,
    reason = "a request keeps its file open, which is the only condition of the unsafe successor"
)]
fn watch(request: Request) -> std::io::Result<AsyncFd<Request>> {
    AsyncFd::new(request)
}

/// Returns the offset of an unused line.
fn find(chip: &Chip, name: &Name, line: &GpioLine) -> Result<Offset, LinesError> {
    let none = || LinesError::NoLine(line.clone());
    let info = match line {
        GpioLine::Offset(offset) if *offset < chip.info()?.num_lines => chip.line_info(*offset)?,
        GpioLine::Offset(_) => return Err(none()),
        GpioLine::Named(label) => chip.find_line_info(label).ok_or_else(none)?,
    };
    if info.used {
        let (name, line) = (name.clone(), line.clone());
        return Err(LinesError::InUse { name, line, consumer: info.consumer });
    }
    Ok(info.offset)
}

fn input_config(input: &GpioInput) -> line::Config {
    line::Config {
        direction: Some(Direction::Input),
        active_low: input.is_active_low,
        bias: match input.bias {
            Bias::AsIs => None,
            Bias::PullUp => Some(line::Bias::PullUp),
            Bias::PullDown => Some(line::Bias::PullDown),
            Bias::Disabled => Some(line::Bias::Disabled),
        },
        edge_detection: match input.edges {
            Edges::Ignored => None,
            Edges::CountedRising => Some(EdgeDetection::RisingEdge),
            Edges::CountedFalling => Some(EdgeDetection::FallingEdge),
            Edges::Reported | Edges::CountedBoth => Some(EdgeDetection::BothEdges),
        },
        debounce_period: Some(input.debounce).filter(|debounce| !debounce.is_zero()),
        ..Default::default()
    }
}

fn output_config(output: &GpioOutput, before: Value) -> line::Config {
    line::Config {
        direction: Some(Direction::Output),
        active_low: output.is_active_low,
        drive: Some(match output.drive {
            Drive::PushPull => line::Drive::PushPull,
            Drive::OpenDrain => line::Drive::OpenDrain,
            Drive::OpenSource => line::Drive::OpenSource,
        }),
        value: Some(match output.at_start {
            AtStart::Off => Value::Inactive,
            AtStart::On => Value::Active,
            AtStart::Keep => before,
        }),
        ..Default::default()
    }
}

/// Returns the level that an output has after a stop; `None` leaves it as it is.
fn level_at_stop(output: &GpioOutput, before: Value) -> Option<Value> {
    match output.at_stop {
        AtStop::Off => Some(Value::Inactive),
        AtStop::On => Some(Value::Active),
        AtStop::Keep => None,
        AtStop::Restore => Some(before),
    }
}
