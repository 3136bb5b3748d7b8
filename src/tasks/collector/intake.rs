//! Maps the events of the buses to the states, counts and acknowledgements of the next commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tracing::{debug, error, warn};

use super::boot_clock::{self, BootClock};
use super::counters::{self, Counters};
use super::group::{Group, Notices};
use crate::status::StatusRegistry;
use tidegate_bus::{Ack, BusEvent, CHECKPOINTS, Handles, LossCounters, PULSES, REPORTS, Report};
use tidegate_delivery::reporter::Limits;
use tidegate_ingest::dedup::RedeliveryFilter;
use tidegate_ingest::in_flight_window::InFlightWindow;
use tidegate_ingest::mapping::{Outgoing, Pipeline, PipelineOutput, RejectionDetail};
use tidegate_model::{
    BusMessage, DeclaredDevices, Name, Priority, ReadingTime, Reason, State, fit_value,
};
use tidegate_outbox::{Commit, NewState, Outbox};
use tidegate_timing::log_limit::LogLimit;
use tidegate_timing::machine::Machine as _;
use tidegate_timing::unique_timestamps::UniqueTimestamps;

/// Maps events to the next commit. Does not use the disk.
pub(super) struct Intake {
    /// The pipeline of each bus.
    pub(super) pipelines: BTreeMap<Name, Pipeline>,
    /// The boots in which the time of day was unknown.
    pub(super) boot_clock: BootClock,
    sessions: BTreeMap<Name, Session>,
    timestamps: UniqueTimestamps,
    counters: Counters,
    rejection_log: LogLimit<(Name, Reason)>,
    group: Group,
    /// The attributes against which values are checked.
    declared: Arc<DeclaredDevices>,
    losses: LossCounters,
    limits: watch::Receiver<Limits>,
    handles: watch::Receiver<Handles>,
    status: StatusRegistry,
}

/// The messages of a bus that waits for acknowledgements.
#[derive(Default)]
struct Session {
    redeliveries: RedeliveryFilter,
    window: InFlightWindow,
}

/// What the intake needs besides the outbox.
pub(super) struct IntakeContext {
    pub(super) pipelines: BTreeMap<Name, Pipeline>,
    pub(super) boot_clock: BootClock,
    pub(super) losses: LossCounters,
    pub(super) limits: watch::Receiver<Limits>,
    pub(super) handles: watch::Receiver<Handles>,
    pub(super) declared: Arc<DeclaredDevices>,
    pub(super) status: StatusRegistry,
}

impl Intake {
    /// Creates an intake that continues with the content of the outbox.
    pub(super) fn new(context: IntakeContext, outbox: &Outbox, now: Instant) -> Self {
        let IntakeContext { mut pipelines, boot_clock, losses, limits, handles, .. } = context;
        let IntakeContext { declared, status, .. } = context;
        let session = |bus: &Name| {
            let redeliveries = RedeliveryFilter::new(outbox.fingerprints(bus));
            (bus.clone(), Session { redeliveries, window: InFlightWindow::default() })
        };
        let sessions = pipelines.keys().map(session).collect();
        let timestamps = boot_clock.timestamps(outbox);
        for pipeline in pipelines.values_mut() {
            pipeline.handle_declared(Arc::clone(&declared));
        }
        let counters = Counters::restore(outbox, &mut pipelines, now);
        Self {
            pipelines,
            boot_clock,
            sessions,
            timestamps,
            counters,
            rejection_log: LogLimit::default(),
            group: Group::default(),
            declared,
            losses,
            limits,
            handles,
            status,
        }
    }

    /// Returns the next commit as it is now.
    pub(super) fn group(&self) -> &Group {
        &self.group
    }

