//! What the edges of a GPIO line mean: a level that is told without a flood, or pulses that are counted without a gap.
//!
//! The kernel removes the bounces and numbers the edges of each line (`line_seqno`, include/uapi/linux/gpio.h). When
//! nobody reads for a while it drops the oldest; the numbers tell how many, so that no pulse is lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Between two messages of one line: a contact that flutters is told as its last level and the number of its edges.
pub const TELL_GAP: Duration = Duration::from_millis(50);

/// One edge, as the kernel tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// Whether the line became active.
    pub is_rising: bool,
    /// When, on a clock that only runs forward, in nanoseconds.
    pub timestamp_ns: u64,
    /// Its number among the edges of its line since the line was requested, from 1; it goes around after 2^32.
    pub number: u32,
}

/// The numbers of the edges of one line.
#[derive(Debug, Clone, Copy, Default)]
struct Numbers(u32);

impl Numbers {
    /// How many edges there were since the last that was heard, this one included.
    fn advance(&mut self, edge: &Edge) -> u64 {
        let edges = edge.number.wrapping_sub(self.0);
        self.0 = edge.number;
        edges.into()
    }
}

/// A line whose level is told: at each edge, and whenever it is asked for.
#[derive(Debug, Clone)]
pub struct Level {
    is_active: bool,
    edges: u64,
    numbers: Numbers,
    is_news: bool,
    quiet_until: Option<Instant>,
}

impl Level {
    /// A line that has just been requested, at this level, which is news.
    pub fn new(is_active: bool) -> Self {
        let numbers = Numbers::default();
        Self { is_active, edges: 0, numbers, is_news: true, quiet_until: None }
    }

    /// Takes an edge.
    pub fn hear(&mut self, edge: &Edge) {
        self.edges = self.edges.saturating_add(self.numbers.advance(edge));
        self.is_active = edge.is_rising;
        self.is_news = true;
    }

    /// Takes a look at the line, which is to be told.
    pub fn see(&mut self, is_active: bool) {
        self.is_active = is_active;
        self.is_news = true;
    }

    /// When there is something to tell, if there is: `now` or soon after it.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.is_news.then(|| self.quiet_until.map_or(now, |until| until.max(now)))
    }

    /// The message, if one is due: the level, and how many edges led to it since the last message.
    pub fn message(&mut self, now: Instant) -> Option<Value> {
        if self.due(now)? > now {
            return None;
        }
        self.is_news = false;
        self.quiet_until = Some(now + TELL_GAP);
        Some(json!({"level": self.is_active, "edges": std::mem::take(&mut self.edges)}))
    }
}

/// A line whose edges are counted.
#[derive(Debug, Clone)]
pub struct Counter {
    count: u64,
    numbers: Numbers,
    last_ns: Option<u64>,
    interval_ns: Option<u64>,
    heard_at: Option<Instant>,
}

impl Counter {
    /// A line that has just been requested, and what was counted before.
    pub fn new(count: u64) -> Self {
        Self {
            count,
            numbers: Numbers::default(),
            last_ns: None,
            interval_ns: None,
            heard_at: None,
        }
    }

    /// Takes an edge, and those before it that were not heard.
    pub fn hear(&mut self, edge: &Edge, now: Instant) {
        self.heard_at = Some(now);
        let edges = self.numbers.advance(edge);
        self.count = self.count.saturating_add(edges);
        let elapsed = self.last_ns.and_then(|last| edge.timestamp_ns.checked_sub(last));
        self.interval_ns = elapsed.and_then(|elapsed| elapsed.checked_div(edges));
        self.last_ns = Some(edge.timestamp_ns);
    }

    /// How many there have been, ever.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The message: the count and, after two pulses, the time between the last two in milliseconds, of which an energy or
    /// water meter's power or flow is made. When no pulse has come for longer than that, it is the time since the last one:
    /// a flow that has stopped fades away.
    pub fn message(&self, now: Instant) -> Value {
        let (Some(interval_ns), Some(heard_at)) = (self.interval_ns, self.heard_at) else {
            return json!({"count": self.count});
        };
        let interval = Duration::from_micros(interval_ns / 1_000);
        let silence = now.saturating_duration_since(heard_at);
        let interval = if silence > interval { whole_ms(silence) } else { interval };
        json!({"count": self.count, "interval_ms": interval.as_secs_f64() * 1_000.0})
    }
}

