//! A session with an MQTT broker, 3.1.1 or 5: subscriptions in, publishes out, acknowledgements only after the reading is on the disk.
//!
//! The session is persistent, so the broker keeps QoS 1 messages while we are away and delivers again what we have not
//! acknowledged. A lost connection is answered with a new client: what was under way is told as failed, and no publish of
//! an actuator is repeated behind its back.

mod link;
mod options;
mod reply;
mod session;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::attempts::Attempts;
use super::{BusContext, BusEvent, RECONNECT_WAIT, WriteRequest, pause};
use session::{Session, Wiring};
use tidegate_config::MqttBus;
use tidegate_ingest::retained::RetainedFilter;
use tidegate_model::Name;
use tidegate_model::topic::TopicFilter;
use tidegate_runtime::clock::SharedClock;

/// Acknowledgements that may wait: MQTT has 65,535 packet ids, so a broker can never wait for more.
const ACKS_MAX: usize = 65_535;

/// Which message is due to be acknowledged, and on which connection it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    connection: u64,
    packet_id: u16,
}

/// A subscription: the filter, and whether a sensor wants retained messages of it.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The topic filter.
    pub filter: TopicFilter,
    /// Whether retained messages are taken.
    pub retained: bool,
}

/// The task that owns one broker session.
#[derive(Debug)]
pub struct MqttTask {
    /// The name of the bus.
    pub bus: Name,
    /// The broker.
    pub settings: MqttBus,
    /// What to subscribe to.
    pub subscriptions: Vec<Subscription>,
    /// To the collector; given up at the stop, while acknowledgements still go out.
    pub outlet: BusContext,
    /// From the actuators.
    pub writes: mpsc::Receiver<WriteRequest>,
    /// Ends the task.
    pub stop: CancellationToken,
}

impl MqttTask {
    /// Runs until it is stopped and all that came in is acknowledged. An absent broker is no fault: it is waited for.
    pub async fn run(self, clock: SharedClock) {
        let Self { bus, settings, subscriptions, outlet, mut writes, stop } = self;
        let mut attempts = Attempts::new();
        let (ack_sender, mut acks) = mpsc::channel(ACKS_MAX);
        let mut retained = RetainedFilter::default();
        let options = match options::options(&settings) {
            Ok(options) => options,
            Err(error) => {
                outlet.lost(&error);
                error!(%bus, error, "this broker cannot be reached before its certificates are replaced");
                while pause(RECONNECT_WAIT.1, &mut writes, &stop).await {}
                return;
            }
        };
        for connection in 1.. {
            let (mut session, mut link) =
                Session::new(&bus, &settings, &subscriptions, options.clone(), connection);
            let mut wiring = Wiring {
                outlet: &outlet,
                clock: &clock,
                ack_sender: &ack_sender,
                acks: &mut acks,
                writes: &mut writes,
                stop: &stop,
                retained: &mut retained,
                attempts: &mut attempts,
            };
            let Some(trouble) = session.run(&mut link, &mut wiring).await else {
                // With these the collector's queue can end, and then nobody can ask for an acknowledgement any more.
                drop((outlet, ack_sender));
                session.finish(link, &mut acks).await;
                info!(%bus, "broker session left");
                return;
            };
            if session.is_connected() {
                outlet.deliver(BusEvent::Disconnected(bus.clone())).await;
            }
            outlet.lost(&trouble);
            let MqttBus { host, port, .. } = &settings;
            if attempts.lost(&trouble) {
                warn!(%bus, host, port, error = trouble, "no broker; trying again");
            } else {
                debug!(%bus, host, port, error = trouble, "no broker; trying again");
            }
            if !pause(attempts.next_delay(), &mut writes, &stop).await {
                return;
            }
        }
    }
}
