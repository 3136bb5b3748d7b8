//! Finds the sensors that read a topic, without asking each sensor.

use std::collections::BTreeMap;

use super::settings::Sensor;
#[cfg(doc)]
use tidegate_model::topic::TopicFilter;

/// The sensors of one bus by their topic filters.
///
/// The levels of all filters form a tree. Its nodes are in one list, so that a filter with tens of
/// thousands of levels needs no deep stack.
#[derive(Debug)]
pub(super) struct TopicIndex {
    /// The sensors that read all messages.
    unfiltered: Vec<usize>,
    /// The root is the first node.
    nodes: Vec<Node>,
}

/// The filters that begin with the same levels.
#[derive(Debug, Default)]
struct Node {
    /// The nodes of the next level.
    children: BTreeMap<Box<str>, usize>,
    /// The node of a next level that is `+`.
    any: Option<usize>,
    /// The sensors whose filter ends here.
    ends: Vec<usize>,
    /// The sensors whose filter ends with `#` in the next level.
    rest: Vec<usize>,
}

impl TopicIndex {
    /// Creates the index of these sensors.
    pub(super) fn new(sensors: &[Sensor]) -> Self {
        let mut index = Self { unfiltered: Vec::new(), nodes: vec![Node::default()] };
        for (number, sensor) in sensors.iter().enumerate() {
            match &sensor.topic {
                Some(filter) => index.insert(filter.as_str(), number),
                None => index.unfiltered.push(number),
            }
        }
        index
    }

    fn insert(&mut self, filter: &str, sensor: usize) {
        let mut at = 0;
        for level in filter.split('/') {
            let next = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return };
            at = match level {
                "#" => return node.rest.push(sensor),
                "+" => *node.any.get_or_insert(next),
                level => *node.children.entry(level.into()).or_insert(next),
            };
            if at == next {
                self.nodes.push(Node::default());
            }
        }
        if let Some(node) = self.nodes.get_mut(at) {
            node.ends.push(sensor);
        }
    }

    /// Returns the indexes of the sensors that read a topic, in ascending order.
    ///
    /// The rules are those of [`TopicFilter::matches`].
    pub(super) fn readers(&self, topic: &str) -> Vec<usize> {
        let mut readers = self.unfiltered.clone();
        // A wildcard in the first level does not match the topics of the broker.
        let mut is_wild = !topic.starts_with('$');
        let mut nodes: Vec<&Node> = self.nodes.first().into_iter().collect();
        let mut next = Vec::new();
        for level in topic.split('/') {
            for node in nodes.drain(..) {
                if is_wild {
                    readers.extend_from_slice(&node.rest);
                }
                let child = node.children.get(level).copied();
                let found = child.into_iter().chain(node.any.filter(|_| is_wild));
                next.extend(found.filter_map(|found| self.nodes.get(found)));
            }
            std::mem::swap(&mut nodes, &mut next);
            is_wild = true;
            if nodes.is_empty() {
                break;
            }
        }
        for node in nodes {
            // The level of `#` can be missing in the topic: a/# matches a.
            readers.extend(node.ends.iter().chain(&node.rest));
        }
        readers.sort_unstable();
        debug_assert!(readers.is_sorted_by(|one, next| one < next), "a filter matches once");
        readers
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::sensor;
    use super::*;

    proptest! {
        #[test]
        fn finds_the_sensors_whose_filter_matches(
            filters in prop::collection::vec("([a$+]/|/|b/){0,3}([a$+#]|)", 0..12),
            topic in "[$]?([ab$]/|/){0,4}[ab]?",
        ) {
            let filters = filters.iter().filter_map(|filter| filter.parse().ok());
            let mut sensors: Vec<Sensor> = filters
                .map(|filter| Sensor { topic: Some(filter), ..sensor("#", Vec::new()) })
                .collect();
            sensors.push(Sensor { topic: None, ..sensor("#", Vec::new()) });
            let expected: Vec<_> = sensors
                .iter()
                .enumerate()
                .filter(|(_, sensor)| sensor.reads(&topic))
                .map(|(index, _)| index)
                .collect();
            prop_assert_eq!(TopicIndex::new(&sensors).readers(&topic), expected);
        }
    }

    #[test]
    fn deep_filter_needs_no_deep_stack() {
        let topic = "+/".repeat(32_000);
        let index = TopicIndex::new(&[sensor(&topic, Vec::new())]);
        assert_eq!(index.readers(&"a/".repeat(32_000)), [0]);
        assert!(index.readers("a/a").is_empty());
    }
}
