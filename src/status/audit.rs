//! The status of the audit: what was read back from Losant, and what differs there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Since, StatusData, StatusRegistry};
use tidegate_delivery::audit::{Difference, DifferenceReason, Report};
use tidegate_model::{AttributeName, DeviceId};

/// The samples without a difference after which a device has no problem. Of a loss of 1 %, a sample
/// of 100 values shows nothing in one of three cases.
const CLEAN_SAMPLES: u32 = 3;

/// The most pairs of attribute and reason that are listed for a device. Others are counted with the
/// device only.
const DIFFERENCES_MAX: usize = 50;

/// The status of the audit since the start of the daemon.
#[derive(Debug, Clone, Default, Serialize)]
pub struct AuditStatus {
    /// Samples that were compared.
    pub samples: u64,
    /// States in them.
    pub states: u64,
    /// Values in these states.
    pub values: u64,
    /// Values that Losant does not have as they were sent.
    pub differing_values: u64,
    /// The age of the last comparison; null before the first.
    #[serde(rename = "last_s")]
    pub last: Option<Since>,
    /// The same for each device that was audited, by name.
    pub devices: BTreeMap<String, DeviceAudit>,
}

/// The audit of one device since the start of the daemon.
#[derive(Debug, Clone, Default, Serialize)]
pub struct DeviceAudit {
    /// Samples that were compared.
    pub samples: u64,
    /// States in them.
    pub states: u64,
    /// States of samples that could not be read, because others write too many in between.
    pub unchecked_states: u64,
    /// Values in the states that were compared.
    pub values: u64,
    /// Values that Losant does not have as they were sent.
    pub differing_values: u64,
    /// Whether one of the last three samples had a difference.
    pub is_differing: bool,
    /// The age of the last comparison.
    #[serde(rename = "last_s")]
    pub last: Option<Since>,
    /// The differences by attribute and reason; 50 pairs at most.
    pub differences: Vec<AuditDifference>,
    /// Why states of the device cannot be read; null if they can.
    pub error: Option<String>,
    #[serde(skip)]
    clean_samples: u32,
}

/// The differences of one attribute for one reason.
#[derive(Debug, Clone, Serialize)]
pub struct AuditDifference {
    /// The attribute.
    pub attribute: AttributeName,
    /// The probable reason.
    pub reason: DifferenceReason,
    /// The number of values.
    pub values: u64,
    /// The last of them.
    pub last: Difference,
}

impl AuditStatus {
    pub(super) fn of(data: &StatusData) -> Self {
        let mut status = Self::default();
        for (id, device) in &data.audit {
            status.samples += device.samples;
            status.states += device.states;
            status.values += device.values;
            status.differing_values += device.differing_values;
            status.last = status.last.max(device.last);
            status.devices.insert(data.names.device(*id), device.clone());
        }
        status
    }

    /// Returns the devices with differences, and a sentence about each.
    pub(super) fn problems(&self) -> impl Iterator<Item = (&str, String)> {
        let differing = self.devices.iter().filter(|(_, device)| device.is_differing);
        differing.map(|(name, device)| (name.as_str(), device.detail()))
    }
}

impl DeviceAudit {
    fn record(&mut self, report: &Report) {
        let findings = &report.findings;
        self.samples += 1;
        self.states += findings.states;
        self.unchecked_states += findings.unchecked_states;
        self.values += findings.values;
        self.differing_values += findings.differences.len() as u64;
        self.last = Some(Since::now());
        self.error = None;
        if findings.differences.is_empty() {
            self.clean_samples = self.clean_samples.saturating_add(1);
            self.is_differing &= self.clean_samples < CLEAN_SAMPLES;
        } else {
            (self.clean_samples, self.is_differing) = (0, true);
        }
        for one in &findings.differences {
            let is_same = |listed: &&mut AuditDifference| {
                listed.attribute == one.attribute && listed.reason == one.reason
            };
            if let Some(listed) = self.differences.iter_mut().find(is_same) {
                listed.values += 1;
                listed.last = one.clone();
            } else if self.differences.len() < DIFFERENCES_MAX {
                let (attribute, reason) = (one.attribute.clone(), one.reason);
                let last = one.clone();
                self.differences.push(AuditDifference { attribute, reason, values: 1, last });
            }
        }
    }

    /// Returns the number of differences by reason, of those that are listed.
    pub(super) fn by_reason(&self) -> BTreeMap<DifferenceReason, u64> {
        let mut reasons = BTreeMap::new();
        for one in &self.differences {
            *reasons.entry(one.reason).or_default() += one.values;
        }
        reasons
    }

    fn detail(&self) -> String {
        let Self { values, differing_values, .. } = self;
        let most = self.differences.iter().max_by_key(|one| one.values);
        let most = most
            .map(|one| format!("; most of attribute {}: {}", one.attribute, one.reason.advice()));
        format!(
            "Losant does not have {differing_values} of {values} values as they were sent{}",
            most.unwrap_or_default()
        )
    }
}

impl StatusRegistry {
    /// Records the result of a sample.
    pub fn record_audit(&self, report: &Report) {
        self.data().audit.entry(report.device).or_default().record(report);
    }

    /// Records why the states of a device cannot be read.
    pub fn record_audit_error(&self, device: DeviceId, error: &dyn std::error::Error) {
        let mut data = self.data();
        data.audit.entry(device).or_default().error = Some(error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_delivery::audit::{DifferenceKind, Findings};
    use tidegate_model::WallTime;

    fn report(differences: usize) -> Report {
        let difference = Difference {
            time: WallTime::EPOCH,
            attribute: "t".parse().unwrap(),
            kind: DifferenceKind::MissingValue,
            reason: DifferenceReason::Lost,
            sent: "1".to_owned(),
            read: None,
        };
        let differences = vec![difference; differences];
        let findings = Findings { states: 10, values: 10, unchecked_states: 0, differences };
        Report { device: DeviceId::from([1; 12]), findings }
    }

    #[test]
    fn problem_ends_after_three_clean_samples() {
        let mut audit = DeviceAudit::default();
        let differs: Vec<_> = [0, 2, 0, 0, 1, 0, 0, 0]
            .into_iter()
            .map(|differences| {
                audit.record(&report(differences));
                audit.is_differing
            })
            .collect();
        assert_eq!(differs, [false, true, true, true, true, true, true, false]);
        assert_eq!((audit.samples, audit.values, audit.differing_values), (8, 80, 3));
        assert_eq!(audit.by_reason(), [(DifferenceReason::Lost, 3)].into());
    }
}
