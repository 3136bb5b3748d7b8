//! Cuts a stream of bytes into frames, independent of the chunks in which it arrives.
//!
//! The framer buffers one partial frame and never more than its limit, even if the sender never
//! ends it (as with a wrong baud rate). After a damaged frame it searches for the next frame from
//! the second byte of the damaged one, so a lost byte costs one frame and not two. A frame whose
//! rest does not arrive in time is dropped. The framer reports all dropped bytes as a [`Loss`],
//! once for each damage.

mod checksum;
mod loss;
mod nmea;
mod shape;
mod sml;
mod vedirect;

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::hex_digits;
use tidegate_timing::machine::Machine;

pub use checksum::{Checksum, ChecksumAlgorithm, CoverEnd, Notation};
pub use loss::{Loss, Lost, Sums};
pub use shape::{Counted, Endian, Length, Shape};

use shape::{Limits, ScanResult};

/// The escape of bytes that would look like marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escape {
    /// Announces that the next byte was changed.
    pub byte: u8,
    /// The bits that were changed: 20 (hexadecimal) in RFC 1662, 4.2.
    pub changed: u8,
}

/// The rules that cut a stream into frames.
#[derive(Debug, Clone, PartialEq)]
pub struct Framing {
    /// The start and the end of a frame.
    pub shape: Shape,
    /// The checksum, which the framer verifies and removes.
    pub checksum: Option<Checksum>,
    /// How bytes that stand for marks are escaped. They are restored before the checksum is
    /// verified.
    pub escape: Option<Escape>,
    /// Whether the content consists of hexadecimal digits, which become bytes after the checksum
    /// was verified.
    pub decode_hex: bool,
    /// The longest frame in bytes, without its delimiter or its markers.
    pub bytes_max: usize,
    /// The longest pause of the sender within a frame. [`Shape::Idle`] has its own.
    pub inter_byte_timeout: Duration,
    /// Whether the first frame of a connection is known to be whole. Otherwise the framer drops
    /// what comes before the first delimiter, unless a pause or a checksum proves that it is whole.
    pub keep_first: bool,
}

/// An output of the framer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A complete frame; never empty.
    Whole(Bytes),
    /// Dropped bytes.
    Lost(Lost),
}

/// Cuts one stream into frames.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    buffer: Vec<u8>,
    /// The bytes at the front in which the end of the frame was already searched.
    scanned_bytes: usize,
    /// The bytes at the front that belong to a loss that was already reported.
    reported_bytes: usize,
    /// True after a loss until the next complete frame: bytes between frames belong to the loss.
    is_resyncing: bool,
    /// Removed bytes that belong to no frame and were not reported yet.
    noise_bytes: usize,
    /// The first of them.
    noise: Vec<u8>,
    /// True while the framer drops the rest of a frame that is too long.
    is_discarding: bool,
    /// When the connection was opened, until the first delimiter: the first bytes may be the rest
    /// of a frame.
    opened_at: Option<Instant>,
    last_bytes_at: Option<Instant>,
    frames: VecDeque<Frame>,
}

impl Framing {
    /// The default of [`Framing::inter_byte_timeout`].
    pub const INTER_BYTE_TIMEOUT: Duration = Duration::from_secs(5);

    /// Returns the framing of lines with at most `bytes_max` bytes, without a checksum.
    pub fn lines(bytes_max: usize) -> Self {
        let inter_byte_timeout = Self::INTER_BYTE_TIMEOUT;
        let shape = Shape::Line;
        Self {
            shape,
            checksum: None,
            escape: None,
            decode_hex: false,
            bytes_max,
            inter_byte_timeout,
            keep_first: false,
        }
    }

    fn checksum_bytes(&self) -> usize {
        self.checksum.as_ref().map_or(0, Checksum::bytes)
    }

