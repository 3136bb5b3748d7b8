//! Frames out of a stream of bytes, whatever the chunks that it comes in.
//!
//! The framer holds the beginning of one frame and never more than its bound, also when the sender never ends it (as with
//! a wrong baud rate). After damage it looks for the next frame from the byte behind the failed beginning, so that a lost
//! byte costs one frame and not two. A frame whose rest does not come is dropped. All that is not passed on is told as a
//! [`Loss`], each damage once. Time is an argument.

mod checksum;
mod shape;

use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;

pub use checksum::{Checksum, Notation, Sum};
pub use shape::{Counted, Endian, Length, Shape};

/// How a stream is cut into frames.
#[derive(Debug, Clone)]
pub struct Framing {
    /// How a frame begins and ends.
    pub shape: Shape,
    /// What proves that it is whole; taken off before the frame is passed on.
    pub checksum: Option<Checksum>,
    /// The longest frame in bytes, its delimiter or its enclosing bytes not counted.
    pub bytes_max: usize,
    /// How long the sender may pause within a frame. With [`Shape::Idle`] such a pause ends it instead.
    pub inter_byte_timeout: Duration,
}

/// What a stream of bytes is cut into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A whole frame; never empty.
    Whole(Bytes),
    /// Bytes that are no frame.
    Lost(Loss),
}

/// Why bytes were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// A frame that passed the bound, or says that it will.
    TooLong,
    /// The checksum is wrong.
    Checksum,
    /// The rest of the frame did not come.
    Incomplete,
    /// Bytes between frames, as when the stream is met in the middle of one.
    Noise,
}

/// Cuts one stream into frames.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    buffer: Vec<u8>,
    /// How far the end of the frame has been looked for.
    scanned: usize,
    /// Bytes at the front that belong to a loss that was told.
    damaged: usize,
    /// Whether no whole frame has come since a loss, so that bytes between frames are a part of it.
    is_lost: bool,
    /// Bytes before the front that belong to no frame and were not told.
    noise: usize,
    /// Whether the rest of a frame that is too long is being passed over.
    discarding: bool,
    heard: Option<Instant>,
}

/// What the bytes at the front are.
enum Finding {
    /// It cannot be said yet.
    Open,
    /// So many bytes that begin no frame.
    Junk(usize),
    /// A frame: the bytes it takes, what of it the checksum judges, and what of that is passed on.
    Frame { taken: usize, judged: Range<usize>, content: Range<usize> },
    /// A beginning whose end did not come, as the next one shows, or will not fit.
    Failed { loss: Loss, taken: usize },
}

impl Framing {
    /// Lines of at most `bytes_max` bytes without a checksum.
    pub fn lines(bytes_max: usize) -> Self {
        Self {
            shape: Shape::Line,
            checksum: None,
            bytes_max,
            inter_byte_timeout: Self::INTER_BYTE_TIMEOUT,
        }
    }

    fn checksum_bytes(&self) -> usize {
        self.checksum.as_ref().map_or(0, Checksum::bytes)
    }

    fn capacity(&self) -> usize {
        self.bytes_max + self.shape.frame_overhead(self.checksum_bytes())
    }

    /// The pause that a sender may make within a frame if nothing else is said.
    pub const INTER_BYTE_TIMEOUT: Duration = Duration::from_secs(5);
}

impl Framer {
    /// A framer that takes the memory for its longest frame at once, and no more later.
    pub fn new(framing: Framing) -> Self {
        Self {
            buffer: Vec::with_capacity(framing.capacity()),
            framing,
            scanned: 0,
            damaged: 0,
            is_lost: false,
            noise: 0,
            discarding: false,
            heard: None,
        }
    }

    /// Takes the next bytes of the stream, which came at `now`, and appends what they complete to `frames`.
    pub fn push(&mut self, mut bytes: &[u8], now: Instant, frames: &mut Vec<Frame>) {
        self.handle_timeout(now, frames);
        if !bytes.is_empty() {
            self.heard = Some(now);
        }
        while !bytes.is_empty() {
            let room = self.framing.capacity() - self.buffer.len();
            let (fitting, rest) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(fitting);
            bytes = rest;
            self.settle(frames);
        }
    }

