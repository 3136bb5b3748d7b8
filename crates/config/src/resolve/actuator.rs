//! Actuators: the tables `[actuator.…]`.

mod argument;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::names::{GATEWAY, find_device};
use crate::check::{Check, seconds};
use crate::field::Field;
use crate::key::join;
use crate::{Bus, BusKind, raw};
use tidegate_commands::actuator::{Actuator, MqttTemplate, WriteTemplate};
use tidegate_commands::failsafe::Failsafe;
use tidegate_model::{Command, DeviceId, Name};
use tidegate_timing::rate_limit::RateLimit;

/// The maximum length of the name of a command in characters (Losant's schema `deviceCommand`).
const COMMAND_LENGTH_MAX: usize = 255;

/// The range of runs in a window. The times of the runs are kept in memory.
const RATE_RANGE: std::ops::RangeInclusive<i64> = 1..=100_000;

/// The default of the runs in a minute.
const RATE_DEFAULT: i64 = 120;

type Devices = BTreeMap<Name, DeviceId>;

/// What an actuator can refer to.
#[derive(Clone, Copy)]
pub(super) struct World<'a> {
    pub(super) buses: &'a BTreeMap<Name, Bus>,
    pub(super) devices: &'a Devices,
}

/// Resolves all actuators. A command of a device can have only one actuator.
pub(super) fn actuators(
    raw: BTreeMap<String, raw::Actuator>,
    timeout: Option<Duration>,
    world: World<'_>,
    check: &mut Check<'_>,
) -> Vec<Actuator> {
    let mut taken = BTreeSet::new();
    let mut actuators = Vec::new();
    for (name, raw) in raw {
        let key = join("actuator", &name);
        let Some(actuator) = actuator(&name, raw, timeout, world, check) else { continue };
        if !taken.insert((actuator.device, actuator.command.clone())) {
            let fix = "give each command of a device one actuator";
            check.problems.add(
                format!("{key}.command"),
                "another actuator has the same command",
                fix,
            );
        }
        actuators.push(actuator);
    }
    actuators
}

/// Adds the reply topics of actuators to the MQTT buses.
pub(super) fn subscribe_to_replies(actuators: &[Actuator], buses: &mut BTreeMap<Name, Bus>) {
    for Actuator { bus, write, .. } in actuators {
        let bus = bus.as_ref().and_then(|name| buses.get_mut(name));
        let WriteTemplate::Mqtt(MqttTemplate { reply: Some(reply), .. }) = write else { continue };
        let Some(Bus { kind: BusKind::Mqtt(session), .. }) = bus else { continue };
        if !session.replies.contains(&reply.topic) {
            session.replies.push(reply.topic.clone());
        }
    }
}

fn actuator(
    name: &str,
    mut raw: raw::Actuator,
    timeout: Option<Duration>,
    world: World<'_>,
    check: &mut Check<'_>,
) -> Option<Actuator> {
    let key = join("actuator", name);
    let actuator_name: Option<Name> = check.parsed(&key, name);
    let command = command(&key, raw.command.take(), check);
    let device_key = format!("{key}.device");
    let device = check.or_default(&device_key, raw.device.take(), GATEWAY.to_owned());
    let device = find_device(&device_key, &device, world.devices, check);
    let arguments = argument::arguments(&key, std::mem::take(&mut raw.argument), check);
    let rate_key = format!("{key}.rate_max");
    let runs_max = check.integer(&rate_key, raw.rate_max.take(), RATE_DEFAULT, &RATE_RANGE);
    let window = raw.rate_window.take().or(Some(Field(Duration::from_secs(60))));
    let window = check.duration(&format!("{key}.rate_window"), window, &seconds(1..=86_400));
    let rate = RateLimit { runs_max: usize::try_from(runs_max).unwrap_or(1), window };
    let timeout = raw.timeout.take().or(timeout.map(Field));
    let timeout = check.duration(&format!("{key}.timeout"), timeout, &seconds(1..=300));
    let safety = Safety {
        payload: raw.safe.take().map(|field| field.0),
        offline: raw.safe_when_offline.take().map(|field| field.0),
        at_stop: raw.safe_at_stop.take().is_some_and(|field| field.0),
        max_on_time: raw.max_on_time.take().map(|field| field.0),
    };
    let (bus, write) = write::write(&key, raw, &arguments, world.buses, check)?;
    let mut actuator = Actuator {
        name: actuator_name?,
        device: device?,
        command: command?,
        bus,
        write,
        arguments,
        rate,
        timeout,
        failsafe: None,
    };
    actuator.failsafe = safety.resolve(&key, &actuator, check);
    Some(actuator)
}

fn command(key: &str, field: Option<Field<String>>, check: &mut Check<'_>) -> Option<String> {
    let command = field.map(|field| field.0);
    let length = command.as_ref().map_or(0, |command| command.chars().count());
    if !(1..=COMMAND_LENGTH_MAX).contains(&length) {
        let fix = "name the Losant command, 1 to 255 characters: command = \"…\"";
        check.problems.add(format!("{key}.command"), "is missing, empty or too long", fix);
    }
    command
}

/// The options of a safe write as they are written.
struct Safety {
    payload: Option<String>,
    offline: Option<Duration>,
    at_stop: bool,
    max_on_time: Option<Duration>,
}

impl Safety {
    /// Resolves the safe write: the write of a command with this payload.
    fn resolve(self, key: &str, actuator: &Actuator, check: &mut Check<'_>) -> Option<Failsafe> {
        let Self { payload, offline, at_stop, max_on_time } = self;
        let is_used = offline.is_some() || at_stop || max_on_time.is_some();
        let safe_key = format!("{key}.safe");
        let text = match (payload, is_used) {
            (Some(text), true) => text,
            (None, false) => return None,
            (Some(_), false) => {
                let fix = "add safe_when_offline, safe_at_stop or max_on_time";
                check.problems.add(safe_key, "is never used", fix);
                return None;
            }
            (None, true) => {
                let fix = "give the payload of a command that is safe: safe = '{\"on\": false}'";
                check.problems.add(safe_key, "is missing", fix);
                return None;
            }
        };
        let range = Duration::from_millis(100)..=Duration::from_secs(604_800);
        for (name, duration) in [("safe_when_offline", offline), ("max_on_time", max_on_time)] {
            if duration.is_some() {
                check.duration(&format!("{key}.{name}"), duration.map(Field), &range);
            }
        }
        let payload = serde_json::from_str(&text).map_err(|error| {
            let fix = "write it as JSON: safe = '{\"on\": false}'";
            check.problems.add(&safe_key, error, fix);
        });
        let (device, name) = (actuator.device, actuator.command.clone());
        let command = Command { device, name, time: None, payload: payload.ok()?, unread: None };
        if let Err(error) = actuator.arguments.check(&command.payload, &[]) {
            check.problems.add(&safe_key, error, "give it the arguments of the command");
        }
        match actuator.write_for(&command) {
            Ok(write) => Some(Failsafe { write, offline_after: offline, at_stop, max_on_time }),
            Err(error) => {
                check.problems.add(safe_key, error, "give what the templates name");
                None
            }
        }
    }
}
