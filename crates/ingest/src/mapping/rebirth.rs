//! Which nodes of Sparkplug B were asked for their births, so that none is asked again before it can have answered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::decode::rebirth_request;
use tidegate_model::{WallTime, Write};

/// Between two questions to one node: a large one on a slow line takes seconds for its births.
const INTERVAL: Duration = Duration::from_secs(30);

/// The nodes that are asked in that time. Others are asked later.
const NODES_MAX: usize = 256;

/// When each node was asked, by the topic of the command.
#[derive(Debug, Default)]
pub(super) struct Asked(BTreeMap<String, Instant>);

impl Asked {
    /// The question to the node behind a topic, unless it was asked of late.
    pub(super) fn ask(
        &mut self,
        topic: &str,
        time: Option<WallTime>,
        now: Instant,
    ) -> Option<Write> {
        let request = rebirth_request(topic, time.unwrap_or(WallTime::EPOCH))?;
        let Write::Mqtt { topic, .. } = &request else { return None };
        self.0.retain(|_, asked| now.duration_since(*asked) < INTERVAL);
        if self.0.contains_key(topic) || self.0.len() >= NODES_MAX {
            return None;
        }
        self.0.insert(topic.clone(), now);
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_asked_once_in_a_while_and_not_too_many_at_once() {
        let mut asked = Asked::default();
        let time = Some(WallTime::from_millis(1_600_000_000_000));
        let begin = tokio::time::Instant::now().into_std();
        assert!(asked.ask("spBv1.0/plant/DDATA/edge/pump", time, begin).is_some());
        assert!(asked.ask("spBv1.0/plant/NDATA/edge", time, begin + INTERVAL / 2).is_none());
        assert!(asked.ask("spBv1.0/plant/NDATA/edge", time, begin + INTERVAL).is_some());
        for node in 0..2 * NODES_MAX {
            asked.ask(&format!("spBv1.0/plant/NDATA/{node}"), time, begin + INTERVAL);
        }
        assert_eq!(asked.0.len(), NODES_MAX);
    }
}
