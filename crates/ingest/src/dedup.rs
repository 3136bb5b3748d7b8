//! Recognises MQTT messages that a broker delivers again, also without the DUP flag.
//!
//! A broker that resumes a session first redelivers the unacknowledged messages, in their old
//! order. The outbox may have some of them already: only their acknowledgements were lost. The
//! filter remembers the fingerprints of these messages, in their order, and compares:
//!
//! 1. The first repeat equals any remembered message.
//! 2. Each further repeat equals the next remembered message.
//! 3. The first message that differs ends the repeats. All later messages are new.
//!
//! The filter forgets a message when the broker has received its acknowledgement. The broker shows
//! this when it reuses the packet id, or when it answers a later ping. So the memory is small, and
//! a new message hardly ever equals a remembered one.

use std::collections::{BTreeSet, VecDeque};

use tidegate_model::{FingerprintChanges, MessageFingerprint};

/// The most stored messages to remember for a session: half of all packet ids (MQTT 3.1.1, 2.3.1).
///
/// A broker that assigns packet ids in turn never gives a new message the id of a remembered one.
/// Mosquitto, which sends everything when a session resumes, must have more messages than this in
/// flight before the filter forgets one.
pub const FINGERPRINTS_MAX: usize = 1 << 15;

/// The stored messages of one broker session that the broker may deliver again.
#[derive(Debug, Default)]
pub struct RedeliveryFilter {
    /// In the order of arrival. No two messages have the same packet id.
    stored: VecDeque<MessageFingerprint>,
    /// The packet ids of `stored`. Most new ids are not in it, so most messages need no search.
    ids: BTreeSet<u16>,
    is_connected: bool,
    resumption: Resumption,
    change: FingerprintChanges,
}

/// The progress of a broker that redelivers messages.
#[derive(Debug, Clone, Copy, Default)]
enum Resumption {
    /// All messages are new.
    #[default]
    Over,
    /// The next message may repeat any stored message.
    Started,
    /// The next message may repeat only the stored message at this index.
    Expects(usize),
}

impl RedeliveryFilter {
    /// Creates the filter with the messages stored before a restart, oldest first.
    pub fn new(stored: Vec<MessageFingerprint>) -> Self {
        let ids = stored.iter().map(|fingerprint| fingerprint.packet_id).collect();
        Self { stored: stored.into(), ids, ..Self::default() }
    }

    /// Records a new connection. `resumed` is true if the broker kept the session.
    pub fn handle_connected(&mut self, resumed: bool) {
        self.is_connected = true;
        self.resumption = if resumed { Resumption::Started } else { Resumption::Over };
        if !resumed {
            self.forget(self.stored.len());
        }
    }

    /// Records that the connection was lost. Acknowledgements may be lost with it.
    pub fn handle_disconnected(&mut self) {
        self.is_connected = false;
    }

    /// Records a message. Returns whether it is a repeat, which must not be stored again.
    pub fn handle_message(&mut self, fingerprint: MessageFingerprint) -> bool {
        if let Some(at) = self.find_repeat(fingerprint) {
            self.resumption = Resumption::Expects(at + 1);
            return true;
        }
        self.resumption = Resumption::Over;
        // A broker reuses a packet id after its acknowledgement. Acknowledgements are in order.
        self.handle_acknowledged(fingerprint.packet_id);
        if self.stored.len() >= FINGERPRINTS_MAX {
            self.forget(1);
        }
        self.stored.push_back(fingerprint);
        self.ids.insert(fingerprint.packet_id);
        self.change.added.push(fingerprint);
        debug_assert_eq!(self.stored.len(), self.ids.len(), "a packet id is stored twice");
        false
    }

    fn find_repeat(&self, fingerprint: MessageFingerprint) -> Option<usize> {
        let at = match self.resumption {
            Resumption::Over => return None,
            Resumption::Started => self.position(fingerprint.packet_id)?,
            Resumption::Expects(next) => next,
        };
        (self.stored.get(at) == Some(&fingerprint)).then_some(at)
    }

    /// Records that the broker received the acknowledgement of the last message with this packet
    /// id, and of all messages before it.
    pub fn handle_acknowledged(&mut self, packet_id: u16) {
        if let Some(at) = self.position(packet_id) {
            self.forget(at + 1);
        }
    }

    fn position(&self, packet_id: u16) -> Option<usize> {
        let has_id = |stored: &MessageFingerprint| stored.packet_id == packet_id;
        self.ids.contains(&packet_id).then(|| self.stored.iter().position(has_id)).flatten()
    }

    /// Forgets the `count` oldest messages.
    fn forget(&mut self, count: usize) {
        for fingerprint in self.stored.drain(..count) {
            self.ids.remove(&fingerprint.packet_id);
        }
        self.change.forgotten += count;
        if let Resumption::Expects(next) = &mut self.resumption {
            *next = next.saturating_sub(count);
        }
    }

    /// Takes the changes since the last call. They must survive a restart.
    pub fn take_change(&mut self) -> FingerprintChanges {
        std::mem::take(&mut self.change)
    }

