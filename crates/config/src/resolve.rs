//! Validates the raw configuration, resolves it, and collects all problems.

mod actuator;
mod cloud;
mod command;
mod names;
mod proxy;
mod sensor;
mod templates;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::bus::{self, Bus, BusKind};
use super::check::{Check, Purpose, choice, listen, seconds};
use super::field::Field;
use super::key::join;
use super::option_info::OptionInfos;
use super::raw::{self, Raw};
use super::{Config, OutboxSettings, Problems};
use actuator::World;
use names::GATEWAY;
use tidegate_delivery::audit;
use tidegate_delivery::reporter::Limits;
use tidegate_model::{DeviceId, Name, WhenFull};
use tidegate_timing::clock_trust::TrustMode;

/// The range of states in one call. Losant documents no limit (schema `deviceStates`).
const BATCH_STATES_RANGE: RangeInclusive<i64> = 1..=500;

/// The range of bytes in one call: below the 256 KiB that Losant documents for an MQTT message.
const BATCH_BYTES_RANGE: RangeInclusive<u64> = 1_000..=256_000;

pub use cloud::KEEP_ALIVE_RANGE;

/// Resolves everything. Returns `None` only if there is at least one problem.
pub(super) fn resolve(
    raw: Raw,
    file: &Path,
    purpose: Purpose,
    problems: &mut Problems,
    options: &mut OptionInfos,
) -> Option<Config> {
    let directory = std::path::absolute(file).ok()?.parent()?.to_owned();
    let mut check = Check { problems, options, purpose, directory: &directory };
    let needs_commands = !raw.actuator.is_empty();
    let cloud = cloud::cloud(raw.losant, needs_commands, &mut check);
    let gateway = cloud.as_ref().map(|cloud| cloud.device);
    let devices = devices(gateway, raw.device, &mut check);
    let mut buses = bus::resolve(raw.bus, gateway, &mut check);
    let users = raw.sensor.values().map(|sensor| &sensor.bus);
    let users = users.chain(raw.actuator.values().map(|actuator| &actuator.bus));
    let used = users.flatten().map(|bus| bus.0.clone()).collect();
    idle_buses(&buses, &used, needs_commands, &mut check);
    idle_units(&buses, &raw.actuator, &mut check);
    for (name, sensor) in raw.sensor {
        sensor::sensor(&name, sensor, &mut buses, &devices, &mut check);
    }
    sensor::check_conflicts(&buses, &mut check);
    let timeout = raw.commands.timeout.as_ref().map(|field| field.0);
    let actuators = actuator::actuators(
        raw.actuator,
        timeout,
        World { buses: &buses, devices: &devices },
        &mut check,
    );
    actuator::subscribe_to_replies(&actuators, &mut buses);
    let reporter = reporter(raw.reporter, &mut check);
    let audit = audit(raw.audit, &mut check);
    let clock_trust = clock_trust(raw.clock, &mut check);
    let commands = command::commands(raw.commands, gateway, &mut check);
    let stop_timeout =
        check.duration("daemon.stop_timeout", raw.daemon.stop_timeout, &seconds(1..=600));
    let log_level = log_level(raw.log, &mut check);
    let status_listen = status_listen(&raw.status, &mut check);
    let status_socket = raw.status.socket.map(|socket| check.path(&socket.0));
    let outbox = outbox(raw.outbox, &mut check);
    Some(Config {
        cloud: cloud?,
        devices,
        outbox: outbox?,
        reporter,
        audit,
        clock_trust,
        commands,
        buses,
        actuators,
        stop_timeout,
        log_level,
        status_socket: status_socket?,
        status_listen,
        warnings: Vec::new(),
    })
}

