//! Interprets the edges of a GPIO line: reports a level at a limited rate, or counts pulses.
//!
//! The kernel debounces the lines and numbers the edges of each line (`line_seqno`,
//! include/uapi/linux/gpio.h). While no process reads the edges, the kernel drops the oldest. Their
//! numbers show how many, so no pulse is missed.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use tidegate_timing::machine::Machine;

/// The shortest time between two messages of one line.
///
/// For a bouncing contact, a message has the last level and the number of edges.
pub const MESSAGE_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// One edge from the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Whether the line became active.
    pub is_rising: bool,
    /// The time on a monotonic clock, in nanoseconds.
    pub timestamp_ns: u64,
    /// The number of the edge since the line was requested, from 1. It wraps after 2^32.
    pub number: u32,
}

/// The number of the last edge of one line.
#[derive(Debug, Clone, Copy, Default)]
struct LastEdge(u32);

impl LastEdge {
    /// Returns the number of edges since the last one, this one included.
    fn advance(&mut self, edge: &Edge) -> u64 {
        let edges = edge.number.wrapping_sub(self.0);
        self.0 = edge.number;
        edges.into()
    }
}

/// Reports the level of a line at each edge and at each regular read.
#[derive(Debug, Clone)]
pub struct Level {
    is_active: bool,
    edges: u64,
    last_edge: LastEdge,
    /// The time of the next message, if there is something to report.
    due: Option<Instant>,
    /// The earliest time of the next message.
    quiet_until: Option<Instant>,
    message: Option<Value>,
}

impl Level {
    /// Creates the state of a newly requested line. Its level is reported first.
    pub fn new(is_active: bool, now: Instant) -> Self {
        Self {
            is_active,
            edges: 0,
            last_edge: LastEdge::default(),
            due: Some(now),
            quiet_until: None,
            message: None,
        }
    }

    /// Records an edge.
    pub fn handle_edge(&mut self, edge: &Edge, now: Instant) {
        self.edges = self.edges.saturating_add(self.last_edge.advance(edge));
        self.handle_level(edge.is_rising, now);
    }

    /// Records the level of a regular read, which is reported even without a change.
    pub fn handle_level(&mut self, is_active: bool, now: Instant) {
        self.is_active = is_active;
        let due = self.quiet_until.map_or(now, |until| until.max(now));
        self.due.get_or_insert(due);
    }
}

/// The action is a message with the level and the number of edges since the last message.
impl Machine for Level {
    type Action = Value;

