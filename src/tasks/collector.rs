//! Turns what the buses hear into states, and brings them to the disk in groups.
//!
//! It ends when all buses have let go of its queue, after a last commit.

mod boot_clock;
mod pending_acks;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::status::StatusRegistry;
pub use boot_clock::{Anchors, BootClock, remembered};
use pending_acks::PendingAcks;
use tidegate_bus::{Ack, BusEvent, CHECKPOINTS, Handles, LossCounters, PULSES, REPORTS, Report};
use tidegate_delivery::reporter::Limits;
use tidegate_ingest::dedup::RedeliveryFilter;
use tidegate_ingest::mapping::{Mapped, Outgoing, Pipeline};
use tidegate_model::{Ledger, Name, Priority, Reading, ReadingTime, Reason};
use tidegate_outbox::{Commit, Error, Outbox, Pending};
use tidegate_runtime::liveness;
use tidegate_runtime::wait::{blocking, sleep_until};
use tidegate_timing::unique_timestamps::UniqueTimestamps;

/// A commit is made early when so many states wait for it.
const GROUP_STATES_MAX: usize = 1_024;

/// A commit is made early when so many messages wait for their acknowledgement: mosquitto sends no more than 20 ahead, and
/// would otherwise stand still until the commit interval is over.
const GROUP_ACKS_MAX: usize = 16;

/// Between two tries when the disk does not take a commit. Meanwhile the buses' queue fills and its losses are counted.
const DISK_RETRY: Duration = Duration::from_secs(1);

/// Between two warnings about rejected readings with the same reason from the same bus.
const TELL_INTERVAL: Duration = Duration::from_secs(60);

/// The collector.
pub struct Collector {
    plans: BTreeMap<Name, Pipeline>,
    outbox: Arc<Outbox>,
    tally: LossCounters,
    commit_interval: Duration,
    /// How long what the cloud may confirm soon waits for its sync; `None` at the end, and where that is not wanted.
    sync_interval_online: Option<Duration>,
    /// For the window within which readings are joined.
    limits: watch::Receiver<Limits>,
    committed: watch::Sender<u64>,
    board: StatusRegistry,
    sessions: BTreeMap<Name, RedeliveryFilter>,
    stamps: UniqueTimestamps,
    chronicle: BootClock,
    told: BTreeMap<(Name, Reason), Instant>,
    /// To ask nodes of Sparkplug B for their births.
    handles: watch::Receiver<Handles>,
    group: Group,
    held: PendingAcks,
    /// When to look whether what is held is safe.
    look: Option<Instant>,
}

/// How long a reading waits for the disk, always and while the cloud answers; the window within which readings are joined, and the
/// ways to the buses.
type Settings = ((Duration, Option<Duration>), watch::Receiver<Limits>, watch::Receiver<Handles>);

/// What waits for the next commit.
#[derive(Default)]
struct Group {
    states: Vec<Pending>,
    ledger: Ledger,
    acks: Vec<Ack>,
    /// Up to where logs were read.
    marks: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// Who is told of this commit.
    told: Vec<(u64, mpsc::Sender<u64>)>,
    since: Option<Instant>,
}

impl Collector {
    /// A collector for these buses. Each commit raises the number in `committed` and is told to the board.
    pub fn new(
        plans: BTreeMap<Name, Pipeline>,
        (outbox, chronicle): (Arc<Outbox>, BootClock),
        tally: LossCounters,
        ((commit_interval, sync_interval_online), limits, handles): Settings,
        (committed, board): (watch::Sender<u64>, StatusRegistry),
    ) -> Self {
        let known = |bus: &Name| (bus.clone(), RedeliveryFilter::new(outbox.origins(bus)));
        let sessions = plans.keys().map(known).collect();
        let (stamps, told) = (chronicle.stamps(&outbox), BTreeMap::new());
        let group = Group::default();
        board.promise(sync_interval_online.unwrap_or_default().max(commit_interval));
        Self {
            plans,
            outbox,
            tally,
            commit_interval,
            sync_interval_online,
            limits,
            committed,
            board,
            sessions,
            stamps,
            chronicle,
            told,
            handles,
            group,
            held: PendingAcks::default(),
            look: None,
        }
    }

