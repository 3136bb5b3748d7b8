//! The statistics of the sensors of one bus, and which of them have changed.

use crate::sensor_stats::SensorStats;

/// The statistics by the index of the sensor.
#[derive(Debug)]
pub(super) struct StatsTable {
    stats: Vec<SensorStats>,
    is_changed: Vec<bool>,
    /// The sensors whose flag is set, in the order of their first change.
    changed: Vec<usize>,
}

impl StatsTable {
    /// Creates the table. All sensors count as changed.
    pub(super) fn new(sensors: usize) -> Self {
        Self {
            stats: vec![SensorStats::default(); sensors],
            is_changed: vec![true; sensors],
            changed: (0..sensors).collect(),
        }
    }

    /// Changes the statistics of a sensor.
    pub(super) fn change(&mut self, sensor: usize, change: impl FnOnce(&mut SensorStats)) {
        if let Some(stats) = self.stats.get_mut(sensor) {
            change(stats);
            self.mark(sensor);
        }
    }

    /// Marks a sensor as changed.
    pub(super) fn mark(&mut self, sensor: usize) {
        if let Some(is_changed @ false) = self.is_changed.get_mut(sensor) {
            *is_changed = true;
            self.changed.push(sensor);
        }
        debug_assert!(self.changed.len() <= self.stats.len(), "a sensor is marked once");
    }

    /// Takes the sensors that have changed since the last call.
    pub(super) fn take_changed(&mut self) -> Vec<usize> {
        for sensor in &self.changed {
            if let Some(is_changed) = self.is_changed.get_mut(*sensor) {
                *is_changed = false;
            }
        }
        std::mem::take(&mut self.changed)
    }

    /// Returns the statistics of a sensor.
    pub(super) fn get(&self, sensor: usize) -> Option<&SensorStats> {
        self.stats.get(sensor)
    }
}
