//! Maps messages to states and commits them to the outbox in groups.
//!
//! The collector ends after a last commit, once all buses have closed its queue.

mod boot_clock;
mod group;
mod pending_acks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::declarations::{self, Declaration, DeclarationUpdates, Declarations};
use crate::status::StatusRegistry;
pub use boot_clock::{Anchors, BootClock, stored_boots};
use group::Group;
use pending_acks::PendingAcks;
use tidegate_bus::{BusEvent, CHECKPOINTS, Handles, LossCounters, PULSES, REPORTS, Report};
use tidegate_delivery::reporter::Limits;
use tidegate_ingest::dedup::RedeliveryFilter;
use tidegate_ingest::mapping::{Outgoing, Pipeline, PipelineOutput, RejectionDetail};
use tidegate_model::{
    BusMessage, DeclaredDevices, Name, Priority, ReadingTime, Reason, State, fit_value,
};
use tidegate_outbox::{Commit, Error, NewState, Outbox};
use tidegate_runtime::liveness;
use tidegate_runtime::wait::{blocking, sleep_until};
use tidegate_timing::log_limit::LogLimit;
use tidegate_timing::machine::Machine as _;
use tidegate_timing::unique_timestamps::UniqueTimestamps;

/// The wait before a commit that the disk refused is retried.
///
/// Meanwhile the queue of the buses fills; its losses are counted.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// What a collector needs.
pub struct CollectorContext {
    /// The pipeline of each bus.
    pub pipelines: BTreeMap<Name, Pipeline>,
    /// The outbox to which states are appended.
    pub outbox: Arc<Outbox>,
    /// The boots in which the time of day was unknown.
    pub boot_clock: BootClock,
    /// The losses that the buses count.
    pub losses: LossCounters,
    /// The longest time that a reading waits for its commit.
    pub commit_interval: Duration,
    /// The longest time that a commit waits for its sync while the cloud answers.
    ///
    /// `None` syncs each commit.
    pub sync_interval_online: Option<Duration>,
    /// Has the window in which readings of a device are merged.
    pub limits: watch::Receiver<Limits>,
    /// The buses, for requests to Sparkplug B nodes.
    pub handles: watch::Receiver<Handles>,
    /// Counts the commits.
    pub committed: watch::Sender<u64>,
    /// The status to update with each commit.
    pub status: StatusRegistry,
    /// The attributes that devices declare in Losant.
    pub declarations: DeclarationUpdates,
}

/// Maps messages and commits states.
pub struct Collector {
    context: CollectorContext,
    sessions: BTreeMap<Name, RedeliveryFilter>,
    timestamps: UniqueTimestamps,
    rejection_log: LogLimit<(Name, Reason)>,
    group: Group,
    pending_acks: PendingAcks,
    /// The attributes against which values are checked.
    declared: Arc<DeclaredDevices>,
    /// The time of the next check whether pending acknowledgements are safe.
    next_check: Option<Instant>,
}

impl Collector {
    /// Creates a collector that continues with the content of the outbox.
    pub fn new(mut context: CollectorContext) -> Self {
        let outbox = &context.outbox;
        let session = |bus: &Name| (bus.clone(), RedeliveryFilter::new(outbox.fingerprints(bus)));
        let sessions = context.pipelines.keys().map(session).collect();
        let timestamps = context.boot_clock.timestamps(outbox);
        let sync_interval = context.sync_interval_online.unwrap_or_default();
        context.status.set_loss_window(sync_interval.max(context.commit_interval));
        // A change that was read before this start is not marked as seen: it is enforced, and
        // published, by the loop.
        let declared = Arc::new(context.declarations.read.borrow().clone());
        for pipeline in context.pipelines.values_mut() {
            pipeline.handle_declared(Arc::clone(&declared));
        }
        Self {
            context,
            sessions,
            timestamps,
            rejection_log: LogLimit::default(),
            group: Group::default(),
            pending_acks: PendingAcks::default(),
            declared,
            next_check: None,
        }
    }

