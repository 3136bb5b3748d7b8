//! How frames begin and end, and where that is in a buffer.
//!
//! What is found in a buffer is found again, and nothing else before it, when more bytes stand behind: this makes the
//! framer independent of chunks.

use std::time::Duration;

use super::{Finding, Loss};

/// How a frame begins and ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// A line that ends with LF, CR or CRLF. Empty lines are skipped, so that the LF of a CRLF is one of them.
    Line,
    /// Ends with these bytes, at least one. Empty frames are skipped.
    Delimited(Vec<u8>),
    /// Always so long.
    Fixed {
        /// What it begins with; may be empty.
        start: Vec<u8>,
        /// All its bytes, `start`, checksum and `end` included.
        bytes: usize,
        /// What it ends with, behind its checksum; may be empty. It is taken off with the checksum.
        end: Vec<u8>,
    },
    /// Says in its header how long it is. Passed on from its first byte.
    Prefixed {
        /// What it begins with; may be empty.
        start: Vec<u8>,
        /// Where it says its length.
        length: Length,
    },
    /// Stands between two marks.
    Enclosed {
        /// What it begins with; at least one byte.
        start: Vec<u8>,
        /// What it ends with; at least one byte.
        end: Vec<u8>,
        /// Whether the checksum stands behind the end, and not before it.
        checksum_after_end: bool,
        /// Whether the marks are passed on, too.
        keep_markers: bool,
    },
    /// Ends with a silence of this length.
    Idle(Duration),
}

/// Where and how a frame says its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// Bytes before it, start bytes included.
    pub offset: usize,
    /// Its own size in bytes, 1 to 4.
    pub size: usize,
    /// The order of its bytes.
    pub endian: Endian,
    /// What it counts.
    pub counts: Counted,
    /// Bytes of the frame that it does not count, such as a checksum.
    pub extra: usize,
}

/// The order of the bytes of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endian {
    /// The most significant byte first.
    Big,
    /// The least significant byte first.
    Little,
}

/// What a length counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The bytes after it.
    Rest,
    /// All bytes of the frame.
    All,
}

/// What limits a frame.
pub(super) struct Bounds {
    pub(super) bytes_max: usize,
    pub(super) checksum_bytes: usize,
}

impl Shape {
    /// What stands at the front of `buffer`, whose end has been looked for in its first `scanned` bytes; and how far
    /// that has been done after this.
    pub(super) fn find(&self, buffer: &[u8], scanned: usize, bounds: &Bounds) -> (Finding, usize) {
        match self {
            Self::Line => find_delimited(buffer, scanned, 1, |at| is_line_end(buffer.get(at))),
            Self::Delimited(delimiter) => {
                let ends = |at| buffer.get(at..).is_some_and(|rest| rest.starts_with(delimiter));
                find_delimited(buffer, scanned, delimiter.len(), ends)
            }
            Self::Fixed { start, bytes, end } => {
                (find_start(buffer, start).unwrap_or_else(|| fixed(buffer, *bytes, end)), 0)
            }
            Self::Prefixed { start, length } => {
                let find = || length.find(buffer, bounds);
                (find_start(buffer, start).unwrap_or_else(find), 0)
            }
            Self::Enclosed { start, end, checksum_after_end, keep_markers } => {
                if let Some(finding) = find_start(buffer, start) {
                    return (finding, 0);
                }
                let marks = Marks { start, end, after: *checksum_after_end, keep: *keep_markers };
                marks.find(buffer, scanned, bounds)
            }
            Self::Idle(_) => (Finding::Open, 0),
        }
    }

    /// Bytes of a frame beside those that its bound counts, if its checksum has `checksum_bytes`.
    pub(super) fn frame_overhead(&self, checksum_bytes: usize) -> usize {
        match self {
            // That one more byte has come before a silence tells that the frame is too long.
            Self::Line | Self::Idle(_) => 1,
            Self::Delimited(delimiter) => delimiter.len(),
            Self::Enclosed { start, end, checksum_after_end, .. } => {
                start.len() + end.len() + if *checksum_after_end { checksum_bytes } else { 0 }
            }
            Self::Fixed { .. } | Self::Prefixed { .. } => 0,
        }
    }

    /// The bytes of the delimiter; 0 where there is none.
    pub(super) fn delimiter_bytes(&self) -> usize {
        match self {
            Self::Line => 1,
            Self::Delimited(delimiter) => delimiter.len(),
            Self::Fixed { .. } | Self::Prefixed { .. } | Self::Enclosed { .. } | Self::Idle(_) => 0,
        }
    }

    /// Whether the next frame may begin within one that failed.
    pub(super) fn begins_anywhere(&self) -> bool {
        match self {
            Self::Fixed { .. } | Self::Prefixed { .. } | Self::Enclosed { .. } => true,
            Self::Line | Self::Delimited(_) | Self::Idle(_) => false,
        }
    }
}

