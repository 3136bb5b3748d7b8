//! The blocks that downsampling must not touch.
//!
//! Two kinds: blocks with states that the reporter read, because Losant would get these states
//! twice; and blocks from which downsampling gained nothing, so that it does not read them again.

use std::collections::{BTreeMap, BTreeSet};

use super::index::{BlockKey, Index, IndexEntry};
use super::ranges::SequenceRange;
use tidegate_model::DeviceId;

/// The batches that are remembered for each device. The reporter never has more in flight.
const IN_FLIGHT_MAX: usize = 8;

/// The blocks that downsampling must not touch.
#[derive(Debug, Default)]
pub(super) struct Exclusions {
    /// Blocks that downsampling cannot make smaller.
    incompressible: BTreeSet<BlockKey>,
    /// The batches that the reporter read, newest last.
    in_flight: BTreeMap<DeviceId, Vec<SequenceRange>>,
}

impl Exclusions {
    /// Records a batch that the reporter read.
    pub(super) fn add_in_flight(&mut self, device: DeviceId, range: SequenceRange) {
        let in_flight = self.in_flight.entry(device).or_default();
        in_flight.retain(|one| *one != range);
        in_flight.push(range);
        if in_flight.len() > IN_FLIGHT_MAX {
            in_flight.remove(0);
        }
    }

    /// Records blocks that downsampling cannot make smaller. Forgets removed blocks from time to
    /// time.
    pub(super) fn add_incompressible(&mut self, blocks: &[IndexEntry], index: &Index) {
        if self.incompressible.len() > 2 * index.len() {
            self.incompressible.retain(|key| index.has_any(key.device, key.first, key.first));
        }
        self.incompressible.extend(blocks.iter().map(|entry| entry.key));
    }

    /// Returns whether downsampling must not touch a block.
    pub(super) fn contains(&self, IndexEntry { key, meta }: &IndexEntry) -> bool {
        let overlaps = |range: &SequenceRange| range.first <= meta.last && key.first <= range.last;
        let mut in_flight = self.in_flight.get(&key.device).into_iter().flatten();
        in_flight.any(overlaps) || self.incompressible.contains(key)
    }
}
