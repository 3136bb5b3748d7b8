//! Dropped bytes: why, and what they began with.

use std::fmt;

use bytes::Bytes;

use tidegate_model::excerpt::notation;

/// The reason that bytes were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// The frame is longer than the limit, or its header announces such a length.
    TooLong,
    /// The checksum is wrong.
    Checksum,
    /// The rest of the frame did not arrive.
    Incomplete,
    /// The bytes belong to no frame, as when reading starts in the middle of one.
    Noise,
}

/// Bytes that were dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Why they were dropped.
    pub loss: Loss,
    /// The first of them: at most [`Lost::BYTES_MAX`].
    pub bytes: Bytes,
    /// The two values of a checksum that is wrong, as far as the frame has one.
    pub sums: Option<Sums>,
}

/// The checksum of a frame, twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// As computed from the bytes.
    pub computed: u32,
    /// As received.
    pub received: u32,
    /// The hexadecimal digits of both.
    pub digits: usize,
}

impl Lost {
    /// The maximum number of bytes that are kept, for a person who compares them with a manual.
    pub const BYTES_MAX: usize = 32;

    /// Keeps the first of `bytes`.
    pub(super) fn new(loss: Loss, bytes: &[u8], sums: Option<Sums>) -> Self {
        let first = bytes.get(..Self::BYTES_MAX).unwrap_or(bytes);
        Self { loss, bytes: Bytes::copy_from_slice(first), sums }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::TooLong => "a message that is too long",
            Self::Checksum => "a message whose checksum is wrong",
            Self::Incomplete => "a message without its end",
            Self::Noise => "bytes outside of a message",
        })
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.loss)?;
        if let Some(Sums { computed, received, digits }) = self.sums {
            write!(formatter, ", computed {computed:0digits$x}, received {received:0digits$x}")?;
        }
        if self.bytes.is_empty() {
            return Ok(());
        }
        let more = if self.bytes.len() < Self::BYTES_MAX { "" } else { " …" };
        write!(formatter, ": {}{more}", notation(&self.bytes))
    }
}
