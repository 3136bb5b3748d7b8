//! Writes that a device answers with a message on a topic of its own.

use tokio::time::Instant;

use crate::{WriteError, WriteRequest};
use tidegate_model::excerpt::line;
use tidegate_model::{TopicReply, Write};

/// The writes whose answer is waited for, oldest first: one of each actuator at most.
#[derive(Debug, Default)]
pub(super) struct Replies(Vec<Awaited>);

#[derive(Debug)]
struct Awaited {
    request: WriteRequest,
    reply: TopicReply,
    until: Instant,
}

impl Replies {
    /// Keeps a write that was handed to the connection until it is answered. One that nobody answers is given back.
    pub(super) fn expect(&mut self, request: WriteRequest) -> Option<WriteRequest> {
        let Write::Mqtt { reply: Some(reply), .. } = &request.write else { return Some(request) };
        let (reply, until) = (reply.clone(), Instant::now() + reply.words.timeout);
        self.0.push(Awaited { request, reply, until });
        None
    }

    /// Takes a message for the answer to the oldest write that it fits.
    pub(super) fn hear(&mut self, topic: &str, payload: &[u8]) {
        let outcome = |awaited: &Awaited| {
            let TopicReply { topic: expected, words } = &awaited.reply;
            let begins = |start: &String| payload.starts_with(start.as_bytes());
            let said = line(payload);
            if topic != expected {
                None
            } else if words.failure.as_ref().is_some_and(begins) {
                let trouble = format!("the device answered \"{said}\"");
                Some(Err(WriteError::Unconfirmed(trouble)))
            } else {
                begins(&words.success).then_some(Ok(said))
            }
        };
        let mut answered = self.0.iter().enumerate();
        let answered = answered.find_map(|(at, awaited)| Some((at, outcome(awaited)?)));
        if let Some((at, outcome)) = answered {
            self.0.remove(at).request.finish(outcome);
        }
    }

    /// When the next answer is overdue.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.iter().map(|awaited| awaited.until).min()
    }

    /// Gives up the answers that are overdue.
    pub(super) fn expire(&mut self) {
        let now = Instant::now();
        for late in self.0.extract_if(.., |awaited| awaited.until <= now) {
            let timeout = late.reply.words.timeout;
            let trouble = format!("the device did not answer within {timeout:?}");
            late.request.finish(Err(WriteError::Unconfirmed(trouble)));
        }
    }

    /// Gives up all of them.
    pub(super) fn fail(&mut self, why: &str) {
        for awaited in self.0.drain(..) {
            awaited.request.finish(Err(WriteError::Broken(why.to_owned())));
        }
    }
}