/// What is not measured by the kernel is no more exact than this.
fn whole_ms(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Edges of a push button behind the kernel's filter of 1 ms, with one that the kernel dropped (6).
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

    /// Plays the record to a level that is told whenever it is due.
    fn told() -> Vec<Value> {
        let start = tokio::time::Instant::now().into_std();
        let mut level = Level::new(false);
        let mut told: Vec<_> = level.message(start).into_iter().collect();
        let first = RECORDED[0].1;
        for edge in recorded() {
            let now =
                start + Duration::from_secs(1) + Duration::from_nanos(edge.timestamp_ns - first);
            // What was due between the edges.
            if let Some(until) = level.quiet_until.filter(|until| *until <= now) {
                told.extend(level.message(until));
            }
            level.hear(&edge);
            told.extend(level.message(now));
        }
        told.extend(level.message(start + Duration::from_secs(60)));
        told
    }

    #[test]
    fn a_level_is_told_at_each_edge_but_not_in_a_flood() {
        let expected = [
            json!({"level": false, "edges": 0}),
            json!({"level": true, "edges": 1}),
            json!({"level": false, "edges": 1}),
            json!({"level": false, "edges": 2}),
            json!({"level": true, "edges": 1}),
            json!({"level": true, "edges": 2}),
            json!({"level": false, "edges": 1}),
        ];
        assert_eq!(told(), expected);
    }

    #[test]
    fn pulses_are_counted_with_those_that_the_kernel_dropped_and_on_from_before() {
        let now = tokio::time::Instant::now().into_std();
        let mut counter = Counter::new(1_000);
        assert_eq!(counter.message(now), json!({"count": 1_000}));
        recorded().for_each(|edge| counter.hear(&edge, now));
        assert_eq!(counter.message(now), json!({"count": 1_008, "interval_ms": 142.574}));
        let mut again = Counter::new(counter.count());
        again.hear(&Edge { is_rising: true, timestamp_ns: 5, number: 1 }, now);
        assert_eq!(again.message(now), json!({"count": 1_009}));
    }

    #[test]
    fn a_meter_that_has_stopped_is_not_told_to_run_on() {
        let now = tokio::time::Instant::now().into_std();
        let mut counter = Counter::new(0);
        recorded().for_each(|edge| counter.hear(&edge, now));
        let interval = |after: u64| counter.message(now + Duration::from_millis(after));
        assert_eq!(interval(142), json!({"count": 8, "interval_ms": 142.574}));
        assert_eq!(interval(60_000), json!({"count": 8, "interval_ms": 60_000.0}));
    }

    #[test]
    fn the_numbers_may_go_around() {
        let edge = |number| Edge { is_rising: true, timestamp_ns: 0, number };
        let mut numbers = Numbers(u32::MAX - 1);
        assert_eq!([u32::MAX, 0, 3].map(|number| numbers.advance(&edge(number))), [1, 1, 3]);
    }

    proptest! {
        #[test]
        fn any_edges_in_any_order_make_no_panic_and_no_less(
            edges in prop::collection::vec((any::<bool>(), any::<u64>(), any::<u32>()), 0..50), count: u64,
        ) {
            let now = tokio::time::Instant::now().into_std();
            let mut counter = Counter::new(count);
            let mut level = Level::new(false);
            for (is_rising, timestamp_ns, number) in edges {
                let edge = Edge { is_rising, timestamp_ns, number };
                level.hear(&edge);
                counter.hear(&edge, now);
                prop_assert!(counter.count() >= count);
                let _message = counter.message(now);
            }
        }

        #[test]
        fn however_many_edges_the_kernel_drops_the_sum_is_right(kept in prop::collection::vec(any::<bool>(), 1..200)) {
            let now = tokio::time::Instant::now().into_std();
            let mut counter = Counter::new(0);
            let mut level = Level::new(false);
            let last = kept.len();
            let numbered = (1_u32..).zip(&kept);
            for (number, is_kept) in numbered {
                if *is_kept || usize::try_from(number).unwrap() == last {
                    let edge = Edge { is_rising: number % 2 == 1, timestamp_ns: u64::from(number), number };
                    counter.hear(&edge, now);
                    level.hear(&edge);
                }
            }
            prop_assert_eq!(counter.count(), u64::try_from(last).unwrap());
            prop_assert_eq!(level.edges, counter.count());
        }
    }
}
