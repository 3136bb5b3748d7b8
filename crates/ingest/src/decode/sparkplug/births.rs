//! Birth certificates: the names and types of metrics, within a memory limit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::error::DecodeError;
use super::wire::Metric;
use tidegate_model::excerpt::excerpt;

/// The memory limit for the births of one node in bytes: about 15,000 metrics with 40-byte names.
const NODE_BYTES_MAX: usize = 2 << 20;

/// The memory limit for all births of a bus in bytes. Above it, the oldest node is removed.
const BYTES_MAX: usize = 16 << 20;

/// The approximate memory of a name and an alias in bytes, without the text.
const ENTRY_BYTES: usize = 96;

/// A node, or one of its devices.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) group: &'a str,
    pub(super) node: &'a str,
    /// Empty for the node itself.
    pub(super) device: &'a str,
}

/// The last birth certificates of all nodes and devices on a bus.
#[derive(Debug, Default)]
pub struct Births {
    /// The key is `GROUP/NODE`.
    nodes: BTreeMap<String, Node>,
    bytes: usize,
    /// The number of births so far.
    count: u64,
}

#[derive(Debug, Default)]
struct Node {
    /// The key is the device, and empty for the node itself.
    births: BTreeMap<String, Birth>,
    bytes: usize,
    /// The number of the last birth. The oldest node has the lowest number.
    number: u64,
}

/// The names, types and aliases of one birth certificate.
#[derive(Debug, Default)]
pub(super) struct Birth {
    types: BTreeMap<Arc<str>, Option<u32>>,
    aliases: BTreeMap<u64, Arc<str>>,
    bytes: usize,
}

impl Birth {
    pub(super) fn declare(&mut self, name: &str, alias: Option<u64>, datatype: Option<u32>) {
        let name: Arc<str> = name.into();
        self.bytes += name.len() + ENTRY_BYTES;
        self.aliases.extend(alias.map(|alias| (alias, Arc::clone(&name))));
        self.types.insert(name, datatype);
    }
}

impl Births {
    /// Removes all births. After a disconnect an alias may have another meaning.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Replaces the birth of a source. The birth of a node also removes those of its devices.
    pub(super) fn insert(&mut self, source: Source<'_>, birth: Birth) -> Result<(), DecodeError> {
        let key = source.key();
        let own_bytes = key.len() + source.device.len() + ENTRY_BYTES;
        let mut node = self.nodes.remove(&key).unwrap_or_default();
        self.bytes -= node.bytes;
        if source.device.is_empty() {
            node = Node::default();
        } else if let Some(old) = node.births.remove(source.device) {
            node.bytes -= old.bytes + own_bytes;
        }
        let bytes = birth.bytes + own_bytes;
        let is_small = node.bytes + bytes <= NODE_BYTES_MAX;
        if is_small {
            node.bytes += bytes;
            node.births.insert(source.device.to_owned(), birth);
        }
        self.count += 1;
        node.number = self.count;
        self.bytes += node.bytes;
        self.nodes.insert(key, node);
        while self.bytes > BYTES_MAX {
            let oldest = self.nodes.iter().min_by_key(|(_, node)| node.number);
            let Some(oldest) = oldest.map(|(key, _)| key.clone()) else { break };
            let removed = self.nodes.remove(&oldest).unwrap_or_default();
            self.bytes -= removed.bytes;
        }
        debug_assert_eq!(
            self.bytes,
            self.nodes.values().map(|node| node.bytes).sum::<usize>(),
            "the sum of the nodes' bytes"
        );
        if is_small {
            return Ok(());
        }
        Err(DecodeError::BirthTooLarge { node: source.label(), bytes_max: NODE_BYTES_MAX })
    }

    /// Returns the name and the type of a metric, from the metric or from its birth.
    pub(super) fn identify<'a>(
        &'a self,
        source: Source<'_>,
        metric: &'a Metric,
    ) -> Result<(&'a str, Option<u32>), DecodeError> {
        let node = self.nodes.get(&source.key());
        let birth = node.and_then(|node| node.births.get(source.device));
        let no_birth = |metric| DecodeError::NoBirth { metric, node: source.label() };
        let name = match (metric.name.as_deref(), metric.alias) {
            (Some(name), _) if !name.is_empty() => name,
            (_, Some(alias)) => birth
                .and_then(|birth| birth.aliases.get(&alias))
                .ok_or_else(|| no_birth(format!("alias {alias}")))?,
            (_, None) => {
                let problem = "a metric has neither name nor alias";
                return Err(DecodeError::InvalidSparkplug { problem });
            }
        };
        let own = metric.datatype.filter(|datatype| *datatype != 0);
        let declared = birth.and_then(|birth| birth.types.get(name));
        if own.is_none() && declared.is_none() && metric.is_integer() {
            // Without its type, the integer may be signed or unsigned.
            return Err(no_birth(format!("metric {}", excerpt(name.as_bytes()))));
        }
        Ok((name, own.or(declared.copied().flatten())))
    }
}

impl Source<'_> {
    fn key(self) -> String {
        format!("{}/{}", self.group, self.node)
    }

    fn label(self) -> String {
        excerpt(format!("{}/{} {}", self.group, self.node, self.device).trim_end().as_bytes())
    }
}