    /// Runs until the queue ends.
    pub async fn run(mut self, mut events: mpsc::Receiver<BusEvent>) {
        let mut anchor = self.context.boot_clock.anchor();
        anchor.mark_changed();
        loop {
            let due = self.group.since.map(|since| since + self.context.commit_interval);
            let pipelines = self.context.pipelines.values();
            let timeout = pipelines.filter_map(Pipeline::poll_timeout).min();
            let event = tokio::select! {
                event = events.recv() => event,
                () = sleep_until(timeout.map(Instant::from_std)) => {
                    let now = Instant::now().into_std();
                    self.put_generated(|pipeline| pipeline.handle_timeout(now));
                    continue;
                }
                () = sleep_until(due) => {
                    self.commit().await;
                    continue;
                }
                () = sleep_until(self.next_check) => {
                    self.settle().await;
                    continue;
                }
                Ok(()) = self.context.declarations.read.changed() => {
                    self.enforce_declarations().await;
                    // A misfit may be over without a further message.
                    self.update_sensor_status();
                    continue;
                }
                Ok(()) = anchor.changed() => {
                    if let Some(anchor_ms) = *anchor.borrow_and_update() {
                        self.timestamps.anchor(self.context.boot_clock.boot(), anchor_ms);
                        self.group.start_timer();
                    }
                    continue;
                }
            };
            let Some(event) = event else { break };
            self.apply(event);
            if self.group.is_full() {
                self.commit().await;
            }
        }
        self.finish().await;
    }

    async fn finish(mut self) {
        self.put_generated(Pipeline::handle_stop);
        self.context.sync_interval_online = None;
        self.commit().await;
        // Connected brokers receive the acknowledgements now and redeliver none of the messages.
        self.sessions.values_mut().for_each(RedeliveryFilter::handle_stop);
        self.commit().await;
        info!("collector stopped");
    }

    fn apply(&mut self, event: BusEvent) {
        match event {
            BusEvent::Connected { bus, resumed } => {
                self.sessions.entry(bus).or_default().handle_connected(resumed);
            }
            BusEvent::Disconnected(bus) => {
                if let Some(pipeline) = self.context.pipelines.get_mut(&bus) {
                    pipeline.handle_disconnected();
                }
                self.sessions.entry(bus).or_default().handle_disconnected();
            }
            BusEvent::Acknowledged { bus, packet_id } => {
                self.sessions.entry(bus).or_default().handle_acknowledged(packet_id);
            }
            BusEvent::Empty(ack) => self.group.acknowledge_later(ack),
            BusEvent::Counted => self.group.start_timer(),
            BusEvent::Report(report) => self.put_report(report),
            BusEvent::Pipeline(bus, pipeline) => self.replace_pipeline(bus, pipeline),
            BusEvent::Line(message, (key, checkpoint)) => {
                if let Some(message) = message {
                    self.map(&message);
                }
                self.group.checkpoints.insert(key, checkpoint);
                self.group.start_timer();
            }
            BusEvent::Message(message, ack) => {
                let session = self.sessions.entry(message.bus.clone()).or_default();
                if message.origin.is_some_and(|origin| session.handle_message(origin)) {
                    self.group.ledger.entry(message.bus).or_default().duplicates += 1;
                } else {
                    self.map(&message);
                }
                if let Some(ack) = ack {
                    self.group.acknowledge_later(ack);
                }
            }
        }
    }

    /// Checks new values against the attributes that were read from Losant. States that were queued
    /// before are checked when they are sent.
    async fn enforce_declarations(&mut self) {
        self.commit().await;
        let read = self.context.declarations.read.borrow_and_update().clone();
        let last = self.context.outbox.queue_sizes().last;
        let enforced = Arc::clone(&self.context.declarations.enforced.borrow());
        let mut changed = Declarations::new();
        for (device, attributes) in &read {
            if enforced.get(device).is_none_or(|one| one.attributes != *attributes) {
                let unchecked_through = last.get(device).copied().unwrap_or_default();
                let attributes = Arc::clone(attributes);
                changed.insert(*device, Declaration { attributes, unchecked_through });
            }
        }
        let rows = changed.iter().map(|(device, one)| declarations::row(*device, one)).collect();
        let rows = [(declarations::TABLE, rows)].into();
        // A row that a power cut takes is read again, so it needs no sync of its own.
        if let Err(error) = self.append(Arc::new(Commit { rows, ..Commit::default() }), true).await
        {
            debug!(%error, "cannot keep the attributes of devices; reading them at the next start");
        }
        let declared = Arc::new(read);
        for pipeline in self.context.pipelines.values_mut() {
            pipeline.handle_declared(Arc::clone(&declared));
        }
        self.declared = declared;
        let enforced = &self.context.declarations.enforced;
        enforced.send_modify(|enforced| Arc::make_mut(enforced).extend(changed));
    }