    /// Runs until the queue ends.
    pub async fn run(mut self, mut arrivals: mpsc::Receiver<BusEvent>) {
        let mut learned = self.chronicle.learned();
        learned.mark_changed();
        loop {
            let due = self.group.since.map(|since| since + self.commit_interval);
            let now = Instant::now().into_std();
            let made = self.plans.values().filter_map(|plan| plan.poll_timeout(now)).min();
            let arrival = tokio::select! {
                arrival = arrivals.recv() => arrival,
                () = sleep_until(made.map(Instant::from_std)) => {
                    self.make(|plan| plan.handle_timeout(Instant::now().into_std()));
                    continue;
                }
                () = sleep_until(due) => {
                    self.commit().await;
                    continue;
                }
                () = sleep_until(self.look) => {
                    self.settle().await;
                    continue;
                }
                Ok(()) = learned.changed() => {
                    if let Some(anchor_ms) = *learned.borrow_and_update() {
                        self.stamps.anchor(self.chronicle.boot(), anchor_ms);
                        self.group.wake();
                    }
                    continue;
                }
            };
            let Some(arrival) = arrival else { break };
            self.apply(arrival);
            if self.group.is_full() {
                self.commit().await;
            }
        }
        self.make(Pipeline::finish);
        self.sync_interval_online = None;
        self.commit().await;
        // What is stored is being acknowledged now, so brokers that are there deliver none of it again.
        self.sessions.values_mut().for_each(RedeliveryFilter::handle_stop);
        self.commit().await;
        info!("collector done");
    }

    fn apply(&mut self, arrival: BusEvent) {
        match arrival {
            BusEvent::Session { bus, resumed } => {
                self.sessions.entry(bus).or_default().handle_connected(resumed);
            }
            BusEvent::Disconnected(bus) => {
                if let Some(plan) = self.plans.get_mut(&bus) {
                    plan.disconnected();
                }
                self.sessions.entry(bus).or_default().handle_disconnected();
            }
            BusEvent::Acknowledged { bus, packet_id } => {
                self.sessions.entry(bus).or_default().handle_acknowledged(packet_id);
            }
            BusEvent::Empty(ack) => self.group.acknowledge_later(ack),
            BusEvent::Counted => self.group.wake(),
            BusEvent::Report(report) => self.take_report(report),
            BusEvent::Pipeline(bus, plan) => self.replace_plan(bus, plan),
            BusEvent::Line(reading, (key, mark)) => {
                if let Some(reading) = reading {
                    self.take(&reading);
                }
                self.group.marks.insert(key, mark);
                self.group.wake();
            }
            BusEvent::Reading(reading, ack) => {
                let session = self.sessions.entry(reading.bus.clone()).or_default();
                if reading.origin.is_some_and(|origin| session.handle_message(origin)) {
                    self.group.ledger.entry(reading.bus).or_default().duplicates += 1;
                } else {
                    self.take(&reading);
                }
                if let Some(ack) = ack {
                    self.group.acknowledge_later(ack);
                }
            }
        }
    }

    /// What the old plan still holds is put first, as at a stop.
    fn replace_plan(&mut self, bus: Name, plan: Option<Pipeline>) {
        if let Some(mut old) = self.plans.remove(&bus) {
            self.put_all(&bus, old.finish());
            self.group.wake();
        }
        self.plans.extend(plan.map(|plan| (bus, plan)));
    }

    fn take(&mut self, reading: &Reading) {
        let Some(plan) = self.plans.get_mut(&reading.bus) else { return };
        let mut mapped = plan.map(reading, Instant::now().into_std());
        if let (Some(request), Some(bus)) =
            (mapped.request.take(), self.handles.borrow().get(&reading.bus))
        {
            debug!(bus = %reading.bus, topic = reading.topic, "asking the node for its births");
            bus.offer(request);
        }
        self.tell(reading, &mapped.rejected, &mapped.details);
        self.put_all(&reading.bus, mapped);
        self.group.wake();
    }