    fn handle_timeout(&mut self, now: Instant) {
        if self.due.take_if(|due| *due <= now).is_some() {
            self.quiet_until = Some(now + MESSAGE_INTERVAL_MIN);
            let edges = std::mem::take(&mut self.edges);
            self.message = Some(json!({"level": self.is_active, "edges": edges}));
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    fn poll_action(&mut self) -> Option<Value> {
        self.message.take()
    }
}

/// Counts the edges of a line.
#[derive(Debug, Clone)]
pub struct Counter {
    count: u64,
    last_edge: LastEdge,
    /// The kernel's time of the last edge.
    last_ns: Option<u64>,
    /// The time between the last two edges.
    interval_ns: Option<u64>,
    last_edge_at: Option<Instant>,
}

impl Counter {
    /// Creates the state of a newly requested line, which continues at `count`.
    pub fn new(count: u64) -> Self {
        let last_edge = LastEdge::default();
        Self { count, last_edge, last_ns: None, interval_ns: None, last_edge_at: None }
    }

    /// Counts an edge, and the edges before it that the kernel dropped.
    pub fn handle_edge(&mut self, edge: &Edge, now: Instant) {
        self.last_edge_at = Some(now);
        let edges = self.last_edge.advance(edge);
        self.count = self.count.saturating_add(edges);
        let elapsed = self.last_ns.and_then(|last| edge.timestamp_ns.checked_sub(last));
        self.interval_ns = elapsed.and_then(|elapsed| elapsed.checked_div(edges));
        self.last_ns = Some(edge.timestamp_ns);
    }

    /// Returns the count since the first use of the line.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Returns the message with the count and, after two pulses, the interval in milliseconds.
    ///
    /// The power or the flow of a meter follows from the interval. It is the time between the last
    /// two pulses, or the time since the last pulse if that is longer: so the flow falls towards
    /// zero after the last pulse.
    pub fn message(&self, now: Instant) -> Value {
        let (Some(interval_ns), Some(last_edge_at)) = (self.interval_ns, self.last_edge_at) else {
            return json!({"count": self.count});
        };
        let interval = Duration::from_micros(interval_ns / 1_000);
        let elapsed = now.saturating_duration_since(last_edge_at);
        let interval = if elapsed > interval { whole_ms(elapsed) } else { interval };
        json!({"count": self.count, "interval_ms": interval.as_secs_f64() * 1_000.0})
    }
}

/// Rounds down to milliseconds: the gateway's own time is not more exact.
fn whole_ms(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Edges of a push button with a debounce period of 1 ms. The kernel dropped number 6.
    const RECORDED: [(bool, u64, u32); 7] = [
        (true, 81_204_551_032, 1),
        (false, 81_330_118_290, 2),
        (true, 81_338_902_117, 3),
        (false, 81_340_760_553, 4),
        (true, 82_115_008_724, 5),
        (true, 82_601_442_190, 7),
        (false, 82_744_017_003, 8),
    ];

    fn recorded() -> impl Iterator<Item = Edge> {
        RECORDED.into_iter().map(|(is_rising, timestamp_ns, number)| Edge {
            is_rising,
            timestamp_ns,
            number,
        })
    }

    fn message(level: &mut Level, now: Instant) -> Option<Value> {
        level.handle_timeout(now);
        level.poll_action()
    }

    /// Replays the edges, and returns the messages.
    fn replay() -> Vec<Value> {
        let start = tokio::time::Instant::now().into_std();
        let mut level = Level::new(false, start);
        let mut messages: Vec<_> = message(&mut level, start).into_iter().collect();
        let first = RECORDED[0].1;
        for edge in recorded() {
            let now =
                start + Duration::from_secs(1) + Duration::from_nanos(edge.timestamp_ns - first);
            // Messages that are due between the edges.
            if let Some(until) = level.quiet_until.filter(|until| *until <= now) {
                messages.extend(message(&mut level, until));
            }
            level.handle_edge(&edge, now);
            messages.extend(message(&mut level, now));
        }
        messages.extend(message(&mut level, start + Duration::from_secs(60)));
        messages
    }

    #[test]
    fn reports_each_edge_but_limits_the_rate() {
        let expected = [
            json!({"level": false, "edges": 0}),
            json!({"level": true, "edges": 1}),
            json!({"level": false, "edges": 1}),
            json!({"level": false, "edges": 2}),
            json!({"level": true, "edges": 1}),
            json!({"level": true, "edges": 2}),
            json!({"level": false, "edges": 1}),
        ];
        assert_eq!(replay(), expected);
    }

    #[test]
    fn counts_dropped_edges_and_continues_the_count() {
        let now = tokio::time::Instant::now().into_std();
        let mut counter = Counter::new(1_000);
        assert_eq!(counter.message(now), json!({"count": 1_000}));
        recorded().for_each(|edge| counter.handle_edge(&edge, now));
        assert_eq!(counter.message(now), json!({"count": 1_008, "interval_ms": 142.574}));
        let mut again = Counter::new(counter.count());
        again.handle_edge(&Edge { is_rising: true, timestamp_ns: 5, number: 1 }, now);
        assert_eq!(again.message(now), json!({"count": 1_009}));
    }

    #[test]
    fn interval_grows_after_the_last_pulse() {
        let now = tokio::time::Instant::now().into_std();
        let mut counter = Counter::new(0);
        recorded().for_each(|edge| counter.handle_edge(&edge, now));
        let interval = |after: u64| counter.message(now + Duration::from_millis(after));
        assert_eq!(interval(142), json!({"count": 8, "interval_ms": 142.574}));
        assert_eq!(interval(60_000), json!({"count": 8, "interval_ms": 60_000.0}));
    }

    #[test]
    fn edge_numbers_may_wrap() {
        let edge = |number| Edge { is_rising: true, timestamp_ns: 0, number };
        let mut last = LastEdge(u32::MAX - 1);
        assert_eq!([u32::MAX, 0, 3].map(|number| last.advance(&edge(number))), [1, 1, 3]);
    }

    proptest! {
        #[test]
        fn arbitrary_edges_never_panic_or_reduce_the_count(
            edges in prop::collection::vec((any::<bool>(), any::<u64>(), any::<u32>()), 0..50),
            count: u64,
        ) {
            let now = tokio::time::Instant::now().into_std();
            let mut counter = Counter::new(count);
            let mut level = Level::new(false, now);
            for (is_rising, timestamp_ns, number) in edges {
                let edge = Edge { is_rising, timestamp_ns, number };
                level.handle_edge(&edge, now);
                counter.handle_edge(&edge, now);
                prop_assert!(counter.count() >= count);
                let _message = counter.message(now);
            }
        }

        #[test]
        fn count_includes_all_dropped_edges(
            kept in prop::collection::vec(any::<bool>(), 1..200),
        ) {
            let now = tokio::time::Instant::now().into_std();
            let mut counter = Counter::new(0);
            let mut level = Level::new(false, now);
            let last = kept.len();
            let numbered = (1_u32..).zip(&kept);
            for (number, is_kept) in numbered {
                if *is_kept || usize::try_from(number).unwrap() == last {
                    let is_rising = number % 2 == 1;
                    let edge = Edge { is_rising, timestamp_ns: u64::from(number), number };
                    counter.handle_edge(&edge, now);
                    level.handle_edge(&edge, now);
                }
            }
            prop_assert_eq!(counter.count(), u64::try_from(last).unwrap());
            prop_assert_eq!(level.edges, counter.count());
        }
    }
}