    /// Returns the next time-out of the pipelines.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.pipelines.values().filter_map(Pipeline::poll_timeout).min()
    }

    /// Returns the instant from which a broker waits for acknowledgements.
    pub(super) fn session_due(&self, is_patient: bool) -> Option<Instant> {
        self.sessions.values().filter_map(|session| session.window.due(is_patient)).min()
    }

    /// Applies an event.
    pub(super) fn apply(&mut self, event: BusEvent, now: Instant) {
        match event {
            BusEvent::Connected { bus, resumed } => {
                let session = self.session(&bus);
                session.redeliveries.handle_connected(resumed);
                session.window.handle_connected();
            }
            BusEvent::Disconnected(bus) => {
                if let Some(pipeline) = self.pipelines.get_mut(&bus) {
                    pipeline.handle_disconnected();
                }
                self.session(&bus).redeliveries.handle_disconnected();
            }
            BusEvent::Stopping(bus) => self.session(&bus).window.handle_stopping(now),
            BusEvent::Acknowledged { bus, packet_id } => {
                self.session(&bus).redeliveries.handle_acknowledged(packet_id);
            }
            BusEvent::Empty(bus, ack) => self.acknowledge_later(bus, ack, now),
            BusEvent::Counted => self.group.start_timer(now),
            BusEvent::Report(report) => self.put_report(report, now),
            BusEvent::Pipeline(bus, pipeline) => {
                self.replace_pipeline(bus, pipeline.map(|boxed| *boxed), now);
            }
            BusEvent::Line(message, (key, checkpoint)) => {
                if let Some(message) = message {
                    self.map(&message, now);
                }
                self.group.checkpoints.insert(key, checkpoint);
                self.group.start_timer(now);
            }
            BusEvent::Message(message, ack) => self.handle_message(message, ack, now),
        }
    }

    fn handle_message(&mut self, message: BusMessage, ack: Option<Ack>, now: Instant) {
        let origin = message.origin;
        let redeliveries = &mut self.session(&message.bus).redeliveries;
        if origin.is_some_and(|origin| redeliveries.handle_message(origin)) {
            self.group.ledger.entry(message.bus.clone()).or_default().duplicates += 1;
        } else {
            self.map(&message, now);
        }
        if let Some(ack) = ack {
            self.acknowledge_later(message.bus, ack, now);
        }
    }

    fn acknowledge_later(&mut self, bus: Name, ack: Ack, now: Instant) {
        self.session(&bus).window.handle_message(now);
        self.group.acknowledge_later(bus, ack, now);
    }

    fn session(&mut self, bus: &Name) -> &mut Session {
        self.sessions.entry(bus.clone()).or_default()
    }

    /// Sends the acknowledgements and receipts of commits whose states are safe.
    pub(super) fn release(&mut self, notices: Notices, now: Instant) {
        let mut acknowledged = BTreeMap::<Name, usize>::new();
        for (bus, ack) in notices.acks {
            ack.send();
            match acknowledged.get_mut(&bus) {
                Some(count) => *count += 1,
                None => drop(acknowledged.insert(bus, 1)),
            }
        }
        for (bus, count) in acknowledged {
            self.session(&bus).window.handle_released(count, now);
        }
        for (number, receipts) in notices.receipts {
            // Without the receipt the dispatcher reports again, with the same time.
            receipts.try_send(number).unwrap_or_default();
        }
    }

    /// Checks later values against these attributes.
    pub(super) fn handle_declared(&mut self, declared: Arc<DeclaredDevices>) {
        for pipeline in self.pipelines.values_mut() {
            pipeline.handle_declared(Arc::clone(&declared));
        }
        self.declared = declared;
    }

    /// Records the time of day at uptime 0, in milliseconds since the Unix epoch.
    pub(super) fn handle_anchor(&mut self, anchor_ms: i64, now: Instant) {
        self.timestamps.anchor(self.boot_clock.boot(), anchor_ms);
        self.group.start_timer(now);
    }

    /// Closes windows, and reports silent sensors.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.put_generated(|pipeline| pipeline.handle_timeout(now), now);
    }

    /// Closes all windows at the end of the daemon.
    pub(super) fn handle_stop(&mut self, now: Instant) {
        self.put_generated(Pipeline::handle_stop, now);
        self.group.start_timer(now);
    }

    /// Connected brokers have received all acknowledgements, and redeliver none of the messages.
    pub(super) fn handle_acknowledged_all(&mut self, now: Instant) {
        self.sessions.values_mut().for_each(|session| session.redeliveries.handle_stop());
        self.group.start_timer(now);
    }

    /// Takes the next commit. The flag says whether it must be synced.
    pub(super) fn take_commit(&mut self) -> (Commit, Notices, bool) {
        let mut ledger = self.group.take_ledger();
        for (bus, account) in self.losses.take() {
            ledger.entry(bus).or_default().add(&account);
        }
        let sessions = self.sessions.iter_mut();
        let fingerprints = sessions
            .map(|(bus, session)| (bus.clone(), session.redeliveries.take_change()))
            .filter(|(_, change)| !change.is_empty())
            .collect();
        let (states, notices) = self.group.take_states();
        let pulses = (PULSES, self.losses.pulses().take_changes());
        let checkpoints = std::mem::take(&mut self.group.checkpoints).into_iter().collect();
        let anchors = self.boot_clock.take_changes();
        let has_anchors = !anchors.is_empty();
        for (bus, pipeline) in &mut self.pipelines {
            self.counters.collect(bus, pipeline);
        }
        let counters = (counters::TABLE, self.counters.take_changes());
        let rows = [(boot_clock::TABLE, anchors), pulses, (CHECKPOINTS, checkpoints), counters];
        let rows = rows.into();
        (Commit { states, ledger, fingerprints, rows }, notices, has_anchors)
    }

    /// Queues the open windows of the old pipeline, as at a stop, and installs the new one, which
    /// continues the counters.
    fn replace_pipeline(&mut self, bus: Name, pipeline: Option<Pipeline>, now: Instant) {
        let mut counters = Vec::new();
        if let Some(mut old) = self.pipelines.remove(&bus) {
            old.handle_stop();
            while let Some(output) = old.poll_action() {
                self.put_all(&bus, output, now);
            }
            self.counters.collect(&bus, &mut old);
            counters = old.counters();
            self.group.start_timer(now);
        }
        self.status.reset_sensors(&bus);
        self.pipelines.extend(pipeline.map(|mut pipeline| {
            pipeline.handle_declared(Arc::clone(&self.declared));
            for counter in &counters {
                pipeline.restore_counter(counter, now);
            }
            (bus, pipeline)
        }));
    }

    fn map(&mut self, message: &BusMessage, now: Instant) {
        let Some(pipeline) = self.pipelines.get_mut(&message.bus) else { return };
        pipeline.handle_message(message, now);
        let Some(mut output) = pipeline.poll_action() else { return };
        if let (Some(request), Some(bus)) =
            (output.request.take(), self.handles.borrow().get(&message.bus))
        {
            debug!(bus = %message.bus, topic = message.topic, "requesting births from node");
            bus.offer(request);
        }
        self.log_rejections(message, &output, now);
        self.put_all(&message.bus, output, now);
        self.group.start_timer(now);
    }

    /// Updates all pipelines, and queues the states that they generate: at the end of a window,
    /// after silence, or at a stop.
    fn put_generated(&mut self, update: impl Fn(&mut Pipeline), now: Instant) {
        let mut outputs = Vec::new();
        for (bus, pipeline) in &mut self.pipelines {
            update(pipeline);
            while let Some(output) = pipeline.poll_action() {
                outputs.push((bus.clone(), output));
            }
        }
        for (bus, output) in outputs {
            self.put_all(&bus, output, now);
            self.group.start_timer(now);
        }
    }

    fn put_all(&mut self, bus: &Name, output: PipelineOutput, now: Instant) {
        let account = self.group.ledger.entry(bus.clone()).or_default();
        for (reason, readings) in output.rejected {
            account.reject(reason, readings);
        }
        for (reason, readings) in output.filtered {
            account.filter_out(reason, readings);
        }
        let window = self.limits.borrow().merge_window;
        for outgoing in output.states {
            let readings = self.put(bus, outgoing, window);
            self.group.ledger.entry(bus.clone()).or_default().received += readings;
        }
        for mut outgoing in output.generated {
            let misfits = self.remove_misfits(bus, &mut outgoing, now);
            let readings = misfits + self.put(bus, outgoing, window);
            self.group.ledger.entry(bus.clone()).or_default().generated += readings;
        }
    }

    fn put_report(&mut self, Report { device, state, receipt }: Report, now: Instant) {
        if let Ok(bus) = REPORTS.parse() {
            let priority = Priority::default();
            // A report that is repeated after a crash must have the same time: no merge window.
            let mut outgoing = Outgoing { device, sensor: None, priority, state };
            let misfits = self.remove_misfits(&bus, &mut outgoing, now);
            let readings = misfits + self.put(&bus, outgoing, Duration::ZERO);
            self.group.ledger.entry(bus).or_default().received += readings;
        }
        if let Some(receipt) = receipt {
            self.group.confirm_later(receipt);
        }
        self.group.start_timer(now);
    }

    /// Removes the values that Losant would ignore from a state that the gateway made, and counts
    /// them as rejected. Returns their number.
    ///
    /// The pipeline checks the values of messages itself.
    fn remove_misfits(&mut self, bus: &Name, outgoing: &mut Outgoing, now: Instant) -> u64 {
        let Some(declared) = self.declared.get(&outgoing.device) else { return 0 };
        let account = self.group.ledger.entry(bus.clone()).or_default();
        let mut misfits = 0;
        let data = std::mem::take(&mut outgoing.state.data);
        for (attribute, value) in data {
            match fit_value(declared, &attribute, value, None) {
                Ok(value) => drop(outgoing.state.data.insert(attribute, value)),
                Err(misfit) => {
                    misfits += 1;
                    let reason = misfit.reason();
                    *account.rejected.entry(reason).or_default() += 1;
                    if self.rejection_log.admit((bus.clone(), reason), now) {
                        warn!(%bus, device_id = %outgoing.device, %misfit, "value rejected");
                    }
                }
            }
        }
        misfits
    }

    /// Logs rejections: one warning a minute for each bus and reason, and all at debug level.
    fn log_rejections(&mut self, message: &BusMessage, output: &PipelineOutput, now: Instant) {
        let (bus, topic) = (&message.bus, message.topic.as_str());
        for RejectionDetail { reason, text: detail } in &output.details {
            debug!(%bus, topic, %reason, detail, "reading rejected");
        }
        for reason in output.rejected.keys().filter(|reason| !reason.is_skip()) {
            if self.rejection_log.admit((bus.clone(), *reason), now) {
                let mut details = output.details.iter();
                let detail = details.find(|detail| detail.reason == *reason);
                let detail = detail.map(|detail| &*detail.text).unwrap_or_default();
                warn!(%bus, topic, %reason, detail, "reading rejected; see the ledger for more");
            }
        }
    }

    /// Adds a state to the group and counts its readings in the ledger. Returns their number.
    ///
    /// The caller counts the readings as received or generated.
    fn put(&mut self, bus: &Name, outgoing: Outgoing, window: Duration) -> u64 {
        let Outgoing { device, sensor, priority, mut state } = outgoing;
        if state.data.is_empty() {
            return 0;
        }
        let is_own = self.timestamps.place(device, &mut state, window);
        let pipeline = self.pipelines.get_mut(bus);
        if let (true, Some(sensor), Some(pipeline)) = (is_own, sensor, pipeline) {
            pipeline.count_payload(sensor);
        }
        let readings = u16::try_from(state.data.len()).unwrap_or(u16::MAX);
        let account = self.group.ledger.entry(bus.clone()).or_default();
        match encode(&state) {
            Ok(json) => {
                account.outbox_in += u64::from(readings);
                let (bus, moment) = (bus.clone(), state.time);
                self.boot_clock.record(moment);
                self.group.push(NewState { device, bus, moment, priority, readings, json });
            }
            Err(error) => {
                error!(%error, %bus, device_id = %device, "state dropped: cannot write it as JSON");
                *account.dropped.entry(Reason::NotSerialisable).or_default() += u64::from(readings);
            }
        }
        u64::from(readings)
    }
}

/// Writes a state as the outbox stores it: the whole state, or its values without a time of day.
fn encode(state: &State) -> Result<Bytes, serde_json::Error> {
    let json = match state.time {
        ReadingTime::Wall(_) => serde_json::to_vec(state),
        ReadingTime::Boot(_) => serde_json::to_vec(&state.data),
    };
    json.map(Bytes::from)
}