    /// Puts what the plans make by themselves: at windows' ends and where sensors are silent, or at the stop.
    fn make(&mut self, make: impl Fn(&mut Pipeline) -> Mapped) {
        let mapped: Vec<_> =
            self.plans.iter_mut().map(|(bus, plan)| (bus.clone(), make(plan))).collect();
        for (bus, mapped) in mapped {
            if !mapped.made.is_empty() {
                self.put_all(&bus, mapped);
                self.group.wake();
            }
        }
    }

    fn put_all(&mut self, bus: &Name, mapped: Mapped) {
        let account = self.group.ledger.entry(bus.clone()).or_default();
        for (reason, readings) in mapped.rejected {
            account.reject(reason, readings);
        }
        for (reason, readings) in mapped.filtered {
            account.filter_out(reason, readings);
        }
        let window = self.limits.borrow().merge_window;
        for outgoing in mapped.states {
            let readings = self.put(bus, outgoing, window);
            self.group.ledger.entry(bus.clone()).or_default().received += readings;
        }
        for outgoing in mapped.made {
            let readings = self.put(bus, outgoing, window);
            self.group.ledger.entry(bus.clone()).or_default().generated += readings;
        }
    }

    fn take_report(&mut self, Report { device, state, told }: Report) {
        if let Ok(bus) = REPORTS.parse() {
            let priority = Priority::default();
            // One that is told again after a crash must have the same time.
            let outgoing = Outgoing { device, sensor: None, priority, state };
            let readings = self.put(&bus, outgoing, Duration::ZERO);
            self.group.ledger.entry(bus).or_default().received += readings;
        }
        self.group.told.extend(told);
        self.group.wake();
    }

    /// Explains rejections: one a minute for each bus and reason to the operator, all of them at debug level.
    fn tell(&mut self, reading: &Reading, rejected: &BTreeMap<Reason, u64>, details: &[String]) {
        let (bus, topic, now) = (&reading.bus, reading.topic.as_str(), Instant::now());
        for detail in details {
            debug!(%bus, topic, detail, "rejected");
        }
        for reason in rejected.keys() {
            let told = self.told.get(&(bus.clone(), *reason));
            if told.is_none_or(|told| now.duration_since(*told) >= TELL_INTERVAL) {
                let detail = details.first().map(String::as_str).unwrap_or_default();
                warn!(%bus, topic, %reason, detail, "readings are rejected; more like this are only counted");
                self.told.insert((bus.clone(), *reason), now);
            }
        }
    }

    /// Puts a state into the group and returns how many readings are in it.
    fn put(&mut self, bus: &Name, outgoing: Outgoing, window: Duration) -> u64 {
        let Outgoing { device, sensor, priority, mut state } = outgoing;
        let is_own = self.stamps.place(device, &mut state, window);
        if let (true, Some(sensor), Some(plan)) = (is_own, sensor, self.plans.get_mut(bus)) {
            plan.count_payload(sensor);
        }
        let readings = u16::try_from(state.data.len()).unwrap_or(u16::MAX);
        let moment = state.time;
        self.chronicle.record(moment);
        let written = match moment {
            ReadingTime::Wall(_) => serde_json::to_vec(&state),
            ReadingTime::Boot(_) => serde_json::to_vec(&state.data),
        };
        let json = match written {
            Ok(json) => Bytes::from(json),
            // A state is texts and finite numbers; were it not so, it must at least not vanish.
            Err(error) => {
                error!(%error, "a state cannot be written as JSON");
                return 0;
            }
        };
        let account = self.group.ledger.entry(bus.clone()).or_default();
        account.outbox_in += u64::from(readings);
        let bus = bus.clone();
        self.group.states.push(Pending { device, bus, moment, priority, readings, json });
        u64::from(readings)
    }

