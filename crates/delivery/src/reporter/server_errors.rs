//! Decides whether a server error (5xx) is the trouble of one device or of the cloud.
//!
//! The rule: errors are *in a row* while no call of any device gets another answer between them.
//! - An error is the device's own as long as no other device has an error in the same row. The
//!   device waits with a back-off of its own. Another device, if one has states to send, probes at
//!   once, one call at a time; its success ends the row.
//! - Errors of two devices in one row are the cloud's: an *outage*. All devices then wait for the
//!   back-off of the link, and no device keeps a wait that the outage has caused: the first device
//!   of the row, and each device with only one error of its own, waits for the link instead. After
//!   a call that gets another answer, all lanes start at once.
//!
//! So one device with a permanent error stops no other device, and an outage is never counted
//! against a device.

use std::collections::BTreeMap;
use std::time::Instant;

use tidegate_model::DeviceId;

/// Whose trouble a server error is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cause {
    /// That of the device of the call.
    Device,
    /// That of the cloud. The waits of these devices after server errors end.
    Cloud(Vec<DeviceId>),
}

/// Follows the server errors of all devices. See the [module](self).
#[derive(Debug, Default)]
pub(super) struct ServerErrors {
    row: Option<Row>,
    is_outage: bool,
    /// The errors of each device that were its own, since its last confirmed call.
    own: BTreeMap<DeviceId, u32>,
}

/// Errors in a row.
#[derive(Debug, Clone, Copy)]
struct Row {
    /// The device of the first error.
    device: DeviceId,
    errors: u32,
    /// Until when the server asks for no further call (`Retry-After`).
    retry_at: Instant,
}

impl ServerErrors {
    /// Counts a server error of a device. `retry_at` is the end of its `Retry-After`, or now.
    pub(super) fn add(&mut self, device: DeviceId, retry_at: Instant) -> Cause {
        let mut row = self.row.unwrap_or(Row { device, errors: 0, retry_at });
        row.errors = row.errors.saturating_add(1);
        row.retry_at = row.retry_at.max(retry_at);
        self.row = Some(row);
        if self.is_outage {
            return Cause::Cloud(Vec::new());
        }
        if row.device != device {
            self.is_outage = true;
            return Cause::Cloud(self.release(row.device));
        }
        let own = self.own.entry(device).or_default();
        *own = own.saturating_add(1);
        Cause::Device
    }

    /// Forgets the errors that belong to an outage, and returns their devices.
    fn release(&mut self, first: DeviceId) -> Vec<DeviceId> {
        let (part, own) = std::mem::take(&mut self.own)
            .into_iter()
            .partition(|(device, errors)| *device == first || *errors == 1);
        self.own = own;
        BTreeMap::into_keys(part).collect()
    }

    /// Ends the row, because a call got an answer of another class.
    pub(super) fn end_row(&mut self) {
        self.row = None;
        self.is_outage = false;
    }

    /// Forgets the errors of a device whose call was confirmed.
    pub(super) fn confirm(&mut self, device: DeviceId) {
        self.own.remove(&device);
    }

    /// Returns whether the server errors are the cloud's.
    pub(super) fn is_outage(&self) -> bool {
        self.is_outage
    }

    /// Returns the number of errors in the row.
    pub(super) fn errors(&self) -> u32 {
        self.row.map_or(0, |row| row.errors)
    }

    /// Returns until when the server asks for no further call.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.row.map(|row| row.retry_at)
    }
}
