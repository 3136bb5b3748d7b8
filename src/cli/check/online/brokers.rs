//! Asks the brokers: connection, user and password, and each subscription.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Outcome, Report};
use crate::app;
use crate::cli::sensor::with_own_client_id;
use tidegate_bus::Monitor;
use tidegate_config::{Bus, BusKind, Config};
use tidegate_model::Name;
use tidegate_runtime::clock::{SharedClock, SystemClock};

/// The longest wait for a broker and its subscriptions.
const BROKER_TIMEOUT: Duration = Duration::from_secs(10);

/// Checks all MQTT buses.
pub(super) async fn check(config: &Config, report: &mut Report) -> anyhow::Result<()> {
    for (name, bus) in &config.buses {
        let BusKind::Mqtt(settings) = &bus.kind else { continue };
        let item = format!("broker {}:{} of bus {name}", settings.host, settings.port);
        let sensors = bus.sensors.clone();
        let own = with_own_client_id(Bus { kind: bus.kind.clone(), sensors });
        let seen = observe(name, &own).await;
        match (seen.is_connected, seen.error) {
            (true, _) => report.add(&item, &Outcome::Good)?,
            (false, Some(error)) => {
                report.add(&item, &Outcome::Problem(error))?;
                continue;
            }
            (false, None) => {
                let seconds = BROKER_TIMEOUT.as_secs();
                let text = format!("no answer within {seconds} s; is it the right host?");
                report.add(&item, &Outcome::Problem(text))?;
                continue;
            }
        }
        for filter in topics(bus) {
            let item = format!("subscription {filter} of bus {name}");
            let outcome = match seen.subscriptions.get(&filter) {
                Some(None) => Outcome::Good,
                Some(Some(problem)) => Outcome::Problem(problem.clone()),
                None => Outcome::Unchecked("the broker did not confirm it".to_owned()),
            };
            report.add(&item, &outcome)?;
        }
    }
    Ok(())
}

/// Returns the topic filters of the sensors.
fn topics(bus: &Bus) -> Vec<String> {
    let topics = bus.sensors.iter().filter_map(|sensor| sensor.topic.as_ref());
    let mut topics: Vec<_> = topics.map(ToString::to_string).collect();
    topics.sort();
    topics.dedup();
    topics
}

/// Connects to a broker until all subscriptions are answered, an error occurs, or the time is over.
async fn observe(name: &Name, bus: &Bus) -> Seen {
    let observer = Arc::new(Observer::default());
    let stop = CancellationToken::new();
    let clock: SharedClock = Arc::new(SystemClock);
    let monitor = Arc::clone(&observer);
    let mut running = app::start_observed_bus(name, bus, &clock, &stop, monitor);
    let wanted = topics(bus);
    let end = Instant::now() + BROKER_TIMEOUT;
    loop {
        let changed = observer.changed.notified();
        if observer.seen().is_complete(&wanted) {
            break;
        }
        tokio::select! {
            () = changed => {}
            // Messages are not needed, but a full queue would stop the session.
            event = running.events.recv() => if event.is_none() { break },
            () = tokio::time::sleep_until(end) => break,
        }
    }
    stop.cancel();
    let seen = observer.seen();
    seen.clone()
}

/// What happened to a session.
#[derive(Debug, Clone, Default)]
struct Seen {
    is_connected: bool,
    error: Option<String>,
    /// The answered subscriptions, each with why it was refused.
    subscriptions: BTreeMap<String, Option<String>>,
}

impl Seen {
    fn is_complete(&self, wanted: &[String]) -> bool {
        let is_answered = wanted.iter().all(|topic| self.subscriptions.contains_key(topic));
        self.error.is_some() || self.is_connected && is_answered
    }
}

/// Records what happens to a session.
#[derive(Debug, Default)]
struct Observer {
    seen: Mutex<Seen>,
    changed: Notify,
}

impl Observer {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor for Observer {
    fn set_connected(&self, _: &Name) {
        self.seen().is_connected = true;
        self.changed.notify_one();
    }

    fn set_disconnected(&self, _: &Name, error: &str) {
        self.seen().error = Some(error.to_owned());
        self.changed.notify_one();
    }

    fn set_problem(&self, _: &Name, _: &str, _: Option<&str>) {}

    fn set_refused_subscription(&self, _: &Name, filter: &str, why: Option<&str>) {
        let problem = why.map(|why| {
            format!("the broker refuses this subscription: {why}; may this user read it?")
        });
        self.seen().subscriptions.insert(filter.to_owned(), problem);
        self.changed.notify_one();
    }

    fn set_session_conflict(&self, _: &Name, _: Option<&str>) {}
}