    /// Queues the open windows of the old pipeline, as at a stop, and installs the new one.
    fn replace_pipeline(&mut self, bus: Name, pipeline: Option<Pipeline>) {
        if let Some(mut old) = self.context.pipelines.remove(&bus) {
            old.handle_stop();
            while let Some(output) = old.poll_action() {
                self.put_all(&bus, output);
            }
            self.group.start_timer();
        }
        self.context.status.reset_sensors(&bus);
        self.context.pipelines.extend(pipeline.map(|mut pipeline| {
            pipeline.handle_declared(Arc::clone(&self.declared));
            (bus, pipeline)
        }));
    }

    fn map(&mut self, message: &BusMessage) {
        let Some(pipeline) = self.context.pipelines.get_mut(&message.bus) else { return };
        pipeline.handle_message(message, Instant::now().into_std());
        let Some(mut output) = pipeline.poll_action() else { return };
        if let (Some(request), Some(bus)) =
            (output.request.take(), self.context.handles.borrow().get(&message.bus))
        {
            debug!(bus = %message.bus, topic = message.topic, "requesting births from node");
            bus.offer(request);
        }
        self.log_rejections(message, &output);
        self.put_all(&message.bus, output);
        self.group.start_timer();
    }

    /// Updates all pipelines, and queues the states that they generate: at the end of a window,
    /// after silence, or at a stop.
    fn put_generated(&mut self, update: impl Fn(&mut Pipeline)) {
        let mut outputs = Vec::new();
        for (bus, pipeline) in &mut self.context.pipelines {
            update(pipeline);
            while let Some(output) = pipeline.poll_action() {
                outputs.push((bus.clone(), output));
            }
        }
        for (bus, output) in outputs {
            self.put_all(&bus, output);
            self.group.start_timer();
        }
    }

    fn put_all(&mut self, bus: &Name, output: PipelineOutput) {
        let account = self.group.ledger.entry(bus.clone()).or_default();
        for (reason, readings) in output.rejected {
            account.reject(reason, readings);
        }
        for (reason, readings) in output.filtered {
            account.filter_out(reason, readings);
        }
        let window = self.context.limits.borrow().merge_window;
        for outgoing in output.states {
            let readings = self.put(bus, outgoing, window);
            self.group.ledger.entry(bus.clone()).or_default().received += readings;
        }
        for mut outgoing in output.generated {
            let misfits = self.remove_misfits(bus, &mut outgoing);
            let readings = misfits + self.put(bus, outgoing, window);
            self.group.ledger.entry(bus.clone()).or_default().generated += readings;
        }
    }

    fn put_report(&mut self, Report { device, state, receipt }: Report) {
        if let Ok(bus) = REPORTS.parse() {
            let priority = Priority::default();
            // A report that is repeated after a crash must have the same time: no merge window.
            let mut outgoing = Outgoing { device, sensor: None, priority, state };
            let misfits = self.remove_misfits(&bus, &mut outgoing);
            let readings = misfits + self.put(&bus, outgoing, Duration::ZERO);
            self.group.ledger.entry(bus).or_default().received += readings;
        }
        self.group.receipts.extend(receipt);
        self.group.start_timer();
    }

