//! Lines of a GPIO chip, through the kernel's character device: levels that are told, pulses that are counted, outputs that
//! are driven.
//!
//! Each message is a JSON object with the input's name as topic. Counts go on where they were before a restart: they are on
//! the disk with each message. An output is driven by nobody else while the bus runs, and left as configured when it stops.

mod lines;

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::{error, info};

use super::{Feed, RECONNECT_WAIT, WriteError, WriteRequest, sleep_until};
use lines::{Inputs, LinesError, Outputs};
use tidegate_config::{Edges, GpioBus};
use tidegate_ingest::gpio::{Counter, Edge, Level};
use tidegate_model::{Name, Write};
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;
use tidegate_timing::machine::Machine as _;

/// The task that owns the lines.
pub struct GpioTask {
    /// Which lines.
    pub settings: GpioBus,
    /// To the collector.
    pub feed: Feed,
    /// From the actuators.
    pub writes: mpsc::Receiver<WriteRequest>,
}

/// What is known of the inputs.
#[derive(Default)]
struct Watch {
    levels: BTreeMap<Name, Level>,
    counters: BTreeMap<Name, Counter>,
}

/// Lines that are there.
struct Lines {
    inputs: Option<Inputs>,
    outputs: Option<Outputs>,
    /// When a pulse ends, and what the output is then.
    pulses: BTreeMap<Name, (Instant, bool)>,
}

/// What the task waits for.
enum News {
    Edges(Vec<(Name, Edge)>),
    Write(WriteRequest),
    /// Each input is to be told.
    Tick,
    /// A level is to be told, or a pulse is over.
    Due,
    Lost(LinesError),
    Stop,
}

impl GpioTask {
    /// Runs until it is stopped. An absent chip is no fault: it is waited for.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(RECONNECT_WAIT.0, RECONNECT_WAIT.1);
        let mut troubles = self.feed.troubles();
        loop {
            let trouble = match Lines::open(&self.settings) {
                Ok(lines) => {
                    let chip = self.settings.chip.display();
                    info!(bus = %self.feed.bus(), %chip, "gpio lines open");
                    self.feed.connected();
                    troubles.end("chip");
                    backoff.reset();
                    match self.serve(lines).await {
                        None => return,
                        Some(trouble) => trouble,
                    }
                }
                Err(trouble) => trouble,
            };
            let chip = self.settings.chip.display();
            let trouble = format!("{chip}: {trouble}{}", trouble.cure());
            self.feed.lost(&trouble);
            troubles.begin("chip", &trouble);
            let delay = backoff.next_delay(&mut random::seeded());
            if !self.pause(Instant::now() + delay).await {
                return;
            }
        }
    }

    /// Serves the lines until they are gone; `None` at the stop.
    async fn serve(&mut self, mut lines: Lines) -> Option<LinesError> {
        let mut watch = match self.watch(&lines) {
            Ok(watch) => watch,
            Err(trouble) => return Some(trouble),
        };
        let mut ticks = tokio::time::interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = [watch.due(), lines.due()].into_iter().flatten().min();
            let news = tokio::select! {
                biased;
                () = self.feed.stopped() => News::Stop,
                Some(request) = self.writes.recv() => News::Write(request),
                () = sleep_until(due) => News::Due,
                // Before the edges: a line that flutters has always some.
                _ = ticks.tick() => News::Tick,
                edges = lines.edges() => edges.map_or_else(News::Lost, News::Edges),
            };
            let done = match news {
                News::Edges(edges) => {
                    self.hear(&mut watch, &edges);
                    Ok(())
                }
                News::Write(request) => lines.write(request),
                News::Tick => lines.levels().map(|levels| self.look(&mut watch, &levels)),
                News::Due => lines.end_pulses(),
                News::Lost(trouble) => Err(trouble),
                News::Stop => {
                    self.tell_counts(&watch);
                    self.tell_levels(&mut watch);
                    self.close(lines);
                    return None;
                }
            };
            self.tell_levels(&mut watch);
            if let Err(trouble) = done {
                return Some(trouble);
            }
        }
    }

    /// What is known of inputs that have just been requested.
    fn watch(&self, lines: &Lines) -> Result<Watch, LinesError> {
        let (mut watch, now) = (Watch::default(), Instant::now().into_std());
        let levels: BTreeMap<_, _> = lines.levels()?.into_iter().collect();
        for input in &self.settings.inputs {
            let name = input.name.clone();
            match input.edges {
                Edges::Reported | Edges::Ignored => {
                    let is_active = levels.get(&name).copied().unwrap_or_default();
                    watch.levels.insert(name, Level::new(is_active, now));
                }
                Edges::CountedRising | Edges::CountedFalling | Edges::CountedBoth => {
                    let count = self.feed.pulses(&name);
                    watch.counters.insert(name, Counter::new(count));
                }
            }
        }
        Ok(watch)
    }

    fn hear(&self, watch: &mut Watch, edges: &[(Name, Edge)]) {
        let now = Instant::now().into_std();
        for (name, edge) in edges {
            if let Some(level) = watch.levels.get_mut(name) {
                level.handle_edge(edge, now);
            }
            if let Some(counter) = watch.counters.get_mut(name) {
                counter.handle_edge(edge, now);
                self.feed.count_pulses(name, counter.count());
            }
        }
    }

    fn look(&self, watch: &mut Watch, levels: &[(Name, bool)]) {
        let now = Instant::now().into_std();
        for (name, is_active) in levels {
            if let Some(level) = watch.levels.get_mut(name) {
                level.handle_level(*is_active, now);
            }
        }
        self.tell_counts(watch);
    }

    fn tell_counts(&self, watch: &Watch) {
        let now = Instant::now().into_std();
        for (name, counter) in &watch.counters {
            self.tell(name, &counter.message(now));
        }
    }

    fn tell_levels(&self, watch: &mut Watch) {
        let now = Instant::now().into_std();
        for (name, level) in &mut watch.levels {
            level.handle_timeout(now);
            while let Some(message) = level.poll_action() {
                self.tell(name, &message);
            }
        }
    }

    fn tell(&self, name: &Name, message: &Value) {
        self.feed.offer(name, message.to_string().into());
    }

    fn close(&self, lines: Lines) {
        if let Some(Err(error)) = lines.outputs.map(Outputs::close) {
            error!(bus = %self.feed.bus(), %error, "outputs could not be left as configured");
        }
    }

    /// Waits without lines, so that all writes fail; `false` when the daemon stops.
    async fn pause(&mut self, until: Instant) -> bool {
        loop {
            tokio::select! {
                () = self.feed.stopped() => return false,
                () = tokio::time::sleep_until(until) => return true,
                Some(request) = self.writes.recv() => request.finish(Err(WriteError::NotConnected)),
            }
        }
    }
}

