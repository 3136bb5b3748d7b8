//! Knows an MQTT message that a broker delivers again, whether or not it says so.
//!
//! A broker that resumes a session first delivers again what was not acknowledged, in the old order. Of these the first ones
//! may be in the outbox already, when the acknowledgement was lost. So after a resumption, messages that repeat packet id and
//! content of one that was stored, and then of those that followed it, are repeats, up to the first that does not: from
//! there on all is new.
//!
//! What is remembered are the messages of which nobody knows that the broker heard their acknowledgement. It has heard one
//! when it gives the packet id again, and when it answers a ping that was sent after it. So little is remembered however much
//! comes in, and a new message can hardly have packet id and content of one that is remembered.

use std::collections::{BTreeSet, VecDeque};

use tidegate_model::{FingerprintChanges, MessageFingerprint};

/// How many stored messages are remembered for each session, the newest: half the packet ids that there are (MQTT 3.1.1, 2.3.1).
/// A broker that gives them in turn thus never gives a new message one that is remembered, and mosquitto, which sends all that
/// it has when a session resumes, must have more than these under way before one is forgotten.
pub const ORIGINS_MAX: usize = 1 << 15;

/// What is known of one broker session.
#[derive(Debug, Default)]
pub struct RedeliveryFilter {
    /// In the order in which they came; no two have one packet id.
    stored: VecDeque<MessageFingerprint>,
    /// Their packet ids: most that come are not among them, which must not take a search.
    ids: BTreeSet<u16>,
    is_connected: bool,
    resumption: Resumption,
    change: FingerprintChanges,
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

impl RedeliveryFilter {
    /// A session of which `stored` is known from before a restart, oldest first.
    pub fn new(stored: Vec<MessageFingerprint>) -> Self {
        let ids = stored.iter().map(|origin| origin.packet_id).collect();
        Self { stored: stored.into(), ids, ..Self::default() }
    }

    /// A connection was made; `resumed` says whether the broker kept the session.
    pub fn connected(&mut self, resumed: bool) {
        self.is_connected = true;
        self.resumption = if resumed { Resumption::Begins } else { Resumption::Over };
        if !resumed {
            self.forget(self.stored.len());
        }
    }

    /// The connection was lost, and acknowledgements with it.
    pub fn disconnected(&mut self) {
        self.is_connected = false;
    }

    /// Takes a message in. `true` if it is a repeat that must not be stored again.
    pub fn is_repeat(&mut self, origin: MessageFingerprint) -> bool {
        if let Some(at) = self.find_repeat(origin) {
            self.resumption = Resumption::GoesOn(at + 1);
            return true;
        }
        self.resumption = Resumption::Over;
        // A packet id is given again only after its acknowledgement, which came after those of all before it.
        self.acknowledged(origin.packet_id);
        if self.stored.len() >= ORIGINS_MAX {
            self.forget(1);
        }
        self.stored.push_back(origin);
        self.ids.insert(origin.packet_id);
        self.change.added.push(origin);
        false
    }

    fn find_repeat(&self, origin: MessageFingerprint) -> Option<usize> {
        let at = match self.resumption {
            Resumption::Over => return None,
            Resumption::Begins => self.position(origin.packet_id)?,
            Resumption::GoesOn(next) => next,
        };
        (self.stored.get(at) == Some(&origin)).then_some(at)
    }

    /// The broker has heard the acknowledgement of the message that had this packet id last, and those before it.
    pub fn acknowledged(&mut self, packet_id: u16) {
        if let Some(at) = self.position(packet_id) {
            self.forget(at + 1);
        }
    }

    fn position(&self, packet_id: u16) -> Option<usize> {
        let is_it = |stored: &MessageFingerprint| stored.packet_id == packet_id;
        self.ids.contains(&packet_id).then(|| self.stored.iter().position(is_it)).flatten()
    }

    /// Forgets so many of the oldest.
    fn forget(&mut self, count: usize) {
        for origin in self.stored.drain(..count) {
            self.ids.remove(&origin.packet_id);
        }
        self.change.forgotten += count;
        if let Resumption::GoesOn(next) = &mut self.resumption {
            *next = next.saturating_sub(count);
        }
    }

    /// What has changed since the last time, and must be remembered over a restart.
    pub fn take_change(&mut self) -> FingerprintChanges {
        std::mem::take(&mut self.change)
    }