    /// Returns the content of a frame; `None` if its checksum is wrong or its content invalid.
    fn open(&self, frame: &[u8], content: Range<usize>, is_checked: bool) -> Option<Bytes> {
        match self.shape {
            Shape::Sml => return sml::open(frame),
            Shape::VeDirect => return vedirect::open(frame),
            Shape::Nmea => return nmea::open(frame),
            Shape::Line
            | Shape::Delimited(_)
            | Shape::Fixed { .. }
            | Shape::Prefixed { .. }
            | Shape::Enclosed { .. }
            | Shape::Idle(_) => {}
        }
        let restored = self.escape.map(|escape| restored(frame, escape));
        let frame = restored.as_deref().unwrap_or(frame);
        let verified = match &self.checksum {
            Some(checksum) if is_checked => checksum.verify(frame)?,
            Some(_) | None => frame,
        };
        // The checksum of NMEA also removes the first byte; such a frame has no other part to cut.
        let end = content.end.min(verified.len());
        let content = verified.get(content.start..end).unwrap_or(verified);
        if self.decode_hex {
            return hex_digits::bytes(content).map(Bytes::from);
        }
        Some(Bytes::copy_from_slice(content))
    }

    /// Returns both values of the checksum of a frame, as far as the frame has one.
    fn sums(&self, frame: &[u8]) -> Option<Sums> {
        let restored = self.escape.map(|escape| restored(frame, escape));
        let frame = restored.as_deref().unwrap_or(frame);
        self.checksum.as_ref()?.sums(frame)
    }

    fn capacity(&self) -> usize {
        self.bytes_max + self.shape.frame_overhead(self.checksum_bytes())
    }
}

impl Framer {
    /// Creates a framer. It allocates the memory for its longest frame here, and no more later.
    pub fn new(framing: Framing) -> Self {
        Self {
            buffer: Vec::with_capacity(framing.capacity()),
            framing,
            scanned_bytes: 0,
            reported_bytes: 0,
            is_resyncing: false,
            noise_bytes: 0,
            noise: Vec::with_capacity(Lost::BYTES_MAX),
            is_discarding: false,
            opened_at: None,
            last_bytes_at: None,
            frames: VecDeque::new(),
        }
    }

    /// Records that the stream was opened at `now`, perhaps in the middle of a frame.
    ///
    /// A frame that has neither a start nor a checksum is whole only if it follows a delimiter, or
    /// a pause that is longer than the pauses within a frame. So the first one is dropped as
    /// [`Loss::Noise`], unless such a pause precedes it.
    pub fn handle_opened(&mut self, now: Instant) {
        let proves_nothing = self.framing.checksum.is_none() && !self.framing.keep_first;
        let is_open = proves_nothing && !self.framing.shape.has_start();
        self.opened_at = is_open.then_some(now);
    }

    /// Records that a request is sent, or that its answer is overdue: drops a partial frame, so
    /// that the next bytes start a frame.
    pub fn handle_request(&mut self) {
        self.handle_disconnected();
    }

    /// Processes the next bytes of the stream, which arrived at `now`.
    pub fn handle_bytes(&mut self, mut bytes: &[u8], now: Instant) {
        self.handle_timeout(now);
        let is_after_pause = |opened: &Instant| now >= *opened + self.inter_byte_timeout();
        if self.last_bytes_at.is_none() && self.opened_at.as_ref().is_some_and(is_after_pause) {
            self.opened_at = None;
        }
        if !bytes.is_empty() {
            self.last_bytes_at = Some(now);
        }
        while !bytes.is_empty() {
            let free = self.framing.capacity() - self.buffer.len();
            let (fitting, rest) = bytes.split_at(free.min(bytes.len()));
            self.buffer.extend_from_slice(fitting);
            bytes = rest;
            self.extract_frames();
            debug_assert!(self.buffer.len() < self.framing.capacity(), "no space for a byte");
        }
    }

