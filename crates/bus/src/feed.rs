//! What a bus that only reads needs of the rest of the daemon.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::checkpoints::TailCheckpoint;
use super::problem_log::ProblemLog;
use super::{Ack, BusContext, BusEvent};
use tidegate_ingest::frame::Loss;
use tidegate_model::{Name, Reading, Reason};
use tidegate_runtime::clock::SharedClock;

/// After this a look that has not ended is a trouble. A 1-Wire sensor takes most of a second, and there may be many.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// What that trouble is about.
const SLOW: &str = "disk";

/// The way to the collector, the clock, and the sign to stop.
#[derive(Clone)]
pub struct Feed {
    outlet: BusContext,
    clock: SharedClock,
    stop: CancellationToken,
}

impl Feed {
    /// A feed through this outlet.
    pub fn new(outlet: BusContext, clock: SharedClock, stop: CancellationToken) -> Self {
        Self { outlet, clock, stop }
    }

    pub(super) fn bus(&self) -> &Name {
        &self.outlet.bus
    }

    /// Passes a message on that cannot be had again, or counts it as dropped when the collector is behind.
    pub(super) fn offer(&self, topic: &str, payload: Bytes) {
        self.outlet.offer(self.reading(topic, payload), None);
    }

    /// Waits until the collector takes a message that its source holds meanwhile.
    pub(super) async fn deliver(&self, topic: &str, payload: Bytes, ack: Option<Ack>) {
        self.outlet.deliver(BusEvent::Reading(self.reading(topic, payload), ack)).await;
    }

    /// The line is there.
    pub(super) fn connected(&self) {
        self.outlet.connected();
    }

    /// The line is not there.
    pub(super) fn lost(&self, error: &str) {
        self.outlet.lost(error);
    }

    /// What may be wrong on this bus.
    pub(super) fn troubles(&self) -> ProblemLog {
        ProblemLog::new(self.bus().clone(), self.outlet.monitor.clone())
    }

    pub(super) fn reject(&self, reason: Reason) {
        self.outlet.reject(reason);
    }

    pub(super) fn lose_frame(&self, loss: Loss) {
        self.outlet.lose_frame(loss);
    }

    /// How many pulses this input has counted so far, in earlier runs, too.
    pub(super) fn pulses(&self, input: &Name) -> u64 {
        self.outlet.tally.pulses().get(self.bus(), input)
    }

    /// Notes how many pulses this input has counted; on the disk with the next message.
    pub(super) fn count_pulses(&self, input: &Name, pulses: u64) {
        self.outlet.tally.pulses().set(self.bus(), input, pulses);
    }

    /// Up to where this bus read its logs, in earlier runs, too.
    pub(super) fn marks(&self) -> BTreeMap<PathBuf, TailCheckpoint> {
        self.outlet.tally.marks.of(self.bus())
    }

    /// Waits until the collector takes a line of a log with the mark behind it, or a mark alone.
    pub(super) async fn deliver_line(
        &self,
        path: &Path,
        line: Option<(&str, Bytes)>,
        mark: Option<TailCheckpoint>,
    ) {
        let reading = line.map(|(topic, line)| self.reading(topic, line));
        // Noted when the collector has it: what is not delivered is read again.
        let Ok(place) = self.outlet.arrivals.reserve().await else { return };
        match (reading, self.outlet.tally.marks.set(self.bus(), path, mark)) {
            (reading, Some(change)) => place.send(BusEvent::Line(reading, change)),
            (Some(reading), None) => place.send(BusEvent::Reading(reading, None)),
            (None, None) => {}
        }
    }

    /// Ends when the daemon stops.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits; `false` when the daemon stops.
    pub(super) async fn pause(&self, delay: Duration) -> bool {
        tokio::select! {
            () = self.stopped() => false,
            () = tokio::time::sleep(delay) => true,
        }
    }

    /// Waits for a look at what the kernel shows, and tells meanwhile when that takes too long: a network share or a sensor
    /// may never answer, and no restart would make it. `None` when the daemon stops.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce() -> T + Send + 'static,
        troubles: &mut ProblemLog,
    ) -> Option<T> {
        let mut look = tokio::task::spawn_blocking(look);
        let waited = tokio::select! {
            () = self.stopped() => return None,
            waited = tokio::time::timeout(LOOK_MAX, &mut look) => waited,
        };
        let looked = if let Ok(looked) = waited {
            looked
        } else {
            troubles.begin(SLOW, &format!("reading has not ended after {LOOK_MAX:?}"));
            tokio::select! {
                () = self.stopped() => return None,
                looked = &mut look => looked,
            }
        };
        troubles.end(SLOW);
        match looked {
            Ok(found) => Some(found),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn reading(&self, topic: &str, payload: Bytes) -> Reading {
        let (bus, time) = (self.bus().clone(), self.clock.now());
        Reading { bus, time, topic: topic.to_owned(), payload, origin: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::LossCounters;
    use crate::monitor::Recorder;
    use tidegate_runtime::clock::SystemClock;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_does_not_answer_is_a_trouble_until_it_does() {
        let (arrivals, _collector) = tokio::sync::mpsc::channel(1);
        let monitor = Arc::new(Recorder::default());
        let bus = "probes".parse().unwrap();
        let outlet = BusContext::new(bus, arrivals, LossCounters::default(), monitor.clone());
        let feed = Feed::new(outlet, Arc::new(SystemClock), CancellationToken::new());
        let mut troubles = feed.troubles();
        let (answer, answered) = mpsc::channel();
        let told = || monitor.problem_of(SLOW).unwrap_or_default();
        {
            let mut look = Box::pin(feed.look(move || answered.recv().unwrap(), &mut troubles));
            assert!(futures_util::poll!(&mut look).is_pending());
            tokio::time::advance(LOOK_MAX).await;
            assert!(futures_util::poll!(&mut look).is_pending());
            assert!(told().contains("has not ended after 60s"), "{}", told());
            answer.send(7).unwrap();
            assert_eq!(look.await, Some(7));
        }
        assert!(!told().contains("has not ended"), "{}", told());
    }
}