    /// The daemon ends in good order: on a connection that stands all is acknowledged, and nothing needs to be known again.
    pub fn settle(&mut self) {
        if self.is_connected {
            self.forget(self.stored.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(packet_id: u16, digest: u32) -> MessageFingerprint {
        MessageFingerprint { packet_id, digest }
    }

    #[test]
    fn what_was_stored_before_the_connection_was_lost_is_known_again() {
        let mut session = RedeliveryFilter::default();
        session.connected(false);
        assert!((1..=3).all(|id| !session.is_repeat(origin(id, 7))));
        let mut session = after_restart(&mut session);
        session.connected(true);
        assert!(session.is_repeat(origin(2, 7)));
        assert!(session.is_repeat(origin(3, 7)));
        assert!(!session.is_repeat(origin(4, 7)));
    }

    #[test]
    fn after_the_first_new_message_nothing_is_taken_for_a_repeat() {
        let mut session = RedeliveryFilter::new(vec![origin(1, 7), origin(2, 7)]);
        session.connected(true);
        assert!(!session.is_repeat(origin(1, 8)), "another message that reuses the packet id");
        assert!(!session.is_repeat(origin(2, 7)), "a broker delivers the old ones first");
    }

    #[test]
    fn within_a_connection_and_in_a_new_session_nothing_is_a_repeat() {
        let mut session = RedeliveryFilter::default();
        session.connected(false);
        assert!(!session.is_repeat(origin(1, 7)));
        assert!(!session.is_repeat(origin(1, 7)));
        session.connected(false);
        assert!(!session.is_repeat(origin(1, 7)));
    }

    #[test]
    fn a_stop_forgets_what_was_acknowledged_and_only_that() {
        let mut session = RedeliveryFilter::default();
        session.connected(false);
        session.is_repeat(origin(1, 7));
        session.disconnected();
        session.settle();
        assert_eq!(session.take_change(), change(0, &[origin(1, 7)]));
        session.connected(true);
        session.settle();
        assert_eq!(session.take_change(), change(1, &[]));
    }

    #[test]
    fn a_repeat_that_is_left_out_ends_the_repeats() {
        let mut session = RedeliveryFilter::new((1..=4).map(|id| origin(id, 7)).collect());
        session.connected(true);
        assert!(session.is_repeat(origin(2, 7)));
        assert!(!session.is_repeat(origin(4, 7)), "3 must come first");
    }

    #[test]
    fn equal_messages_under_few_packet_ids_are_not_taken_for_repeats_for_ever() {
        for ids in [1, 3, 100] {
            let mut session = RedeliveryFilter::default();
            session.connected(false);
            let mut next_ids = (0..ids).cycle();
            let mut repeats = |session: &mut RedeliveryFilter| {
                next_ids.by_ref().take(1_000).filter(|id| session.is_repeat(origin(*id, 7))).count()
            };
            assert_eq!(repeats(&mut session), 0);
            session.connected(true);
            assert!(repeats(&mut session) <= usize::from(ids), "{ids} packet ids");
        }
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut session = RedeliveryFilter::default();
        for id in 0..=u16::MAX {
            session.is_repeat(origin(id, 7));
        }
        assert_eq!(session.stored.len(), ORIGINS_MAX);
        assert_eq!(session.ids.len(), ORIGINS_MAX);
        let change = session.take_change();
        assert_eq!(change.added.len() - change.forgotten, ORIGINS_MAX);
    }

    #[test]
    fn a_burst_of_thousands_is_known_again() {
        let mut session = RedeliveryFilter::default();
        session.connected(false);
        assert!((1..=30_000).all(|id| !session.is_repeat(origin(id, 7))));
        let mut session = after_restart(&mut session);
        session.connected(true);
        assert!((1..=30_000).all(|id| session.is_repeat(origin(id, 7))));
        assert!(!session.is_repeat(origin(30_001, 7)));
    }

    #[test]
    fn what_the_broker_knows_to_be_acknowledged_is_forgotten_and_repeats_go_on() {
        let mut session = RedeliveryFilter::new((1..=4).map(|id| origin(id, 7)).collect());
        session.connected(true);
        assert!(session.is_repeat(origin(1, 7)));
        assert!(session.is_repeat(origin(2, 7)));
        session.acknowledged(2);
        session.acknowledged(99);
        assert!(session.is_repeat(origin(3, 7)));
        assert!(!session.is_repeat(origin(5, 7)));
        assert_eq!(session.take_change(), change(2, &[origin(5, 7)]));
    }

    /// What a daemon knows that is started after this one was killed.
    fn after_restart(session: &mut RedeliveryFilter) -> RedeliveryFilter {
        let FingerprintChanges { added, forgotten } = session.take_change();
        RedeliveryFilter::new(added.into_iter().skip(forgotten).collect())
    }

    fn change(forgotten: usize, added: &[MessageFingerprint]) -> FingerprintChanges {
        FingerprintChanges { forgotten, added: added.to_vec() }
    }
}
