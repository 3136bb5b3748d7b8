//! Modbus registers: which requests bring them, what their words mean, and which words stand for a value.

mod encode;
mod plan;
mod value;

pub use encode::{EncodeError, encode, truth};
pub use plan::{Request, plan};
pub use value::{Answer, read};

/// A table of a unit's data model, each with its own addresses from 0 (Modbus Application Protocol 1.1b3, section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Bits that can be written.
    Coils,
    /// Bits that can only be read.
    Discrete,
    /// Words that can be written.
    Holding,
    /// Words that can only be read.
    Input,
}

/// What the words of a register are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whole, not negative, of so many words: 1, 2 or 4.
    Unsigned(u16),
    /// Whole, in two's complement, of so many words: 1, 2 or 4.
    Signed(u16),
    /// IEEE 754 of two words.
    Float,
    /// IEEE 754 of four words.
    Double,
    /// Four decimal digits in each of so many words: 1 or 2.
    Decimal(u16),
    /// Two characters in each of so many words, up to the first NUL.
    Text(u16),
    /// One bit of a word, 0 being the least.
    Bit(u8),
}

/// How the bytes A (most significant) to D stand in two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As the standard has it.
    Abcd,
    /// The least word first.
    Cdab,
    /// The least byte of each word first.
    Badc,
    /// The least byte first.
    Dcba,
}

/// One value of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// What it is called in the message.
    pub channel: String,
    /// Where it is.
    pub table: Table,
    /// The address of its first bit or word, from 0.
    pub address: u16,
    /// What it is; without meaning for bits.
    pub kind: Kind,
    /// How its bytes stand.
    pub order: Order,
}

impl Table {
    /// Whether it holds single bits.
    pub fn is_bits(self) -> bool {
        match self {
            Self::Coils | Self::Discrete => true,
            Self::Holding | Self::Input => false,
        }
    }

    /// The most that one request may ask for: 2,000 bits or 125 words (sections 6.1 to 6.4).
    pub fn count_max(self) -> u16 {
        if self.is_bits() { 2_000 } else { 125 }
    }
}

impl Order {
    /// Whether the least word comes first, and whether the least byte of each word does.
    fn reversals(self) -> (bool, bool) {
        match self {
            Self::Abcd => (false, false),
            Self::Cdab => (true, false),
            Self::Badc => (false, true),
            Self::Dcba => (true, true),
        }
    }
}

impl Register {
    /// Whether it can be written: coils and holding registers can, but not one bit of a word alone.
    pub fn is_writable(&self) -> bool {
        match self.table {
            Table::Coils => true,
            Table::Holding => !matches!(self.kind, Kind::Bit(_)),
            Table::Discrete | Table::Input => false,
        }
    }

    /// How many bits or words it takes.
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
