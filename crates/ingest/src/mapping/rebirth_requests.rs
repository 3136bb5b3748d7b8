//! Limits the rebirth requests to Sparkplug nodes, so that a node has time to answer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::decode::rebirth_request;
use tidegate_model::{WallTime, Write};

/// The shortest time between two requests to one node.
///
/// A large node on a slow line needs seconds to send its birth certificates.
const INTERVAL_MIN: Duration = Duration::from_secs(30);

/// The most nodes with a request in that time. Requests to further nodes follow later.
const NODES_MAX: usize = 256;

/// The time of the last request to each node. The key is the topic of the command.
#[derive(Debug, Default)]
pub(super) struct RebirthRequests(BTreeMap<String, Instant>);

impl RebirthRequests {
    /// Returns the request to the node of a topic; `None` if the last request is too recent.
    ///
    /// `time` is the time of sending, if the time of day is known.
    pub(super) fn request(
        &mut self,
        topic: &str,
        time: Option<WallTime>,
        now: Instant,
    ) -> Option<Write> {
        let request = rebirth_request(topic, time.unwrap_or(WallTime::EPOCH))?;
        let Write::Mqtt { topic, .. } = &request else { return None };
        self.0.retain(|_, requested| now.duration_since(*requested) < INTERVAL_MIN);
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
    fn limits_requests_per_node_and_nodes() {
        let mut requests = RebirthRequests::default();
        let time = Some(WallTime::from_millis(1_600_000_000_000));
        let (topic, start) = ("spBv1.0/plant/NDATA/edge", tokio::time::Instant::now().into_std());
        assert!(requests.request("spBv1.0/plant/DDATA/edge/pump", time, start).is_some());
        assert!(requests.request(topic, time, start + INTERVAL_MIN / 2).is_none());
        assert!(requests.request(topic, time, start + INTERVAL_MIN).is_some());
        for node in 0..2 * NODES_MAX {
            let topic = format!("spBv1.0/plant/NDATA/{node}");
            requests.request(&topic, time, start + INTERVAL_MIN);
        }
        assert_eq!(requests.0.len(), NODES_MAX);
    }
}