impl Length {
    fn find(&self, buffer: &[u8], bounds: &Bounds) -> Finding {
        let header = self.offset + self.size;
        let Some(field) = buffer.get(self.offset..header) else { return Finding::Open };
        let fold = |value: usize, byte: &u8| value << 8 | usize::from(*byte);
        let value = match self.endian {
            Endian::Big => field.iter().fold(0, fold),
            Endian::Little => field.iter().rev().fold(0, fold),
        };
        let counted = match self.counts {
            Counted::All => value,
            Counted::Rest => value.saturating_add(header),
        };
        let bytes = counted.saturating_add(self.extra);
        if bytes < header + bounds.checksum_bytes {
            Finding::Junk(1)
        } else if bytes > bounds.bytes_max {
            Finding::Failed { loss: Loss::TooLong, taken: bounds.bytes_max }
        } else {
            whole(buffer, bytes)
        }
    }
}

/// The marks of an enclosed frame.
struct Marks<'a> {
    start: &'a [u8],
    end: &'a [u8],
    after: bool,
    keep: bool,
}

impl Marks<'_> {
    /// Looks for the end of a frame that begins at the front.
    fn find(&self, buffer: &[u8], scanned: usize, bounds: &Bounds) -> (Finding, usize) {
        let first = scanned.max(self.start.len());
        for at in first..buffer.len() {
            let rest = buffer.get(at..).unwrap_or_default();
            if rest.starts_with(self.end) {
                return (self.finish(buffer, at, bounds), at);
            }
            // Where no checksum tells it, a new beginning tells that the end was lost.
            let restarts = bounds.checksum_bytes == 0 && self.start != self.end;
            if restarts && rest.starts_with(self.start) {
                return (Finding::Failed { loss: Loss::Incomplete, taken: at }, at);
            }
            if self.end.starts_with(rest) || restarts && self.start.starts_with(rest) {
                return (Finding::Open, at);
            }
        }
        (Finding::Open, buffer.len().max(first))
    }

    fn finish(&self, buffer: &[u8], at: usize, bounds: &Bounds) -> Finding {
        let behind = at + self.end.len();
        let (taken, judged_end) = if self.after {
            (behind + bounds.checksum_bytes, behind + bounds.checksum_bytes)
        } else {
            (behind, at)
        };
        if buffer.len() < taken {
            return Finding::Open;
        }
        let content = match (self.keep, self.after) {
            (true, _) => 0..taken,
            (false, true) => self.start.len()..at,
            (false, false) => self.start.len()..judged_end,
        };
        let judged = if self.keep && bounds.checksum_bytes == 0 { 0..taken } else { 0..judged_end };
        Finding::Frame { taken, judged, content }
    }
}

/// A frame of `bytes` bytes that ends with `end`, if they are there.
fn fixed(buffer: &[u8], bytes: usize, end: &[u8]) -> Finding {
    let Some(frame) = buffer.get(..bytes) else { return Finding::Open };
    match frame.strip_suffix(end) {
        Some(judged) => {
            let judged = 0..judged.len();
            Finding::Frame { taken: bytes, content: judged.clone(), judged }
        }
        None => Finding::Failed { loss: Loss::Incomplete, taken: bytes },
    }
}

/// A frame of `bytes` bytes, if they are there.
fn whole(buffer: &[u8], bytes: usize) -> Finding {
    if buffer.len() < bytes {
        return Finding::Open;
    }
    Finding::Frame { taken: bytes, judged: 0..bytes, content: 0..bytes }
}

/// Looks for the first place where `ends` holds.
fn find_delimited(
    buffer: &[u8],
    scanned: usize,
    delimiter_bytes: usize,
    ends: impl Fn(usize) -> bool,
) -> (Finding, usize) {
    let Some(last) = buffer.len().checked_sub(delimiter_bytes) else {
        return (Finding::Open, 0);
    };
    match (scanned..=last).find(|at| ends(*at)) {
        Some(at) => {
            let taken = at + delimiter_bytes;
            (Finding::Frame { taken, judged: 0..at, content: 0..at }, 0)
        }
        None => (Finding::Open, last + 1),
    }
}

/// `None` if `buffer` begins with `start`; otherwise what its front is.
fn find_start(buffer: &[u8], start: &[u8]) -> Option<Finding> {
    if buffer.is_empty() {
        return Some(Finding::Open);
    }
    if buffer.starts_with(start) {
        return None;
    }
    if start.starts_with(buffer) {
        return Some(Finding::Open);
    }
    let may_begin = |at: &usize| {
        let rest = buffer.get(*at..).unwrap_or_default();
        rest.starts_with(start) || start.starts_with(rest)
    };
    Some(Finding::Junk((1..buffer.len()).find(may_begin).unwrap_or(buffer.len())))
}

fn is_line_end(byte: Option<&u8>) -> bool {
    matches!(byte, Some(b'\n' | b'\r'))
}