    /// Writes the group, for as long as it takes, and then acknowledges.
    async fn commit(&mut self) {
        self.show();
        let mut ledger = std::mem::take(&mut self.group.ledger);
        for (bus, account) in self.tally.take() {
            ledger.entry(bus).or_default().add(&account);
        }
        let sessions = self.sessions.iter_mut();
        let origins = sessions
            .map(|(bus, session)| (bus.clone(), session.take_change()))
            .filter(|(_, change)| !change.is_empty())
            .collect();
        let states = std::mem::take(&mut self.group.states);
        let pulses = (PULSES, self.tally.pulses().take_changes());
        let marks = (CHECKPOINTS, std::mem::take(&mut self.group.marks).into_iter().collect());
        let anchors = self.chronicle.changes();
        let window =
            self.sync_interval_online.filter(|_| anchors.is_empty() && self.board.is_online());
        let notes = [(boot_clock::TABLE, anchors), pulses, marks].into();
        let commit = Arc::new(Commit { states, ledger, origins, notes });
        let mut is_told = false;
        while let Err(error) = self.append(Arc::clone(&commit), window.is_some()).await {
            self.board.refused(&error.to_string());
            if !std::mem::replace(&mut is_told, true) {
                error!(%error, states = commit.states.len(), "the outbox does not take readings; trying again");
            }
            tokio::time::sleep(DISK_RETRY).await;
        }
        if is_told {
            info!("the outbox takes readings again");
        }
        self.board.committed(commit.states.len());
        self.group.since = None;
        self.chronicle.committed();
        self.held.hold(&mut self.group.acks, &mut self.group.told);
        self.committed.send_modify(|commits| *commits += 1);
        match window {
            Some(window) if !self.held.is_due(window) => {
                self.look = self.look.or_else(|| self.held.look_at(self.commit_interval));
            }
            // Nothing is held from before, and this commit was synced.
            None if self.look.is_none() => self.held.release(),
            Some(_) | None => self.settle().await,
        }
    }

    /// Acknowledges what is held, if the cloud or the disk has it. Syncs it at the end of the window, and when the cloud is gone.
    async fn settle(&mut self) {
        let window = self.sync_interval_online.filter(|_| self.board.is_online());
        let is_due = window.is_none_or(|window| self.held.is_due(window));
        let outbox = Arc::clone(&self.outbox);
        let settling = blocking(move || outbox.settle(is_due));
        match liveness::with_deadline(liveness::DISK_MAX, "a sync", settling).await {
            Ok(true) => self.held.release(),
            Ok(false) => {}
            Err(error) => {
                self.board.refused(&error.to_string());
                error!(%error, "the disk does not take what waits for its sync; trying again");
            }
        }
        self.look = self.held.look_at(self.commit_interval);
    }

    /// Shows on the board what the sensors said.
    fn show(&self) {
        for (bus, plan) in &self.plans {
            let sensors = plan.stats().map(|(sensor, stats)| (sensor.clone(), stats));
            self.board.heard(bus, sensors.collect());
        }
    }

    async fn append(&self, commit: Arc<Commit>, is_spared: bool) -> Result<(), Error> {
        let outbox = Arc::clone(&self.outbox);
        let append = if is_spared { Outbox::append_unsynced } else { Outbox::append };
        let appending = blocking(move || append(&outbox, &commit));
        let evicted = liveness::with_deadline(liveness::DISK_MAX, "a commit", appending).await?;
        if evicted.states > 0 {
            warn!(
                states = evicted.states,
                readings = evicted.readings,
                "the outbox is full; the oldest were dropped"
            );
        }
        Ok(())
    }
}

impl Group {
    fn acknowledge_later(&mut self, ack: Ack) {
        self.acks.push(ack);
        self.wake();
    }

    fn is_full(&self) -> bool {
        self.states.len() >= GROUP_STATES_MAX || self.acks.len() >= GROUP_ACKS_MAX
    }

    /// Lets the time to the next commit run.
    fn wake(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }
}
