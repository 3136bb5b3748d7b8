//! Publishes that a device answers with a message on another topic.

use tokio::time::Instant;

use crate::{WriteError, WriteRequest};
use tidegate_model::excerpt::line;
use tidegate_model::{TopicReply, Write};

/// The writes whose reply is due, oldest first. Each actuator has at most one.
#[derive(Debug, Default)]
pub(super) struct PendingReplies(Vec<PendingReply>);

#[derive(Debug)]
struct PendingReply {
    request: WriteRequest,
    reply: TopicReply,
    deadline: Instant,
}

impl PendingReplies {
    /// Keeps a published write until its reply. Returns a write without a reply.
    pub(super) fn insert(&mut self, request: WriteRequest) -> Option<WriteRequest> {
        let Write::Mqtt { reply: Some(reply), .. } = &request.write else { return Some(request) };
        let (reply, deadline) = (reply.clone(), Instant::now() + reply.words.timeout);
        self.0.push(PendingReply { request, reply, deadline });
        None
    }

    /// Takes a message for the reply to the oldest write that it matches.
    pub(super) fn handle_message(&mut self, topic: &str, payload: &[u8]) {
        let outcome = |pending: &PendingReply| {
            let TopicReply { topic: expected, words } = &pending.reply;
            let starts = |start: &Vec<u8>| payload.starts_with(start);
            let text = line(payload);
            if topic != expected {
                None
            } else if words.failure.as_ref().is_some_and(starts) {
                let error = format!("the device answered \"{text}\"");
                Some(Err(WriteError::Unconfirmed(error)))
            } else {
                starts(&words.success).then_some(Ok(text))
            }
        };
        let mut answered = self.0.iter().enumerate();
        let answered = answered.find_map(|(at, pending)| Some((at, outcome(pending)?)));
        if let Some((at, outcome)) = answered {
            self.0.remove(at).request.finish(outcome);
        }
    }

    /// Returns the time at which the next reply is overdue.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().map(|pending| pending.deadline).min()
    }

    /// Fails the writes whose replies are overdue.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        for late in self.0.extract_if(.., |pending| pending.deadline <= now) {
            let timeout = late.reply.words.timeout;
            let error = format!("the device did not answer within {timeout:?}");
            late.request.finish(Err(WriteError::Unconfirmed(error)));
        }
    }

    /// Fails all writes.
    pub(super) fn fail(&mut self, why: &str) {
        for pending in self.0.drain(..) {
            pending.request.finish(Err(WriteError::Broken(why.to_owned())));
        }
    }
}