    /// Removes the values that Losant would ignore from a state that the gateway made, and counts
    /// them as rejected. Returns their number.
    ///
    /// The pipeline checks the values of messages itself.
    fn remove_misfits(&mut self, bus: &Name, outgoing: &mut Outgoing) -> u64 {
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
                    if self.rejection_log.admit((bus.clone(), reason), Instant::now().into_std()) {
                        warn!(%bus, device_id = %outgoing.device, %misfit, "value rejected");
                    }
                }
            }
        }
        misfits
    }

    /// Logs rejections: one warning a minute for each bus and reason, and all at debug level.
    fn log_rejections(&mut self, message: &BusMessage, output: &PipelineOutput) {
        let (bus, topic) = (&message.bus, message.topic.as_str());
        for RejectionDetail { reason, text: detail } in &output.details {
            debug!(%bus, topic, %reason, detail, "reading rejected");
        }
        let now = Instant::now().into_std();
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
        let pipeline = self.context.pipelines.get_mut(bus);
        if let (true, Some(sensor), Some(pipeline)) = (is_own, sensor, pipeline) {
            pipeline.count_payload(sensor);
        }
        let readings = u16::try_from(state.data.len()).unwrap_or(u16::MAX);
        let account = self.group.ledger.entry(bus.clone()).or_default();
        match encode(&state) {
            Ok(json) => {
                account.outbox_in += u64::from(readings);
                let (bus, moment) = (bus.clone(), state.time);
                self.context.boot_clock.record(moment);
                self.group.states.push(NewState { device, bus, moment, priority, readings, json });
            }
            Err(error) => {
                error!(%error, %bus, device_id = %device, "state dropped: cannot write it as JSON");
                *account.dropped.entry(Reason::NotSerialisable).or_default() += u64::from(readings);
            }
        }
        u64::from(readings)
    }

    /// Writes the group, retrying until the disk takes it. Acknowledges what is safe.
    async fn commit(&mut self) {
        self.update_sensor_status();
        let mut ledger = self.group.take_ledger();
        for (bus, account) in self.context.losses.take() {
            ledger.entry(bus).or_default().add(&account);
        }
        let sessions = self.sessions.iter_mut();
        let fingerprints = sessions
            .map(|(bus, session)| (bus.clone(), session.take_change()))
            .filter(|(_, change)| !change.is_empty())
            .collect();
        let states = std::mem::take(&mut self.group.states);
        let pulses = (PULSES, self.context.losses.pulses().take_changes());
        let checkpoints = std::mem::take(&mut self.group.checkpoints).into_iter().collect();
        let anchors = self.context.boot_clock.take_changes();
        let interval = self.sync_interval().filter(|_| anchors.is_empty());
        let rows = [(boot_clock::TABLE, anchors), pulses, (CHECKPOINTS, checkpoints)].into();
        let commit = Arc::new(Commit { states, ledger, fingerprints, rows });
        self.append_with_retries(&commit, interval.is_some()).await;
        self.context.status.record_commit(commit.states.len());
        self.group.since = None;
        self.context.boot_clock.committed();
        self.pending_acks.add(&mut self.group.acks, &mut self.group.receipts);
        self.context.committed.send_modify(|commits| *commits += 1);
        match interval {
            Some(interval) if !self.pending_acks.is_due(interval) => {
                let commit_interval = self.context.commit_interval;
                self.next_check =
                    self.next_check.or_else(|| self.pending_acks.next_check(commit_interval));
            }
            // This commit was synced, and nothing is pending from an earlier one.
            None if self.next_check.is_none() => self.pending_acks.release(),
            Some(_) | None => self.settle().await,
        }
    }

    /// Returns the time that commits wait for their sync; `None` if each is synced.
    fn sync_interval(&self) -> Option<Duration> {
        self.context.sync_interval_online.filter(|_| self.context.status.is_online())
    }

    /// Sends the pending acknowledgements if the cloud or the disk has their readings.
    ///
    /// Syncs at the end of the interval, and when the cloud is offline.
    async fn settle(&mut self) {
        let is_due = self.sync_interval().is_none_or(|interval| self.pending_acks.is_due(interval));
        let outbox = Arc::clone(&self.context.outbox);
        let settling = blocking(move || {
            if is_due {
                outbox.sync_states()?;
            }
            Ok::<_, Error>(outbox.first_unsynced().is_none())
        });
        match liveness::with_deadline(liveness::DISK_MAX, "a sync", settling).await {
            Ok(true) => self.pending_acks.release(),
            Ok(false) => {}
            Err(error) => {
                self.context.status.record_write_failure(&error.to_string());
                error!(%error, "cannot sync the outbox; retrying");
            }
        }
        self.next_check = self.pending_acks.next_check(self.context.commit_interval);
    }

    /// Copies the statistics of the sensors that have changed into the status.
    fn update_sensor_status(&mut self) {
        for (bus, pipeline) in &mut self.context.pipelines {
            self.context.status.update_sensors(bus, pipeline.take_changed_stats());
        }
    }

    async fn append_with_retries(&self, commit: &Arc<Commit>, is_sync_delayed: bool) {
        let mut is_failing = false;
        while let Err(error) = self.append(Arc::clone(commit), is_sync_delayed).await {
            self.context.status.record_write_failure(&error.to_string());
            if !std::mem::replace(&mut is_failing, true) {
                error!(%error, states = commit.states.len(), "cannot write to outbox; retrying");
            }
            tokio::time::sleep(DISK_RETRY).await;
        }
        if is_failing {
            info!("outbox is writable again");
        }
    }

    async fn append(&self, commit: Arc<Commit>, is_sync_delayed: bool) -> Result<(), Error> {
        let outbox = Arc::clone(&self.context.outbox);
        let append = if is_sync_delayed { Outbox::append_unsynced } else { Outbox::append };
        let appending = blocking(move || append(&outbox, &commit));
        let appended = liveness::with_deadline(liveness::DISK_MAX, "a commit", appending).await?;
        let evicted = appended.dropped;
        if evicted.states > 0 {
            warn!(
                states = evicted.states,
                readings = evicted.readings,
                "outbox full; dropped the oldest states"
            );
        }
        Ok(())
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
