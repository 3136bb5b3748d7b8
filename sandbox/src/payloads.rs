//! The payloads of a device by hour, as Losant counts them for billing.
//!
//! A state report, a command, a connection and a disconnection are one payload each, over REST too
//! (organizations/resource-limits). Each state in an array counts; Losant does not document this.
//! Removing the data of a device does not change its counts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The kind of a payload (schema `devicePayloadCounts`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Connect,
    Disconnect,
    State,
}

/// The payload counts of one device and period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    device_command: u64,
    device_connect: u64,
    device_disconnect: u64,
    device_state: u64,
    /// Always 0: the sandbox has no MQTT.
    mqtt_in: u64,
    /// Always 0: the sandbox has no MQTT.
    mqtt_out: u64,
}

impl Counts {
    pub(crate) fn total(&self) -> u64 {
        let Self {
            device_command,
            device_connect,
            device_disconnect,
            device_state,
            mqtt_in,
            mqtt_out,
        } = self;
        device_command + device_connect + device_disconnect + device_state + mqtt_in + mqtt_out
    }

    fn add(&mut self, other: &Self) {
        self.device_command += other.device_command;
        self.device_connect += other.device_connect;
        self.device_disconnect += other.device_disconnect;
        self.device_state += other.device_state;
        self.mqtt_in += other.mqtt_in;
        self.mqtt_out += other.mqtt_out;
    }
}

/// The counts of one device by the hour of arrival.
#[derive(Debug, Default)]
pub(crate) struct Payloads(BTreeMap<i64, Counts>);

impl Payloads {
    pub(crate) fn count(&mut self, kind: Kind, at_ms: i64) {
        let counts = self.hour(at_ms);
        match kind {
            Kind::Command => counts.device_command += 1,
            Kind::Connect => counts.device_connect += 1,
            Kind::Disconnect => counts.device_disconnect += 1,
            Kind::State => counts.device_state += 1,
        }
        while self.0.len() > HOURS_MAX {
            self.0.pop_first();
        }
    }

    /// Adds the counts of an hour from the journal.
    pub(crate) fn restore(&mut self, hour_ms: i64, counts: &Counts) {
        self.hour(hour_ms).add(counts);
    }

    fn hour(&mut self, at_ms: i64) -> &mut Counts {
        self.0.entry(floor(at_ms, HOUR_MS)).or_default()
    }

    pub(crate) fn hours(&self) -> impl Iterator<Item = (i64, Counts)> {
        self.0.iter().map(|(hour_ms, counts)| (*hour_ms, *counts))
    }

    /// Returns the sum over all hours that overlap the start of the period or begin in it.
    pub(crate) fn sum(&self, start_ms: i64, end_ms: i64) -> Counts {
        let mut sum = Counts::default();
        for (_, counts) in self.between(start_ms, end_ms) {
            sum.add(counts);
        }
        sum
    }

    /// Returns the total of each span of `resolution_ms` that has payloads, by its start in UTC.
    pub(crate) fn breakdown(
        &self,
        start_ms: i64,
        end_ms: i64,
        resolution_ms: i64,
    ) -> BTreeMap<i64, u64> {
        let mut totals = BTreeMap::new();
        for (hour_ms, counts) in self.between(start_ms, end_ms) {
            *totals.entry(floor(*hour_ms, resolution_ms)).or_default() += counts.total();
        }
        totals
    }

    fn between(&self, start_ms: i64, end_ms: i64) -> impl Iterator<Item = (&i64, &Counts)> {
        let start_ms = floor(start_ms, HOUR_MS);
        self.0.range(start_ms..).take_while(move |(hour_ms, _)| **hour_ms <= end_ms)
    }
}

fn floor(time_ms: i64, unit_ms: i64) -> i64 {
    time_ms.saturating_sub(time_ms.rem_euclid(unit_ms))
}

/// The finest resolution of payloadCountsBreakdown (rest-api/device).
pub(crate) const HOUR_MS: i64 = 3_600_000;
/// The default resolution of payloadCountsBreakdown (rest-api/device).
pub(crate) const DAY_MS: i64 = 24 * HOUR_MS;
/// Hours with payloads that are kept for each device: one year.
const HOURS_MAX: usize = 366 * 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_payloads_by_kind_over_a_period() {
        let mut payloads = Payloads::default();
        payloads.count(Kind::State, 10);
        payloads.count(Kind::State, HOUR_MS + 10);
        payloads.count(Kind::Command, HOUR_MS + 20);
        payloads.count(Kind::Connect, 3 * HOUR_MS);
        let sum = payloads.sum(HOUR_MS + 15, 3 * HOUR_MS - 1);
        assert_eq!(sum, Counts { device_state: 1, device_command: 1, ..Counts::default() });
    }

    #[test]
    fn breakdown_has_a_total_per_span() {
        let mut payloads = Payloads::default();
        for at_ms in [1, HOUR_MS, DAY_MS - 1, 2 * DAY_MS] {
            payloads.count(Kind::State, at_ms);
        }
        let by_day = payloads.breakdown(0, 3 * DAY_MS, DAY_MS);
        assert_eq!(by_day, BTreeMap::from([(0, 3), (2 * DAY_MS, 1)]));
        assert_eq!(payloads.breakdown(0, HOUR_MS, HOUR_MS).len(), 2);
    }

    #[test]
    fn removes_the_oldest_hours() {
        let mut payloads = Payloads::default();
        for hour in 0..=HOURS_MAX {
            payloads.count(Kind::State, i64::try_from(hour).unwrap() * HOUR_MS);
        }
        assert_eq!(payloads.hours().count(), HOURS_MAX);
        assert_eq!(payloads.sum(0, HOUR_MS - 1), Counts::default());
    }
}
