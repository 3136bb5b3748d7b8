//! The shapes of frames, and the search for the end of a frame in a buffer.
//!
//! Bytes that arrive later never change the result of a search, except for
//! [`ScanResult::NeedsBytes`]. So the frames do not depend on the chunks.

use std::ops::Range;
use std::time::Duration;

use super::loss::Loss;
use super::{nmea, sml, vedirect};

/// The start and the end of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A line that ends with LF, CR or CRLF. Empty lines are skipped, also the one within CRLF.
    Line,
    /// Ends with these bytes, at least one. Empty frames are skipped.
    Delimited(Vec<u8>),
    /// A frame of fixed length.
    Fixed {
        /// The first bytes; may be empty.
        start: Vec<u8>,
        /// The length with `start`, checksum and `end`.
        bytes: usize,
        /// The last bytes, after the checksum; may be empty. The framer removes them.
        end: Vec<u8>,
    },
    /// A frame with its length in the header. The output contains the header.
    Prefixed {
        /// The first bytes; may be empty.
        start: Vec<u8>,
        /// The length field.
        length: Length,
        /// The last bytes, after the checksum; may be empty. The framer removes them.
        end: Vec<u8>,
    },
    /// A frame between a start marker and an end marker. If both are equal and no checksum follows
    /// the end marker, the end marker of one frame may be the start marker of the next, as in HDLC.
    Enclosed {
        /// The start marker; at least one byte.
        start: Vec<u8>,
        /// The end marker; at least one byte.
        end: Vec<u8>,
        /// Whether the checksum follows the end marker instead of preceding it.
        checksum_after_end: bool,
        /// Whether the output contains the markers.
        keep_markers: bool,
        /// Whether a line end in place of the checksum after the end marker means that the frame
        /// has none.
        checksum_optional: bool,
    },
    /// A frame that ends with a pause of this duration.
    Idle(Duration),
    /// A file of the Smart Message Language in its transport layer. The output is the file without
    /// escapes.
    Sml,
    /// A sentence of NMEA 0183 with its checksum, wherever it stands in a line. The output is the
    /// sentence from its mark to its checksum. Tag blocks are skipped.
    Nmea,
    /// A block of VE.Direct. The output is the lines without the checksum. Messages of the HEX
    /// protocol are skipped, also within a block.
    VeDirect,
}

/// The length field of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// The bytes before the field, start bytes included.
    pub offset: usize,
    /// The size of the field in bytes, 1 to 4.
    pub size: usize,
    /// The byte order of the field.
    pub endian: Endian,
    /// The bytes that the field counts.
    pub counts: Counted,
    /// The number of further bytes that the field does not count, such as a checksum.
    pub extra: usize,
    /// Whether the field and then the first bytes of the frame are repeated behind the field, as in
    /// M-Bus.
    pub is_repeated: bool,
}

/// The byte order of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endian {
    /// Most significant byte first.
    Big,
    /// Least significant byte first.
    Little,
}

/// The bytes that a length field counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The bytes after the field.
    Rest,
    /// All bytes of the frame.
    All,
}

/// The limits of a frame.
pub(super) struct Limits {
    pub(super) bytes_max: usize,
    pub(super) checksum_bytes: usize,
}

/// The result of a search at the front of the buffer.
pub(super) enum ScanResult {
    /// More bytes are necessary.
    NeedsBytes,
    /// This many bytes start no frame.
    NotFrame(usize),
    /// This many bytes are no loss.
    Skip(usize),
    /// A frame.
    Frame {
        /// The length of the frame with its delimiter.
        length: usize,
        /// The part that the checksum covers, with the checksum.
        checked: Range<usize>,
        /// The part of `checked` that is the output.
        content: Range<usize>,
        /// Whether the frame has the checksum of the framing, if that has one.
        is_checked: bool,
    },
    /// The frame that starts here is damaged or too long.
    Failed {
        /// The reason.
        loss: Loss,
        /// The bytes of the damaged frame.
        length: usize,
    },
}

impl ScanResult {
    /// Returns a frame that is checked and passed on from its first to its last byte.
    pub(super) fn whole(length: usize) -> Self {
        Self::Frame { length, checked: 0..length, content: 0..length, is_checked: true }
    }
}

