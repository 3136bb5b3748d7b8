//! Starts the task of each bus.

use std::sync::Arc;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::status::{OutboxStatus, StatusRegistry};
use tidegate_bus::{
    BusContext, BusHandle, ExecTask, Feed, FileTask, GpioTask, Health, HttpTask, ModbusTask,
    MqttTask, SerialTask, Subscription, SystemTask,
};
use tidegate_config::{Bus, BusKind};
use tidegate_ingest::mapping::Sensor;
use tidegate_model::Name;
use tidegate_outbox::Outbox;
use tidegate_runtime::clock::SharedClock;
use tidegate_runtime::supervisor::Supervisor;

/// What every bus is given.
pub(super) struct BusStarter<'a> {
    pub(super) supervisor: &'a mut Supervisor,
    pub(super) stop: &'a CancellationToken,
    pub(super) clock: &'a SharedClock,
    pub(super) health: &'a Health,
}

impl BusStarter<'_> {
    /// Starts the task of one bus and returns the actuators' way to it. A bus that only reads refuses all writes.
    pub(super) fn start(&mut self, bus: &Bus, name: &Name, outlet: BusContext) -> BusHandle {
        let (handle, writes) = BusHandle::new();
        let (clock, stop) = (Arc::clone(self.clock), self.stop.clone());
        let task_name = format!("bus {name}");
        let feed = || Feed::new(outlet.clone(), Arc::clone(&clock), stop.clone());
        match bus.kind.clone() {
            BusKind::Exec(settings) => {
                self.supervisor.spawn(task_name, ExecTask { settings, feed: feed() }.run());
            }
            BusKind::File(settings) => {
                self.supervisor.spawn(task_name, FileTask { settings, feed: feed() }.run());
            }
            BusKind::Gpio(settings) => {
                let task = GpioTask { settings, feed: feed(), writes };
                self.supervisor.spawn(task_name, task.run());
            }
            BusKind::Http(settings) => {
                self.supervisor.spawn(task_name, HttpTask { settings, feed: feed() }.run());
            }
            BusKind::Modbus(settings) => {
                let task = ModbusTask::new(settings, feed(), writes);
                self.supervisor.spawn(task_name, task.run());
            }
            BusKind::Mqtt(settings) => {
                let (bus, subscriptions) = (name.clone(), subscriptions(&bus.sensors));
                let task = MqttTask { bus, settings, subscriptions, outlet, writes, stop };
                self.supervisor.spawn(task_name, task.run(clock));
            }
            BusKind::Serial(settings) => {
                let task = SerialTask { bus: name.clone(), settings, outlet, writes, stop };
                self.supervisor.spawn(task_name, task.run(clock));
            }
            BusKind::System(settings) => {
                let health = Arc::clone(self.health);
                let task = SystemTask { settings, feed: feed(), health };
                self.supervisor.spawn(task_name, task.run());
            }
        }
        handle
    }
}

/// The gateway's own health, for the buses that tell it.
pub(super) fn health(board: StatusRegistry, outbox: Arc<Outbox>) -> Health {
    Arc::new(move || {
        let cloud = board.data().cloud.clone();
        json!({
            "online": cloud.online.unwrap_or(false),
            "states_stored": cloud.states_stored,
            "outbox": OutboxStatus::of(&outbox),
        })
    })
}

fn subscriptions(sensors: &[Sensor]) -> Vec<Subscription> {
    let subscription = |sensor: &Sensor| {
        Some(Subscription { filter: sensor.topic.clone()?, retained: sensor.retained })
    };
    sensors.iter().filter_map(subscription).collect()
}
