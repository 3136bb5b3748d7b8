//! Finds buses and devices by the names that sensors and actuators use.

use std::collections::BTreeMap;

use crate::Bus;
use crate::check::{Check, report_unknown_name};
use tidegate_model::{DeviceId, Name};

/// The name of the gateway device.
pub(super) const GATEWAY: &str = "gateway";

pub(super) fn find_bus<'a>(
    key: &str,
    name: &str,
    buses: &'a BTreeMap<Name, Bus>,
    check: &mut Check<'_>,
) -> Option<&'a Bus> {
    if !buses.contains_key(name) {
        report_unknown_name(&format!("{key}.bus"), "bus", name, buses.keys(), check);
    }
    buses.get(name)
}

pub(super) fn find_device(
    key: &str,
    name: &str,
    devices: &BTreeMap<Name, DeviceId>,
    check: &mut Check<'_>,
) -> Option<DeviceId> {
    if !devices.contains_key(name) {
        report_unknown_name(key, "device", name, devices.keys(), check);
    }
    devices.get(name).copied()
}