    /// When [`Framer::handle_timeout`] is to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let is_waiting = !self.buffer.is_empty() || self.discarding || self.noise > 0;
        self.heard.filter(|_| is_waiting).map(|heard| heard + self.inter_byte_timeout())
    }

    /// Ends what has waited too long at `now`: a frame that a pause completes, or a partial one.
    pub fn handle_timeout(&mut self, now: Instant, frames: &mut Vec<Frame>) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        if matches!(self.framing.shape, Shape::Idle(_)) && !self.discarding {
            let all = 0..self.buffer.len();
            self.judge(self.buffer.len(), all.clone(), all, frames);
        }
        self.reset(frames);
    }

    /// Drops a partial frame, as after an unplug.
    pub fn reset(&mut self, frames: &mut Vec<Frame>) {
        self.tell_noise(frames);
        let is_told = self.discarding || self.damaged >= self.buffer.len();
        if !is_told {
            frames.push(Frame::Lost(Loss::Incomplete));
        }
        self.buffer.clear();
        (self.scanned, self.damaged, self.is_lost, self.discarding) = (0, 0, false, false);
    }

    fn inter_byte_timeout(&self) -> Duration {
        match self.framing.shape {
            Shape::Idle(gap) => gap,
            Shape::Line
            | Shape::Delimited(_)
            | Shape::Fixed { .. }
            | Shape::Prefixed { .. }
            | Shape::Enclosed { .. } => self.framing.inter_byte_timeout,
        }
    }

    /// Takes frames off the front until one is open, and then there is room for another byte.
    fn settle(&mut self, frames: &mut Vec<Frame>) {
        loop {
            match self.find() {
                Finding::Open if self.buffer.len() < self.framing.capacity() => return,
                Finding::Open if self.discarding => self.forget(),
                Finding::Open => self.fail(Loss::TooLong, self.buffer.len(), frames),
                Finding::Junk(bytes) => self.pass_over(bytes, frames),
                Finding::Failed { loss, taken } => self.fail(loss, taken, frames),
                Finding::Frame { taken, .. } if self.discarding => {
                    self.discarding = false;
                    self.remove(taken);
                }
                Finding::Frame { taken, judged, content } => {
                    self.judge(taken, judged, content, frames);
                }
            }
        }
    }

    fn find(&mut self) -> Finding {
        let checksum_bytes = self.framing.checksum_bytes();
        let (finding, scanned) = self.framing.shape.find(
            &self.buffer,
            self.scanned,
            &shape::Bounds { bytes_max: self.framing.bytes_max, checksum_bytes },
        );
        self.scanned = scanned;
        finding
    }

    /// Passes a frame on if its checksum is right.
    fn judge(
        &mut self,
        taken: usize,
        judged: Range<usize>,
        content: Range<usize>,
        frames: &mut Vec<Frame>,
    ) {
        let frame = self.buffer.get(judged).unwrap_or_default();
        let whole = match &self.framing.checksum {
            Some(checksum) => checksum.strip(frame),
            None => Some(frame),
        };
        let Some(whole) = whole else { return self.fail(Loss::Checksum, taken, frames) };
        // The checksum of NMEA takes something off the front, too; nothing else is cut from such a frame.
        let content = whole.get(content.start..content.end.min(whole.len())).unwrap_or(whole);
        let content = Bytes::copy_from_slice(content);
        self.tell_noise(frames);
        if !content.is_empty() {
            frames.push(Frame::Whole(content));
        }
        self.is_lost = false;
        self.remove(taken);
    }

    /// Tells a loss once, and goes on where the next frame may begin.
    fn fail(&mut self, loss: Loss, taken: usize, frames: &mut Vec<Frame>) {
        self.is_lost = true;
        if self.damaged == 0 {
            self.tell_noise(frames);
            frames.push(Frame::Lost(loss));
            self.damaged = taken;
        }
        if self.framing.shape.begins_anywhere() {
            // No end stands in what was looked at, so that a stream of starts is not looked at again for each of them.
            let scanned = if loss == Loss::TooLong { self.scanned.saturating_sub(1) } else { 0 };
            self.remove(1);
            self.scanned = scanned;
        } else if loss == Loss::TooLong {
            self.discarding = true;
            self.forget();
        } else {
            self.remove(taken);
        }
    }

    fn pass_over(&mut self, bytes: usize, frames: &mut Vec<Frame>) {
        let is_noise = |byte: &&u8| !matches!(byte, b'\n' | b'\r');
        if !self.is_lost {
            self.noise += self.buffer.iter().take(bytes).filter(is_noise).count();
        }
        // Noise without an end is told, too.
        while self.noise > self.framing.bytes_max {
            self.noise -= self.framing.bytes_max;
            frames.push(Frame::Lost(Loss::Noise));
        }
        self.remove(bytes);
    }

    fn tell_noise(&mut self, frames: &mut Vec<Frame>) {
        if std::mem::take(&mut self.noise) > 0 {
            frames.push(Frame::Lost(Loss::Noise));
        }
    }

    fn remove(&mut self, bytes: usize) {
        // Whatever is found, a byte is gone, so that settling ends.
        self.buffer.drain(..bytes.max(1).min(self.buffer.len()));
        self.damaged = self.damaged.saturating_sub(bytes);
        self.scanned = 0;
    }

    /// Keeps of a frame that is passed over only what may be the beginning of its delimiter.
    fn forget(&mut self) {
        let kept = self.framing.shape.delimiter_bytes().saturating_sub(1);
        self.remove(self.buffer.len().saturating_sub(kept));
        self.damaged = 0;
    }
}

#[cfg(test)]
mod tests;
