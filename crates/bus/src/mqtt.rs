//! A session with an MQTT broker, 3.1.1 or 5. A message is acknowledged when its values are on the
//! disk.
//!
//! The session is persistent: the broker keeps QoS 1 messages while the gateway is away, and
//! redelivers unacknowledged ones. Each connection has a client of its own. When it is lost its
//! pending publishes fail, so that no publish of an actuator is repeated later.

mod client;
mod options;
mod reason;
mod reply;
mod session;
mod takeover;

use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use crate::reconnect::Reconnect;
use crate::{BusContext, BusDriver, BusEvent, BusTask, RECONNECT_DELAY_MAX, WriteQueue};
use session::{Session, Shared};
use takeover::TakeoverDetector;
use tidegate_config::MqttBus;
use tidegate_ingest::mapping::Sensor;
use tidegate_ingest::retained::RetainedFilter;
use tidegate_model::topic::TopicFilter;

/// The most acknowledgements in the queue: MQTT has 65,535 packet ids, so no broker waits for more.
const ACKS_MAX: usize = 65_535;

/// The suffix of the client id for an inspection. The session of the daemon must stay connected.
const INSPECTION_SUFFIX: &str = "-test";

/// The acknowledgement of one message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PacketAck {
    /// The connection that received the message.
    connection: u64,
    packet_id: u16,
}

/// A subscription of a sensor.
#[derive(Debug, Clone)]
struct Subscription {
    filter: TopicFilter,
    /// Whether the sensor reads retained messages.
    retained: bool,
}

impl BusDriver for MqttBus {
    fn describe(&self) -> String {
        let Self { host, port, client_id, qos, .. } = self;
        format!("MQTT broker {host}:{port} as {client_id}, QoS {qos}")
    }

    fn task(&self, context: BusContext, writes: WriteQueue) -> BusTask {
        let mut settings = self.clone();
        if context.is_inspection {
            settings.client_id.push_str(INSPECTION_SUFFIX);
            settings.qos = 0;
            settings.is_lasting = false;
            settings.status_topic = None;
            settings.share = None;
        }
        Box::pin(run(settings, context, writes))
    }
}

/// Runs until the bus is stopped and all messages are acknowledged.
async fn run(settings: MqttBus, context: BusContext, mut writes: WriteQueue) {
    let bus = context.bus.clone();
    let MqttBus { host, port, .. } = &settings;
    let subscriptions = subscriptions(&context.sensors);
    let mut reconnect = Reconnect::new();
    let mut takeovers = TakeoverDetector::default();
    let (ack_sender, mut acks) = mpsc::channel(ACKS_MAX);
    let mut retained = RetainedFilter::default();
    let options = match options::options(&settings) {
        Ok(options) => options,
        Err(error) => {
            context.report_disconnected(&error.to_string());
            error!(%bus, %error, "cannot connect to broker until its certificates are replaced");
            while writes.reject_for(RECONNECT_DELAY_MAX, &context).await {}
            return;
        }
    };
    for connection in 1.. {
        let (mut session, mut link) =
            Session::new(&bus, &settings, &subscriptions, options.clone(), connection);
        let mut shared = Shared {
            context: &context,
            ack_sender: &ack_sender,
            acks: &mut acks,
            writes: &mut writes,
            retained: &mut retained,
            reconnect: &mut reconnect,
        };
        let watched = takeovers.watch(&context, session.run(&mut link, &mut shared));
        let Err(error) = watched.await else {
            context.send(BusEvent::Stopping(bus.clone())).await;
            // Without these the collector's queue can end, and after it no acknowledgement comes.
            drop((context, ack_sender));
            session.finish(link, &mut acks).await;
            info!(%bus, "broker session closed");
            return;
        };
        if session.is_connected() {
            context.send(BusEvent::Disconnected(bus.clone())).await;
            takeovers.handle_lost(&context, &error, &settings.client_id);
        }
        let error = error.to_string();
        context.report_disconnected(&error);
        if reconnect.lost(&error) {
            warn!(%bus, host, port, error, "cannot connect to broker; retrying");
        } else {
            debug!(%bus, host, port, error, "cannot connect to broker; retrying");
        }
        if !writes.reject_for(reconnect.next_delay(), &context).await {
            return;
        }
    }
}

fn subscriptions(sensors: &[Sensor]) -> Vec<Subscription> {
    let subscription = |sensor: &Sensor| {
        Some(Subscription { filter: sensor.topic.clone()?, retained: sensor.retained })
    };
    sensors.iter().filter_map(subscription).collect()
}
