//! Knows an MQTT message that a broker delivers again, whether or not it says so.
//!
//! A broker that resumes a session first delivers again what was not acknowledged, in the old order. Of these the first ones
//! may be in the outbox already, when the acknowledgement was lost. So after a resumption, messages that repeat packet id and
//! content of one that was stored, and then of those that followed it, are repeats, up to the first that does not: from
//! there on all is new.
//!
//! A broker with few packet ids (rumqttd has 100) may give an old id to a new message of equal content. That cannot be told
//! from a repeat, but the order ends it: no more are taken for repeats than could be unacknowledged.

use std::collections::VecDeque;

use crate::model::Origin;

/// How many stored messages are remembered for each session: more than the usual brokers leave unacknowledged
/// (mosquitto 20, rumqttd 100).
pub const ORIGINS_MAX: usize = 128;

/// What is known of one broker session.
#[derive(Debug, Default)]
pub struct Redelivery {
    stored: VecDeque<Origin>,
    is_connected: bool,
    resumption: Resumption,
}

/// How far a broker may be in delivering again.
#[derive(Debug, Clone, Copy, Default)]
enum Resumption {
    /// All is new.
    #[default]
    Over,
    /// It may begin anywhere in what is stored.
    Begins,
    /// It goes on with this one of what is stored.
    GoesOn(usize),
}

impl Redelivery {
    /// A session of which `stored` is known from before a restart, oldest first.
    pub fn new(stored: Vec<Origin>) -> Self {
        Self { stored: stored.into(), ..Self::default() }
    }

    /// A connection was made; `resumed` says whether the broker kept the session.
    pub fn connected(&mut self, resumed: bool) {
        self.is_connected = true;
        self.resumption = if resumed { Resumption::Begins } else { Resumption::Over };
        if !resumed {
            self.stored.clear();
        }
    }

    /// The connection was lost, and acknowledgements with it.
    pub fn disconnected(&mut self) {
        self.is_connected = false;
    }

    /// Takes a message in. `true` if it is a repeat that must not be stored again.
    pub fn is_repeat(&mut self, origin: Origin) -> bool {
        if let Some(at) = self.find_repeat(origin) {
            self.resumption = Resumption::GoesOn(at + 1);
            return true;
        }
        self.resumption = Resumption::Over;
        self.remember(origin);
        false
    }

    fn find_repeat(&self, origin: Origin) -> Option<usize> {
        match self.resumption {
            Resumption::Over => None,
            Resumption::Begins => self.stored.iter().position(|stored| *stored == origin),
            Resumption::GoesOn(next) => (self.stored.get(next) == Some(&origin)).then_some(next),
        }
    }

    fn remember(&mut self, origin: Origin) {
        // A packet id is given again only after its acknowledgement, which came after those of all before it.
        let same_id = |stored: &Origin| stored.packet_id == origin.packet_id;
        if let Some(acknowledged) = self.stored.iter().position(same_id) {
            self.stored.drain(..=acknowledged);
        }
        if self.stored.len() >= ORIGINS_MAX {
            self.stored.pop_front();
        }
        self.stored.push_back(origin);
    }

    /// What must be remembered over a restart, oldest first.
    pub fn stored(&self) -> Vec<Origin> {
        self.stored.iter().copied().collect()
    }

    /// The daemon ends in good order: on a connection that stands all is acknowledged, and nothing needs to be known again.
    pub fn settle(&mut self) {
        if self.is_connected {
            self.stored.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(packet_id: u16, digest: u32) -> Origin {
        Origin { packet_id, digest }
    }

    #[test]
    fn what_was_stored_before_the_connection_was_lost_is_known_again() {
        let mut session = Redelivery::default();
        session.connected(false);
        assert!((1..=3).all(|id| !session.is_repeat(origin(id, 7))));
        let mut session = Redelivery::new(session.stored());
        session.connected(true);
        assert!(session.is_repeat(origin(2, 7)));
        assert!(session.is_repeat(origin(3, 7)));
        assert!(!session.is_repeat(origin(4, 7)));
    }

    #[test]
    fn after_the_first_new_message_nothing_is_taken_for_a_repeat() {
        let mut session = Redelivery::new(vec![origin(1, 7), origin(2, 7)]);
        session.connected(true);
        assert!(!session.is_repeat(origin(1, 8)), "another message that reuses the packet id");
        assert!(!session.is_repeat(origin(2, 7)), "a broker delivers the old ones first");
    }

    #[test]
    fn within_a_connection_and_in_a_new_session_nothing_is_a_repeat() {
        let mut session = Redelivery::default();
        session.connected(false);
        assert!(!session.is_repeat(origin(1, 7)));
        assert!(!session.is_repeat(origin(1, 7)));
        session.connected(false);
        assert!(!session.is_repeat(origin(1, 7)));
    }

    #[test]
    fn a_stop_forgets_what_was_acknowledged_and_only_that() {
        let mut session = Redelivery::default();
        session.connected(false);
        session.is_repeat(origin(1, 7));
        session.disconnected();
        session.settle();
        assert_eq!(session.stored(), [origin(1, 7)]);
        session.connected(true);
        session.settle();
        assert_eq!(session.stored(), []);
    }

    #[test]
    fn a_repeat_that_is_left_out_ends_the_repeats() {
        let mut session = Redelivery::new((1..=4).map(|id| origin(id, 7)).collect());
        session.connected(true);
        assert!(session.is_repeat(origin(2, 7)));
        assert!(!session.is_repeat(origin(4, 7)), "3 must come first");
    }

    #[test]
    fn equal_messages_under_few_packet_ids_are_not_taken_for_repeats_for_ever() {
        for ids in [1, 3, 100] {
            let mut session = Redelivery::default();
            session.connected(false);
            let mut next_ids = (0..ids).cycle();
            let mut repeats = |session: &mut Redelivery| {
                next_ids.by_ref().take(1_000).filter(|id| session.is_repeat(origin(*id, 7))).count()
            };
            assert_eq!(repeats(&mut session), 0);
            session.connected(true);
            assert!(repeats(&mut session) <= usize::from(ids), "{ids} packet ids");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut session = Redelivery::default();
        for id in 0..1_000 {
            session.is_repeat(origin(id, 7));
        }
        assert_eq!(session.stored().len(), ORIGINS_MAX);
    }
}