    /// Prepares for a clean stop: on an open connection all messages are acknowledged.
    pub fn handle_stop(&mut self) {
        if self.is_connected {
            self.forget(self.stored.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(packet_id: u16, digest: u32) -> MessageFingerprint {
        MessageFingerprint { packet_id, digest }
    }

    #[test]
    fn recognises_messages_stored_before_a_lost_connection() {
        let mut session = RedeliveryFilter::default();
        session.handle_connected(false);
        assert!((1..=3).all(|id| !session.handle_message(fingerprint(id, 7))));
        let mut session = after_restart(&mut session);
        session.handle_connected(true);
        assert!(session.handle_message(fingerprint(2, 7)));
        assert!(session.handle_message(fingerprint(3, 7)));
        assert!(!session.handle_message(fingerprint(4, 7)));
    }

    #[test]
    fn first_new_message_ends_the_repeats() {
        let mut session = RedeliveryFilter::new(vec![fingerprint(1, 7), fingerprint(2, 7)]);
        session.handle_connected(true);
        assert!(
            !session.handle_message(fingerprint(1, 8)),
            "another message that reuses the packet id"
        );
        assert!(
            !session.handle_message(fingerprint(2, 7)),
            "a broker redelivers the old messages first"
        );
    }

    #[test]
    fn new_sessions_have_no_repeats() {
        let mut session = RedeliveryFilter::default();
        session.handle_connected(false);
        assert!(!session.handle_message(fingerprint(1, 7)));
        assert!(!session.handle_message(fingerprint(1, 7)));
        session.handle_connected(false);
        assert!(!session.handle_message(fingerprint(1, 7)));
    }

    #[test]
    fn clean_stop_forgets_only_acknowledged_messages() {
        let mut session = RedeliveryFilter::default();
        session.handle_connected(false);
        session.handle_message(fingerprint(1, 7));
        session.handle_disconnected();
        session.handle_stop();
        assert_eq!(session.take_change(), change(0, &[fingerprint(1, 7)]));
        session.handle_connected(true);
        session.handle_stop();
        assert_eq!(session.take_change(), change(1, &[]));
    }

    #[test]
    fn missing_repeat_ends_the_repeats() {
        let mut session = RedeliveryFilter::new((1..=4).map(|id| fingerprint(id, 7)).collect());
        session.handle_connected(true);
        assert!(session.handle_message(fingerprint(2, 7)));
        assert!(!session.handle_message(fingerprint(4, 7)), "3 must come first");
    }

    #[test]
    fn equal_messages_with_few_packet_ids_are_new() {
        for ids in [1, 3, 100] {
            let mut session = RedeliveryFilter::default();
            session.handle_connected(false);
            let mut next_ids = (0..ids).cycle();
            let mut repeats = |session: &mut RedeliveryFilter| {
                next_ids
                    .by_ref()
                    .take(1_000)
                    .filter(|id| session.handle_message(fingerprint(*id, 7)))
                    .count()
            };
            assert_eq!(repeats(&mut session), 0);
            session.handle_connected(true);
            assert!(repeats(&mut session) <= usize::from(ids), "{ids} packet ids");
        }
    }

    #[test]
    fn limits_the_number_of_messages() {
        let mut session = RedeliveryFilter::default();
        for id in 0..=u16::MAX {
            session.handle_message(fingerprint(id, 7));
        }
        assert_eq!(session.stored.len(), FINGERPRINTS_MAX);
        assert_eq!(session.ids.len(), FINGERPRINTS_MAX);
        let change = session.take_change();
        assert_eq!(change.added.len() - change.forgotten, FINGERPRINTS_MAX);
    }

    #[test]
    fn recognises_a_burst_of_thousands() {
        let mut session = RedeliveryFilter::default();
        session.handle_connected(false);
        assert!((1..=30_000).all(|id| !session.handle_message(fingerprint(id, 7))));
        let mut session = after_restart(&mut session);
        session.handle_connected(true);
        assert!((1..=30_000).all(|id| session.handle_message(fingerprint(id, 7))));
        assert!(!session.handle_message(fingerprint(30_001, 7)));
    }

    #[test]
    fn forgets_acknowledged_messages_during_a_resumption() {
        let mut session = RedeliveryFilter::new((1..=4).map(|id| fingerprint(id, 7)).collect());
        session.handle_connected(true);
        assert!(session.handle_message(fingerprint(1, 7)));
        assert!(session.handle_message(fingerprint(2, 7)));
        session.handle_acknowledged(2);
        session.handle_acknowledged(99);
        assert!(session.handle_message(fingerprint(3, 7)));
        assert!(!session.handle_message(fingerprint(5, 7)));
        assert_eq!(session.take_change(), change(2, &[fingerprint(5, 7)]));
    }

    /// Returns the filter of a daemon that starts after a kill.
    fn after_restart(session: &mut RedeliveryFilter) -> RedeliveryFilter {
        let FingerprintChanges { added, forgotten } = session.take_change();
        RedeliveryFilter::new(added.into_iter().skip(forgotten).collect())
    }

    fn change(forgotten: usize, added: &[MessageFingerprint]) -> FingerprintChanges {
        FingerprintChanges { forgotten, added: added.to_vec() }
    }
}
