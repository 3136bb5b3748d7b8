//! A write to a serial line, and the line that answers it.

use tokio::time::Instant;

use super::tty::Tty;
use crate::{WriteError, WriteRequest};
use tidegate_ingest::frame::Frame;
use tidegate_model::excerpt::line;
use tidegate_model::{Reply, Write};

/// A write whose answer is waited for. Other writes wait with it, so that no answer is taken for another's.
#[derive(Debug)]
pub(super) struct Awaited {
    request: WriteRequest,
    reply: Reply,
    until: Instant,
}

/// Writes one request. Returns it where the device is to answer. `Err` when the line is broken.
pub(super) async fn write(tty: &mut Tty, request: WriteRequest) -> Result<Option<Awaited>, String> {
    let Write::Serial { bytes, reply } = &request.write else {
        request.finish(Err(WriteError::WrongKind));
        return Ok(None);
    };
    if request.is_given_up() {
        // Nobody waits for it any more: it would come too late.
        return Ok(None);
    }
    if let Err(trouble) = tty.send(bytes).await {
        request.finish(Err(WriteError::Broken(trouble.clone())));
        return Err(trouble);
    }
    let Some(reply) = reply.clone() else {
        request.finish(Ok(String::new()));
        return Ok(None);
    };
    let until = Instant::now() + reply.timeout;
    Ok(Some(Awaited { request, reply, until }))
}

impl Awaited {
    /// Waits until the answer is overdue; for ever if none is waited for.
    pub(super) async fn expiry(awaited: Option<&Self>) {
        match awaited {
            Some(awaited) => tokio::time::sleep_until(awaited.until).await,
            None => std::future::pending().await,
        }
    }

    /// Takes a line for the answer, if it begins like one; any other line is given back.
    pub(super) fn hear(waiting: &mut Option<Self>, frame: Frame) -> Option<Frame> {
        let (Some(awaited), Frame::Whole(said)) = (waiting.as_ref(), &frame) else {
            return Some(frame);
        };
        let words = line(said);
        let failure = awaited.reply.failure.as_ref();
        let outcome = if said.starts_with(awaited.reply.success.as_bytes()) {
            Ok(words)
        } else if failure.is_some_and(|failure| said.starts_with(failure.as_bytes())) {
            Err(WriteError::Unconfirmed(format!("the device answered \"{words}\"")))
        } else {
            return Some(frame);
        };
        if let Some(awaited) = waiting.take() {
            awaited.request.finish(outcome);
        }
        None
    }

    /// Tells that there was no answer in time.
    pub(super) fn expire(self) {
        let words = format!("the device did not answer within {:?}", self.reply.timeout);
        self.request.finish(Err(WriteError::Unconfirmed(words)));
    }
}