fn reporter(raw: raw::Reporter, check: &mut Check<'_>) -> Limits {
    let states_max =
        check.integer("reporter.batch_states_max", raw.batch_states_max, 100, &BATCH_STATES_RANGE);
    let bytes_max =
        check.bytes("reporter.batch_size_max", raw.batch_size_max, 200_000, &BATCH_BYTES_RANGE);
    let retry_min_range = Duration::from_millis(10)..=Duration::from_secs(60);
    Limits {
        batch_states_max: usize::try_from(states_max).unwrap_or(1),
        batch_bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
        batch_age_max: check.duration(
            "reporter.batch_age_max",
            raw.batch_age_max,
            &seconds(0..=3_600),
        ),
        merge_window: check.duration("reporter.merge_window", raw.merge_window, &seconds(0..=60)),
        backfill_meta: raw.backfill_meta.is_some_and(|flag| flag.0),
        retry_min: check.duration("reporter.retry_min", raw.retry_min, &retry_min_range),
        retry_max: check.duration(
            "reporter.retry_max",
            raw.retry_max,
            &(Duration::from_millis(10)..=Duration::from_secs(3_600)),
        ),
    }
}

fn audit(raw: raw::Audit, check: &mut Check<'_>) -> audit::Settings {
    audit::Settings {
        is_enabled: raw.enabled.is_none_or(|flag| flag.0),
        interval: check.duration("audit.interval", raw.interval, &seconds(1..=604_800)),
        delay: check.duration("audit.delay", raw.delay, &seconds(1..=3_600)),
    }
}

fn clock_trust(raw: raw::Clock, check: &mut Check<'_>) -> TrustMode {
    let words = [("auto", TrustMode::Auto), ("always", TrustMode::Always)];
    choice("clock.trust", raw.trust, check, &words).unwrap_or(TrustMode::Auto)
}

/// Resolves the address of the status over TCP. An address that other computers can reach needs
/// `listen_public`, because there is no password.
fn status_listen(raw: &raw::Status, check: &mut Check<'_>) -> Option<SocketAddr> {
    const KEY: &str = "status.listen";
    let listen = listen(KEY, &raw.listen.as_ref()?.0, check)?;
    if !listen.ip().is_loopback() && !raw.listen_public.as_ref().is_some_and(|public| public.0) {
        let fix = "use 127.0.0.1 or [::1], or confirm it: listen_public = true";
        check.problems.add(KEY, format!("{listen} can be reached by other computers"), fix);
    }
    Some(listen)
}

fn devices(
    gateway: Option<DeviceId>,
    raw: BTreeMap<String, raw::Device>,
    check: &mut Check<'_>,
) -> BTreeMap<Name, DeviceId> {
    let (mut devices, mut names) = (BTreeMap::new(), BTreeMap::<DeviceId, Name>::new());
    if let Ok(name) = GATEWAY.parse::<Name>() {
        // An invalid id is reported already; sensors are not reported for it.
        let id = gateway.unwrap_or_else(|| DeviceId::from([0; 12]));
        names.insert(id, name.clone());
        devices.insert(name, id);
    }
    for (name, device) in raw {
        let key = join("device", &name);
        if name == GATEWAY {
            check.problems.add(
                key,
                "the gateway is set by losant.device_id",
                "remove this table, or name it otherwise",
            );
            continue;
        }
        let name: Option<Name> = check.parsed(&key, &name);
        let key = format!("{key}.id");
        let id = check.required(&key, device.id, "copy the peripheral's Device ID from Losant");
        let id: Option<DeviceId> = id.and_then(|text| check.parsed(&key, &text));
        let (Some(name), Some(id)) = (name, id) else { continue };
        match names.entry(id) {
            Entry::Occupied(other) => {
                let what = format!("is also the id of {}", other.get());
                check.problems.add(key, what, "give each device one name");
            }
            Entry::Vacant(free) => drop(free.insert(name.clone())),
        }
        devices.insert(name, id);
    }
    devices
}

