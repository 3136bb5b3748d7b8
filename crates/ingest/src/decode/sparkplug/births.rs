//! What births told: the names and types behind aliases, for as long as the memory has room.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::DecodeError;
use super::wire::Metric;
use tidegate_model::excerpt::excerpt;

/// The most that the births of one node take, in bytes: some 15,000 metrics with names of 40 bytes.
const NODE_BYTES_MAX: usize = 2 << 20;

/// The most that all births of a bus take, in bytes. Beyond it the node whose birth is the oldest is forgotten.
const BYTES_MAX: usize = 16 << 20;

/// What a name and an alias take in memory beside the letters, in bytes, about.
const ENTRY_BYTES: usize = 96;

/// A node, or a device of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) group: &'a str,
    pub(super) node: &'a str,
    /// Empty for the node itself.
    pub(super) device: &'a str,
}

/// All births that were heard on a bus.
#[derive(Debug, Default)]
pub struct Births {
    /// By `GROUP/NODE`.
    nodes: BTreeMap<String, Node>,
    bytes: usize,
    /// Counts births, to tell which is the oldest.
    count: u64,
}

#[derive(Debug, Default)]
struct Node {
    /// By the device; the node's own under the empty name.
    births: BTreeMap<String, Birth>,
    bytes: usize,
    number: u64,
}

/// What one birth declares.
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
    /// Forgets all: who was not listening may have missed a birth, and an alias may mean another metric since.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Takes a birth in place of the earlier one; that of a node ends those of its devices, too.
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
            let forgotten = self.nodes.remove(&oldest).unwrap_or_default();
            self.bytes -= forgotten.bytes;
        }
        if is_small {
            return Ok(());
        }
        Err(DecodeError::BirthTooLarge { node: source.shown(), bytes_max: NODE_BYTES_MAX })
    }

    /// The name of a metric and its type, which it may say itself.
    pub(super) fn identify<'a>(
        &'a self,
        source: Source<'_>,
        metric: &'a Metric,
    ) -> Result<(&'a str, Option<u32>), DecodeError> {
        let node = self.nodes.get(&source.key());
        let birth = node.and_then(|node| node.births.get(source.device));
        let unknown = |metric| DecodeError::NoBirth { metric, node: source.shown() };
        let name = match (metric.name.as_deref(), metric.alias) {
            (Some(name), _) if !name.is_empty() => name,
            (_, Some(alias)) => birth
                .and_then(|birth| birth.aliases.get(&alias))
                .ok_or_else(|| unknown(format!("alias {alias}")))?,
            (_, None) => {
                let problem = "a metric has neither name nor alias".to_owned();
                return Err(DecodeError::NotSparkplug { problem });
            }
        };
        let own = metric.datatype.filter(|datatype| *datatype != 0);
        let told = birth.and_then(|birth| birth.types.get(name));
        if own.is_none() && told.is_none() && metric.is_whole() {
            // It may be signed.
            return Err(unknown(format!("metric {}", excerpt(name.as_bytes()))));
        }
        Ok((name, own.or(told.copied().flatten())))
    }
}

impl Source<'_> {
    fn key(self) -> String {
        format!("{}/{}", self.group, self.node)
    }

    fn shown(self) -> String {
        excerpt(format!("{}/{} {}", self.group, self.node, self.device).trim_end().as_bytes())
    }
}
