//! Writes to a serial line, and the replies to them.

use std::io;

use tokio::time::Instant;

use super::tty::Tty;
use crate::{WriteError, WriteRequest};
use tidegate_ingest::frame::Frame;
use tidegate_model::excerpt::line;
use tidegate_model::{Reply, Write, io_problem};

/// A write whose reply is due. Other writes wait, so that each reply belongs to one write.
#[derive(Debug)]
pub(super) struct PendingReply {
    request: WriteRequest,
    reply: Reply,
    deadline: Instant,
}

/// Writes one request. Returns it if the device is to reply.
///
/// # Errors
/// If the line is lost.
pub(super) async fn write(
    tty: &mut Tty,
    request: WriteRequest,
) -> io::Result<Option<PendingReply>> {
    let Write::Serial { bytes, reply } = &request.write else {
        request.finish(Err(WriteError::WrongKind));
        return Ok(None);
    };
    if request.is_given_up() {
        // Written now, it would come too late.
        return Ok(None);
    }
    if let Err(error) = tty.send(bytes).await {
        request.finish(Err(WriteError::Broken(io_problem(&error))));
        return Err(error);
    }
    let Some(reply) = reply.clone() else {
        request.finish(Ok(String::new()));
        return Ok(None);
    };
    let deadline = Instant::now() + reply.timeout;
    Ok(Some(PendingReply { request, reply, deadline }))
}

impl PendingReply {
    /// Returns the time at which the reply is overdue.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Takes a frame for the reply, if it starts like one. Returns any other frame.
    pub(super) fn handle_frame(pending: &mut Option<Self>, frame: Frame) -> Option<Frame> {
        let (Some(waiting), Frame::Whole(content)) = (pending.as_ref(), &frame) else {
            return Some(frame);
        };
        let text = line(content);
        let failure = waiting.reply.failure.as_ref();
        let outcome = if content.starts_with(&waiting.reply.success) {
            Ok(text)
        } else if failure.is_some_and(|failure| content.starts_with(failure)) {
            Err(WriteError::Unconfirmed(format!("the device answered \"{text}\"")))
        } else {
            return Some(frame);
        };
        if let Some(waiting) = pending.take() {
            waiting.request.finish(outcome);
        }
        None
    }

    /// Fails the write, because no reply came in time.
    pub(super) fn expire(self) {
        let text = format!("the device did not answer within {:?}", self.reply.timeout);
        self.request.finish(Err(WriteError::Unconfirmed(text)));
    }
}
