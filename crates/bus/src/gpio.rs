//! Lines of a GPIO chip, through the kernel's character device: inputs whose levels are reported,
//! inputs whose pulses are counted, and outputs.
//!
//! Each message is a JSON object with the name of the input as its topic. Pulse counts survive
//! restarts: they are committed with each message. While the bus runs no other program can drive
//! its outputs; at a stop they are left as configured.

mod lines;

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{error, info};

use crate::{
    BusContext, BusDriver, BusTask, RECONNECT_DELAY_MAX, RECONNECT_DELAY_MIN, WriteError,
    WriteQueue, WriteRequest,
};
use lines::{Inputs, LinesError, Outputs};
use tidegate_config::{Edges, GpioBus};
use tidegate_ingest::gpio::{Counter, Edge, Level};
use tidegate_model::{Name, Write};
use tidegate_runtime::random;
use tidegate_runtime::wait::sleep_until;
use tidegate_timing::backoff::Backoff;
use tidegate_timing::machine::Machine as _;

/// The subject of problems with the chip.
const CHIP: &str = "chip";

impl BusDriver for GpioBus {
    fn describe(&self) -> String {
        let (chip, inputs, outputs) = (self.chip.display(), &self.inputs, &self.outputs);
        format!("GPIO lines of {chip}, {} inputs, {} outputs", inputs.len(), outputs.len())
    }

    fn task(&self, context: BusContext, writes: WriteQueue) -> BusTask {
        let mut settings = self.clone();
        if context.is_inspection {
            settings.outputs.clear();
        }
        Box::pin(Driver { settings, context, writes }.run())
    }
}

struct Driver {
    settings: GpioBus,
    context: BusContext,
    writes: WriteQueue,
}

/// The states of the inputs.
#[derive(Default)]
struct InputStates {
    levels: BTreeMap<Name, Level>,
    counters: BTreeMap<Name, Counter>,
}

/// The requested lines.
struct Lines {
    inputs: Option<Inputs>,
    outputs: Option<Outputs>,
    pulses: BTreeMap<Name, Pulse>,
}

/// A pulse on an output that has not ended.
struct Pulse {
    end: Instant,
    /// The level after the pulse.
    is_active_after: bool,
}

/// The events of open lines.
enum Event {
    Edges(Vec<(Name, Edge)>),
    Write(WriteRequest),
    /// The time to report each input.
    Tick,
    /// A level is due to be reported, or a pulse has ended.
    Timeout,
    Lost(LinesError),
    Stopped,
}