    /// Drops a partial frame, for example after an unplug.
    pub fn handle_disconnected(&mut self) {
        self.report_noise();
        let is_reported = self.is_discarding
            || self.reported_bytes >= self.buffer.len()
            || self.framing.shape.is_shared_mark(&self.buffer);
        if !is_reported {
            self.lose(Loss::Incomplete, self.buffer.len(), None);
        }
        self.buffer.clear();
        self.scanned_bytes = 0;
        self.reported_bytes = 0;
        self.is_resyncing = false;
        self.is_discarding = false;
        self.opened_at = None;
    }

    /// Returns whether a frame has begun and not ended.
    pub fn is_partial(&self) -> bool {
        let has_bytes = !self.buffer.is_empty() && !self.framing.shape.is_shared_mark(&self.buffer);
        has_bytes || self.is_discarding
    }

    /// Removes and returns all frames that are ready.
    pub fn drain_frames(&mut self) -> impl Iterator<Item = Frame> {
        self.frames.drain(..)
    }

    fn inter_byte_timeout(&self) -> Duration {
        match self.framing.shape {
            Shape::Idle(timeout) => timeout,
            Shape::Line
            | Shape::Delimited(_)
            | Shape::Fixed { .. }
            | Shape::Prefixed { .. }
            | Shape::Enclosed { .. }
            | Shape::Sml
            | Shape::Nmea
            | Shape::VeDirect => self.framing.inter_byte_timeout,
        }
    }

    /// Removes frames from the front until one is partial and the buffer has space for a byte.
    fn extract_frames(&mut self) {
        loop {
            match self.scan() {
                ScanResult::NeedsBytes if self.buffer.len() < self.framing.capacity() => return,
                ScanResult::NeedsBytes if self.is_discarding => self.discard(),
                ScanResult::NeedsBytes => self.fail(Loss::TooLong, self.buffer.len(), None),
                ScanResult::NotFrame(bytes) => self.skip_noise(bytes),
                ScanResult::Skip(bytes) => self.remove(bytes),
                ScanResult::Failed { loss, length } => self.fail(loss, length, None),
                ScanResult::Frame { length, .. } if self.is_discarding => {
                    self.is_discarding = false;
                    self.opened_at = None;
                    self.remove(length);
                }
                ScanResult::Frame { length, content, .. } if self.opened_at.is_some() => {
                    self.drop_first(length, !content.is_empty());
                }
                ScanResult::Frame { length, checked, content, is_checked } => {
                    self.check(length, checked, content, is_checked);
                }
            }
        }
    }

    /// Drops what came before the first delimiter.
    fn drop_first(&mut self, length: usize, is_loss: bool) {
        self.opened_at = None;
        if is_loss {
            self.lose(Loss::Noise, length, None);
        }
        self.remove(length);
    }

    fn scan(&mut self) -> ScanResult {
        let checksum_bytes = self.framing.checksum_bytes();
        let limits = Limits { bytes_max: self.framing.bytes_max, checksum_bytes };
        let (result, scanned_bytes) =
            self.framing.shape.scan(&self.buffer, self.scanned_bytes, &limits);
        debug_assert!(scanned_bytes <= self.buffer.len().max(self.framing.capacity()));
        self.scanned_bytes = scanned_bytes;
        result
    }

    /// Outputs a frame if its checksum is right.
    fn check(
        &mut self,
        length: usize,
        checked: Range<usize>,
        content: Range<usize>,
        is_checked: bool,
    ) {
        let frame = self.buffer.get(checked).unwrap_or_default();
        let Some(content) = self.framing.open(frame, content, is_checked) else {
            // A loss is reported once, and only then with its checksum.
            let is_shown = is_checked && self.reported_bytes == 0;
            let sums = is_shown.then(|| self.framing.sums(frame)).flatten();
            return self.fail(Loss::Checksum, length, sums);
        };
        self.report_noise();
        if !content.is_empty() {
            self.frames.push_back(Frame::Whole(content));
        }
        self.is_resyncing = false;
        self.remove(length);
    }