fn outbox(raw: raw::Outbox, check: &mut Check<'_>) -> Option<OutboxSettings> {
    let path = check.path(&raw.path?.0);
    let commit_range = Duration::from_millis(10)..=Duration::from_secs(60);
    let policies = [
        ("drop-oldest", WhenFull::DropOldest),
        ("drop-newest", WhenFull::DropNewest),
        ("downsample", WhenFull::Downsample),
    ];
    let sync_range = Duration::ZERO..=Duration::from_secs(60);
    let bucket_range = Duration::from_secs(1)..=Duration::from_secs(86_400);
    // Losant silently ignores what is older than 30 days (rest-api/device, "Send State").
    let age_range = Duration::from_secs(3_600)..=Duration::from_secs(30 * 86_400);
    Some(OutboxSettings {
        path,
        bytes_max: check.bytes("outbox.size_max", raw.size_max, 0, &(1 << 20..=1 << 40)),
        when_full: choice("outbox.when_full", raw.when_full, check, &policies).unwrap_or_default(),
        downsample_bucket: check.duration(
            "outbox.downsample_bucket",
            raw.downsample_bucket,
            &bucket_range,
        ),
        age_max: check.duration("outbox.age_max", raw.age_max, &age_range),
        free_bytes_min: check.bytes("outbox.free_min", raw.free_min, 0, &(0..=1 << 40)),
        commit_interval: check.duration(
            "outbox.commit_interval",
            raw.commit_interval,
            &commit_range,
        ),
        sync_interval: check.duration("outbox.sync_interval", raw.sync_interval, &sync_range),
    })
}

fn log_level(raw: raw::Log, check: &mut Check<'_>) -> String {
    let level = raw.level.map_or_else(|| "info".to_owned(), |level| level.0);
    if let Err(error) = tracing_subscriber::EnvFilter::try_new(&level) {
        let fix =
            "use error, warn, info, debug or trace, or a directive: \"info,tidegate::bus=debug\"";
        check.problems.add("log.level", error, fix);
    }
    level
}

/// Reports buses that nothing uses, which are mostly mistakes, and a configuration without a bus.
fn idle_buses(
    buses: &BTreeMap<Name, Bus>,
    used: &BTreeSet<String>,
    has_actuators: bool,
    check: &mut Check<'_>,
) {
    if buses.is_empty() && !has_actuators && !check.problems.may_be_misnamed("bus", None) {
        let fix = "add one, such as [bus.serial.probe] or [bus.mqtt.house]";
        check.problems.add("bus", "there is no bus", fix);
    }
    if check.purpose == Purpose::Discover {
        return;
    }
    let may_be_used = ["sensor", "actuator"];
    if may_be_used.iter().any(|kind| check.problems.may_be_misnamed(kind, None)) {
        // Its user may be in a table whose name is wrong.
        return;
    }
    for (name, bus) in buses.iter().filter(|(name, _)| !used.contains(&***name)) {
        let fix = format!("add a sensor or an actuator with bus = \"{name}\", or remove the bus");
        let kind = bus.kind.word();
        check.problems.add(format!("bus.{kind}.{name}"), "nothing uses this bus", fix);
    }
}

/// Reports Modbus units that are neither read nor written.
fn idle_units(
    buses: &BTreeMap<Name, Bus>,
    actuators: &BTreeMap<String, raw::Actuator>,
    check: &mut Check<'_>,
) {
    let is_written = |bus: &Name, unit: &Name| {
        let names = |field: &Option<Field<String>>, name: &Name| {
            field.as_ref().is_some_and(|field| field.0 == **name)
        };
        actuators.values().any(|raw| names(&raw.bus, bus) && names(&raw.unit, unit))
    };
    for (name, bus) in buses {
        let BusKind::Modbus(line) = &bus.kind else { continue };
        for unit in line.units.iter().filter(|unit| unit.registers.is_empty()) {
            let key = format!("bus.modbus.{name}.unit.{}.registers", unit.name);
            let is_explained = check.problems.has_error_below(&key);
            if !is_explained && !is_written(name, &unit.name) {
                let fix =
                    "add registers to read: registers = [{ channel = \"power\", address = 0 }]";
                check.problems.add(key, "is missing or empty, and no actuator writes to it", fix);
            }
        }
    }
}