impl Driver {
    async fn run(mut self) {
        let mut backoff = Backoff::new(RECONNECT_DELAY_MIN, RECONNECT_DELAY_MAX);
        let mut problems = self.context.problems();
        loop {
            let error = match Lines::open(&self.settings) {
                Ok(lines) => {
                    let chip = self.settings.chip.display();
                    info!(bus = %self.context.bus, %chip, "gpio lines open");
                    self.context.report_connected();
                    problems.end(CHIP);
                    backoff.reset();
                    match self.serve(lines).await {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            let problem = format!("{}: {error}{}", self.settings.chip.display(), error.fix());
            self.context.report_disconnected(&problem);
            problems.begin(CHIP, &problem);
            let delay = backoff.next_delay(&mut random::seeded());
            if !self.writes.reject_for(delay, &self.context).await {
                return;
            }
        }
    }

    /// Serves the lines until the bus is stopped (`Ok`) or the lines are lost.
    async fn serve(&mut self, mut lines: Lines) -> Result<(), LinesError> {
        let mut states = self.read_states(&lines)?;
        let mut ticks = tokio::time::interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let timeout =
                [states.next_report(), lines.next_pulse_end()].into_iter().flatten().min();
            let event = tokio::select! {
                biased;
                () = self.context.stopped() => Event::Stopped,
                Some(request) = self.writes.recv() => Event::Write(request),
                () = sleep_until(timeout) => Event::Timeout,
                // Before the edges, because a flickering line always has some.
                _ = ticks.tick() => Event::Tick,
                edges = lines.edges() => edges.map_or_else(Event::Lost, Event::Edges),
            };
            let handled = match event {
                Event::Edges(edges) => {
                    self.handle_edges(&mut states, &edges);
                    Ok(())
                }
                Event::Write(request) => lines.write(request),
                Event::Tick => lines.levels().map(|levels| self.handle_tick(&mut states, &levels)),
                Event::Timeout => lines.end_pulses(),
                Event::Lost(error) => Err(error),
                Event::Stopped => {
                    self.report_counts(&states);
                    self.report_levels(&mut states);
                    self.close(lines);
                    return Ok(());
                }
            };
            self.report_levels(&mut states);
            handled?;
        }
    }

    /// Reads the states of inputs that have just been requested.
    fn read_states(&self, lines: &Lines) -> Result<InputStates, LinesError> {
        let (mut states, now) = (InputStates::default(), Instant::now().into_std());
        let levels: BTreeMap<_, _> = lines.levels()?.into_iter().collect();
        for input in &self.settings.inputs {
            let name = input.name.clone();
            match input.edges {
                Edges::Reported | Edges::Ignored => {
                    let is_active = levels.get(&name).copied().unwrap_or_default();
                    states.levels.insert(name, Level::new(is_active, now));
                }
                Edges::CountedRising | Edges::CountedFalling | Edges::CountedBoth => {
                    let count = self.context.pulses(&name);
                    states.counters.insert(name, Counter::new(count));
                }
            }
        }
        Ok(states)
    }

    fn handle_edges(&self, states: &mut InputStates, edges: &[(Name, Edge)]) {
        let now = Instant::now().into_std();
        for (name, edge) in edges {
            if let Some(level) = states.levels.get_mut(name) {
                level.handle_edge(edge, now);
            }
            if let Some(counter) = states.counters.get_mut(name) {
                counter.handle_edge(edge, now);
                self.context.set_pulses(name, counter.count());
            }
        }
    }

    fn handle_tick(&self, states: &mut InputStates, levels: &[(Name, bool)]) {
        let now = Instant::now().into_std();
        for (name, is_active) in levels {
            if let Some(level) = states.levels.get_mut(name) {
                level.handle_level(*is_active, now);
            }
        }
        self.report_counts(states);
    }

    fn report_counts(&self, states: &InputStates) {
        let now = Instant::now().into_std();
        for (name, counter) in &states.counters {
            self.report(name, &counter.message(now));
        }
    }

    fn report_levels(&self, states: &mut InputStates) {
        let now = Instant::now().into_std();
        for (name, level) in &mut states.levels {
            level.handle_timeout(now);
            while let Some(message) = level.poll_action() {
                self.report(name, &message);
            }
        }
    }

    fn report(&self, name: &Name, message: &Value) {
        self.context.offer(name, message.to_string().into());
    }

    fn close(&self, lines: Lines) {
        if let Some(Err(error)) = lines.outputs.map(Outputs::close) {
            error!(bus = %self.context.bus, %error, "cannot set outputs to their at_stop levels");
        }
    }
}

impl InputStates {
    /// Returns the time of the next report of a level.
    fn next_report(&self) -> Option<Instant> {
        self.levels.values().filter_map(Level::poll_timeout).min().map(Instant::from_std)
    }
}

impl Lines {
    fn open(settings: &GpioBus) -> Result<Self, LinesError> {
        let (inputs, outputs) = (Inputs::open(settings)?, Outputs::open(settings)?);
        Ok(Self { inputs, outputs, pulses: BTreeMap::new() })
    }

    /// Waits for edges. Cancel-safe.
    async fn edges(&self) -> Result<Vec<(Name, Edge)>, LinesError> {
        match &self.inputs {
            Some(inputs) => inputs.edges().await,
            None => std::future::pending().await,
        }
    }

    fn levels(&self) -> Result<Vec<(Name, bool)>, LinesError> {
        self.inputs.as_ref().map_or_else(|| Ok(Vec::new()), Inputs::levels)
    }

    fn next_pulse_end(&self) -> Option<Instant> {
        self.pulses.values().map(|pulse| pulse.end).min()
    }

    /// Does one write and sends its outcome. Fails only if the lines are lost.
    fn write(&mut self, request: WriteRequest) -> Result<(), LinesError> {
        let Write::Gpio(write) = &request.write else {
            request.finish(Err(WriteError::WrongKind));
            return Ok(());
        };
        if request.is_given_up() {
            return Ok(());
        }
        let set = self.outputs.as_ref().and_then(|lines| lines.set(&write.output, write.is_active));
        match set {
            Some(Ok(())) => {}
            Some(Err(error)) => {
                request.finish(Err(WriteError::Broken(error.to_string())));
                return Err(error);
            }
            None => {
                let error = WriteError::Unknown(write.output.clone());
                request.finish(Err(error));
                return Ok(());
            }
        }
        // The new write replaces a pulse that has not ended.
        self.pulses.remove(&write.output);
        if let Some(length) = write.pulse {
            let pulse = Pulse { end: Instant::now() + length, is_active_after: !write.is_active };
            self.pulses.insert(write.output.clone(), pulse);
        }
        request.finish(Ok(String::new()));
        Ok(())
    }

    /// Ends the pulses that are due.
    fn end_pulses(&mut self) -> Result<(), LinesError> {
        let now = Instant::now();
        let Some(outputs) = &self.outputs else { return Ok(()) };
        for (name, pulse) in self.pulses.iter().filter(|(_, pulse)| pulse.end <= now) {
            outputs.set(name, pulse.is_active_after).transpose()?;
        }
        self.pulses.retain(|_, pulse| pulse.end > now);
        Ok(())
    }
}