impl Watch {
    /// When the next level is to be told.
    fn due(&self) -> Option<Instant> {
        self.levels.values().filter_map(Level::poll_timeout).min().map(Instant::from_std)
    }
}

impl Lines {
    fn open(settings: &GpioBus) -> Result<Self, LinesError> {
        let (inputs, outputs) = (Inputs::open(settings)?, Outputs::open(settings)?);
        Ok(Self { inputs, outputs, pulses: BTreeMap::new() })
    }

    async fn edges(&self) -> Result<Vec<(Name, Edge)>, LinesError> {
        match &self.inputs {
            Some(inputs) => inputs.edges().await,
            None => std::future::pending().await,
        }
    }

    fn levels(&self) -> Result<Vec<(Name, bool)>, LinesError> {
        self.inputs.as_ref().map_or_else(|| Ok(Vec::new()), Inputs::levels)
    }

    /// When the next pulse ends.
    fn due(&self) -> Option<Instant> {
        self.pulses.values().map(|(until, _)| *until).min()
    }

    /// Does one write, and tells the outcome. `Err` when the lines are gone.
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
        // Whatever pulse was under way, this is newer.
        self.pulses.remove(&write.output);
        if let Some(length) = write.pulse {
            let end = (Instant::now() + length, !write.is_active);
            self.pulses.insert(write.output.clone(), end);
        }
        request.finish(Ok(String::new()));
        Ok(())
    }

    /// Ends the pulses whose time is over.
    fn end_pulses(&mut self) -> Result<(), LinesError> {
        let now = Instant::now();
        let Some(outputs) = &self.outputs else { return Ok(()) };
        let over = self.pulses.iter().filter(|(_, (until, _))| *until <= now);
        for (name, (_, is_active)) in over {
            outputs.set(name, *is_active).transpose()?;
        }
        self.pulses.retain(|_, (until, _)| *until > now);
        Ok(())
    }
}
