//! Registers: the tables of a unit, value types and byte orders.

/// A table of a unit's data model (Modbus Application Protocol 1.1b3, section 4.3).
///
/// Each table has its own addresses from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Single bits, readable and writable.
    Coils,
    /// Single bits, read-only.
    Discrete,
    /// Words of 16 bits, readable and writable.
    Holding,
    /// Words of 16 bits, read-only.
    Input,
}

/// The type of the value in a register. The number of words is in the variant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An unsigned integer of 1, 2 or 4 words.
    Unsigned(u16),
    /// An integer in two's complement of 1, 2 or 4 words.
    Signed(u16),
    /// An IEEE 754 number of two words.
    Float,
    /// An IEEE 754 number of four words.
    Double,
    /// Binary-coded decimal, four digits in each of 1 or 2 words.
    Decimal(u16),
    /// Text with two characters in each word, up to the first NUL.
    Text(u16),
    /// One bit of a word; bit 0 is the least significant.
    Bit(u8),
}

/// The order of the bytes A (most significant) to D of a number in two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Most significant word and byte first, as the standard defines it.
    Abcd,
    /// Least significant word first.
    Cdab,
    /// Least significant byte of each word first.
    Badc,
    /// Least significant byte first.
    Dcba,
}

/// One value of a unit, and its place in the unit's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The channel name in the decoded message.
    pub channel: String,
    /// The table that holds the value.
    pub table: Table,
    /// The address of the first bit or word, from 0.
    pub address: u16,
    /// The type of the value. The bit tables ignore it.
    pub kind: Kind,
    /// The order of the value's bytes.
    pub order: Order,
}

impl Table {
    /// Returns whether the table holds single bits.
    pub fn is_bits(self) -> bool {
        match self {
            Self::Coils | Self::Discrete => true,
            Self::Holding | Self::Input => false,
        }
    }

    /// Returns the most bits or words of one request: 2,000 or 125 (sections 6.1 to 6.4).
    pub fn count_max(self) -> u16 {
        if self.is_bits() { 2_000 } else { 125 }
    }
}

impl Order {
    /// Returns whether the least significant word, and the least significant byte of a word, is
    /// first.
    pub(super) fn reversals(self) -> (bool, bool) {
        match self {
            Self::Abcd => (false, false),
            Self::Cdab => (true, false),
            Self::Badc => (false, true),
            Self::Dcba => (true, true),
        }
    }
}

impl Register {
    /// Returns whether the register can be written.
    ///
    /// Coils and whole holding registers can; a single bit of a word cannot.
    pub fn is_writable(&self) -> bool {
        match self.table {
            Table::Coils => true,
            Table::Holding => !matches!(self.kind, Kind::Bit(_)),
            Table::Discrete | Table::Input => false,
        }
    }

    /// Returns the number of bits or words that the value occupies.
    pub fn count(&self) -> u16 {
        if self.table.is_bits() {
            return 1;
        }
        match self.kind {
            Kind::Unsigned(words)
            | Kind::Signed(words)
            | Kind::Decimal(words)
            | Kind::Text(words) => words,
            Kind::Float => 2,
            Kind::Double => 4,
            Kind::Bit(_) => 1,
        }
    }
}
