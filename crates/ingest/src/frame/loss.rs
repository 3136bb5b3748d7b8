//! The reasons for dropped bytes.

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