    /// Reports a loss once, and continues where the next frame may start.
    fn fail(&mut self, loss: Loss, length: usize, sums: Option<Sums>) {
        self.is_resyncing = true;
        if self.reported_bytes == 0 {
            self.report_noise();
            self.lose(loss, length, sums);
            self.reported_bytes = length;
        }
        if self.framing.shape.can_start_anywhere() {
            // The scanned bytes contain no end, so a stream of start bytes is scanned only once.
            let scanned =
                if loss == Loss::TooLong { self.scanned_bytes.saturating_sub(1) } else { 0 };
            self.remove(1);
            self.scanned_bytes = scanned;
        } else if loss == Loss::TooLong {
            self.is_discarding = true;
            self.discard();
        } else {
            self.remove(length);
        }
    }

    fn skip_noise(&mut self, bytes: usize) {
        let is_noise = |byte: &&u8| !matches!(byte, b'\n' | b'\r');
        if !self.is_resyncing {
            let noise = self.buffer.iter().take(bytes).filter(is_noise);
            self.noise_bytes += noise.clone().count();
            let missing = Lost::BYTES_MAX.saturating_sub(self.noise.len());
            self.noise.extend(noise.take(missing));
        }
        // Endless noise is reported too, once for each frame length.
        while self.noise_bytes > self.framing.bytes_max {
            self.noise_bytes -= self.framing.bytes_max;
            self.lose_noise();
        }
        self.remove(bytes);
    }

    fn lose_noise(&mut self) {
        self.frames.push_back(Frame::Lost(Lost::new(Loss::Noise, &self.noise, None)));
        self.noise.clear();
    }

    fn report_noise(&mut self) {
        if std::mem::take(&mut self.noise_bytes) > 0 {
            self.lose_noise();
        }
    }

    /// Reports the loss of bytes at the front.
    fn lose(&mut self, loss: Loss, length: usize, sums: Option<Sums>) {
        let bytes = self.buffer.get(..length).unwrap_or(&self.buffer);
        self.frames.push_back(Frame::Lost(Lost::new(loss, bytes, sums)));
    }

    /// Removes bytes from the front, at least one, so that the extraction ends.
    fn remove(&mut self, bytes: usize) {
        self.buffer.drain(..bytes.max(1).min(self.buffer.len()));
        self.reported_bytes = self.reported_bytes.saturating_sub(bytes);
        self.scanned_bytes = 0;
    }

    /// Drops a part of a long frame, except for bytes that may start its delimiter.
    fn discard(&mut self) {
        let kept = self.framing.shape.delimiter_bytes().saturating_sub(1);
        self.remove(self.buffer.len().saturating_sub(kept));
        self.reported_bytes = 0;
    }
}

/// Restores the escaped bytes of a frame.
fn restored(frame: &[u8], escape: Escape) -> Vec<u8> {
    let mut is_escaped = false;
    let restore = |byte: &u8| {
        let byte = match (std::mem::take(&mut is_escaped), *byte) {
            (true, byte) => byte ^ escape.changed,
            (false, byte) if byte == escape.byte => {
                is_escaped = true;
                return None;
            }
            (false, byte) => byte,
        };
        Some(byte)
    };
    frame.iter().filter_map(restore).collect()
}

/// Drops a partial frame whose rest is late; with [`Shape::Idle`] the pause completes the frame.
impl Machine for Framer {
    type Action = Frame;

    fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        let length = self.buffer.len();
        if matches!(self.framing.shape, Shape::Idle(_)) && !self.is_discarding {
            if self.opened_at.is_some() {
                self.drop_first(length, length > 0);
            } else {
                self.check(length, 0..length, 0..length, true);
            }
        }
        self.handle_disconnected();
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let is_partial = self.is_partial() || self.noise_bytes > 0;
        self.last_bytes_at.filter(|_| is_partial).map(|at| at + self.inter_byte_timeout())
    }

    fn poll_action(&mut self) -> Option<Frame> {
        self.frames.pop_front()
    }
}

#[cfg(test)]
mod instruments;
#[cfg(test)]
mod tests;