impl Shape {
    /// Searches for a frame at the front of `buffer`.
    ///
    /// The first `scanned` bytes contain no end. Returns the result and the new value of `scanned`.
    pub(super) fn scan(
        &self,
        buffer: &[u8],
        scanned: usize,
        limits: &Limits,
    ) -> (ScanResult, usize) {
        match self {
            Self::Line => find_delimited(buffer, scanned, 1, |at| is_line_end(buffer.get(at))),
            Self::Delimited(delimiter) => {
                let ends = |at| buffer.get(at..).is_some_and(|rest| rest.starts_with(delimiter));
                find_delimited(buffer, scanned, delimiter.len(), ends)
            }
            Self::Fixed { start, bytes, end } => {
                (find_start(buffer, start).unwrap_or_else(|| fixed(buffer, *bytes, end)), 0)
            }
            Self::Prefixed { start, length, end } => {
                let scan = || length.scan(buffer, start, end, limits);
                (find_start(buffer, start).unwrap_or_else(scan), 0)
            }
            Self::Enclosed { start, end, checksum_after_end, keep_markers, checksum_optional } => {
                if let Some(result) = find_start(buffer, start) {
                    return (result, 0);
                }
                let (checksum_after_end, keep) = (*checksum_after_end, *keep_markers);
                let checksum_optional = *checksum_optional;
                let markers = Markers { start, end, checksum_after_end, keep, checksum_optional };
                markers.scan(buffer, scanned, limits)
            }
            Self::Idle(_) => (ScanResult::NeedsBytes, 0),
            Self::Sml => sml::scan(buffer, scanned),
            Self::Nmea => (nmea::scan(buffer), 0),
            Self::VeDirect => (vedirect::scan(buffer), 0),
        }
    }

    /// Returns the configured bytes that mark a frame, with the names of their options.
    pub fn marks(&self) -> Vec<(&'static str, &[u8])> {
        let marks: [(_, &[u8]); 2] = match self {
            Self::Line | Self::Idle(_) | Self::Sml | Self::Nmea | Self::VeDirect => {
                [("start", &[]), ("end", &[])]
            }
            Self::Delimited(delimiter) => [("delimiter", delimiter), ("end", &[])],
            Self::Fixed { start, end, .. }
            | Self::Prefixed { start, end, .. }
            | Self::Enclosed { start, end, .. } => [("start", start), ("end", end)],
        };
        marks.into_iter().filter(|(_, bytes)| !bytes.is_empty()).collect()
    }

    /// Returns the bytes of a frame that its limit does not count.
    pub(super) fn frame_overhead(&self, checksum_bytes: usize) -> usize {
        match self {
            // With one more byte before the end, the framer knows that the frame is too long.
            Self::Line | Self::Idle(_) => 1,
            Self::Delimited(delimiter) => delimiter.len(),
            Self::Enclosed { start, end, checksum_after_end, .. } => {
                start.len() + end.len() + if *checksum_after_end { checksum_bytes } else { 0 }
            }
            Self::Fixed { .. }
            | Self::Prefixed { .. }
            | Self::Sml
            | Self::Nmea
            | Self::VeDirect => 0,
        }
    }

    /// Returns whether these bytes are only an end marker that may be the next start marker.
    pub(super) fn is_shared_mark(&self, bytes: &[u8]) -> bool {
        matches!(self, Self::Enclosed { start, end, checksum_after_end: false, .. }
            if start == end && start == bytes)
    }

    /// Returns the length of the delimiter; 0 without one.
    pub(super) fn delimiter_bytes(&self) -> usize {
        match self {
            Self::Line => 1,
            Self::Delimited(delimiter) => delimiter.len(),
            Self::VeDirect => vedirect::LAST_FIELD.len() + 1,
            Self::Fixed { .. }
            | Self::Prefixed { .. }
            | Self::Enclosed { .. }
            | Self::Idle(_)
            | Self::Sml
            | Self::Nmea => 0,
        }
    }

    /// Returns whether the first bytes of a frame, or its length, tell where it starts.
    pub(super) fn has_start(&self) -> bool {
        // A block of VE.Direct has a checksum of its own.
        self.can_start_anywhere() || *self == Self::VeDirect
    }

    /// Returns whether the next frame may start within a damaged one.
    pub(super) fn can_start_anywhere(&self) -> bool {
        match self {
            Self::Fixed { .. }
            | Self::Prefixed { .. }
            | Self::Enclosed { .. }
            | Self::Sml
            | Self::Nmea => true,
            Self::Line | Self::Delimited(_) | Self::Idle(_) | Self::VeDirect => false,
        }
    }
}

impl Length {
    fn scan(&self, buffer: &[u8], start: &[u8], end: &[u8], limits: &Limits) -> ScanResult {
        let header = self.offset + self.size;
        let Some(field) = buffer.get(self.offset..header) else { return ScanResult::NeedsBytes };
        let fold = |value: usize, byte: &u8| value << 8 | usize::from(*byte);
        if self.is_repeated {
            let expected = [field, start].concat();
            let repeated = buffer.get(header..).unwrap_or_default();
            if !repeated.starts_with(&expected) {
                let may_follow = expected.starts_with(repeated);
                return if may_follow { ScanResult::NeedsBytes } else { ScanResult::NotFrame(1) };
            }
        }
        let value = match self.endian {
            Endian::Big => field.iter().fold(0, fold),
            Endian::Little => field.iter().rev().fold(0, fold),
        };
        let counted = match self.counts {
            Counted::All => value,
            Counted::Rest => value.saturating_add(header),
        };
        let bytes = counted.saturating_add(self.extra);
        if bytes < header + limits.checksum_bytes + end.len() {
            ScanResult::NotFrame(1)
        } else if bytes > limits.bytes_max {
            ScanResult::Failed { loss: Loss::TooLong, length: limits.bytes_max }
        } else {
            fixed(buffer, bytes, end)
        }
    }
}

/// The markers of an enclosed frame.
struct Markers<'a> {
    start: &'a [u8],
    end: &'a [u8],
    checksum_after_end: bool,
    keep: bool,
    checksum_optional: bool,
}

impl Markers<'_> {
    /// Searches for the end of the frame that starts at the front.
    fn scan(&self, buffer: &[u8], scanned: usize, limits: &Limits) -> (ScanResult, usize) {
        let first = scanned.max(self.start.len());
        for at in first..buffer.len() {
            let rest = buffer.get(at..).unwrap_or_default();
            if rest.starts_with(self.end) {
                // Two shared marks in a row are the end and the start of two frames.
                let is_empty = self.is_shared() && at == self.start.len();
                let skip = || ScanResult::Skip(self.start.len());
                return if is_empty { (skip(), 0) } else { (self.finish(buffer, at, limits), at) };
            }
            // Without a checksum, a new start marker shows that the end marker was lost.
            let restarts = limits.checksum_bytes == 0 && self.start != self.end;
            if restarts && rest.starts_with(self.start) {
                return (ScanResult::Failed { loss: Loss::Incomplete, length: at }, at);
            }
            if self.end.starts_with(rest) || restarts && self.start.starts_with(rest) {
                return (ScanResult::NeedsBytes, at);
            }
        }
        (ScanResult::NeedsBytes, buffer.len().max(first))
    }

    /// Returns the frame whose end marker is at `at`.
    fn finish(&self, buffer: &[u8], at: usize, limits: &Limits) -> ScanResult {
        let marker_end = at + self.end.len();
        if self.checksum_after_end && self.checksum_optional {
            match buffer.get(marker_end) {
                None => return ScanResult::NeedsBytes,
                Some(b'\r' | b'\n') => {
                    let all = 0..marker_end;
                    let content = if self.keep { all.clone() } else { self.start.len()..at };
                    let length = marker_end;
                    return ScanResult::Frame { length, checked: all, content, is_checked: false };
                }
                Some(_) => {}
            }
        }
        let (length, checked_end) = if self.checksum_after_end {
            (marker_end + limits.checksum_bytes, marker_end + limits.checksum_bytes)
        } else {
            (marker_end, at)
        };
        if buffer.len() < length {
            return ScanResult::NeedsBytes;
        }
        let content = match (self.keep, self.checksum_after_end) {
            (true, _) => 0..length,
            (false, true) => self.start.len()..at,
            (false, false) => self.start.len()..checked_end,
        };
        let has_checksum = limits.checksum_bytes > 0;
        let checked = if self.keep && !has_checksum { 0..length } else { 0..checked_end };
        // A shared mark stays as the start of the next frame.
        let length = if self.is_shared() { at } else { length };
        ScanResult::Frame { length, checked, content, is_checked: true }
    }

    fn is_shared(&self) -> bool {
        self.start == self.end && !self.checksum_after_end
    }
}

/// Returns the frame of `bytes` bytes that ends with `end`.
fn fixed(buffer: &[u8], bytes: usize, end: &[u8]) -> ScanResult {
    let Some(frame) = buffer.get(..bytes) else { return ScanResult::NeedsBytes };
    match frame.strip_suffix(end) {
        Some(checked) => {
            let checked = 0..checked.len();
            ScanResult::Frame { length: bytes, content: checked.clone(), checked, is_checked: true }
        }
        None => ScanResult::Failed { loss: Loss::Incomplete, length: bytes },
    }
}

/// Searches for the first index at which `ends` is true.
fn find_delimited(
    buffer: &[u8],
    scanned: usize,
    delimiter_bytes: usize,
    ends: impl Fn(usize) -> bool,
) -> (ScanResult, usize) {
    let Some(last) = buffer.len().checked_sub(delimiter_bytes) else {
        return (ScanResult::NeedsBytes, 0);
    };
    match (scanned..=last).find(|at| ends(*at)) {
        Some(at) => {
            let length = at + delimiter_bytes;
            (ScanResult::Frame { length, checked: 0..at, content: 0..at, is_checked: true }, 0)
        }
        None => (ScanResult::NeedsBytes, last + 1),
    }
}

/// Returns `None` if `buffer` starts with `start`, and otherwise the result of the scan.
pub(super) fn find_start(buffer: &[u8], start: &[u8]) -> Option<ScanResult> {
    if buffer.is_empty() {
        return Some(ScanResult::NeedsBytes);
    }
    if buffer.starts_with(start) {
        return None;
    }
    if start.starts_with(buffer) {
        return Some(ScanResult::NeedsBytes);
    }
    let can_start = |at: &usize| {
        let rest = buffer.get(*at..).unwrap_or_default();
        rest.starts_with(start) || start.starts_with(rest)
    };
    Some(ScanResult::NotFrame((1..buffer.len()).find(can_start).unwrap_or(buffer.len())))
}

fn is_line_end(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'\n' | b'\r'))
}
