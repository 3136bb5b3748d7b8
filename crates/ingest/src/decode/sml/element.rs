//! The elements of SML: octet strings, booleans, integers and lists.

/// The deepest nesting of lists. A file has 5.
const DEPTH_MAX: usize = 12;

/// The most items of a list. A meter sends about 30 values.
const ITEMS_MAX: usize = 1_024;

/// The longest integer in bytes.
const INTEGER_BYTES_MAX: usize = 8;

/// One element. An optional element that is missing is an empty octet string.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Element<'a> {
    Octets(&'a [u8]),
    Boolean(bool),
    Signed(i64),
    Unsigned(u64),
    List(Vec<Element<'a>>),
}

/// The type and the length of an element.
struct Header {
    /// Bits 4 to 6 of the first byte.
    kind: u8,
    /// The number of bytes of the value, or of items.
    length: usize,
    /// The number of bytes of the header.
    bytes: usize,
}

const OCTETS: u8 = 0;
const BOOLEAN: u8 = 4;
const SIGNED: u8 = 5;
const UNSIGNED: u8 = 6;
const LIST: u8 = 7;

impl<'a> Element<'a> {
    /// Parses the element at the front; returns it with the bytes behind it.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), &'static str> {
        Self::parse_nested(bytes, 0)
    }

    fn parse_nested(bytes: &'a [u8], depth: usize) -> Result<(Self, &'a [u8]), &'static str> {
        let Header { kind, length, bytes: header } = Header::parse(bytes)?;
        let rest = bytes.get(header..).unwrap_or_default();
        if kind == LIST {
            if depth >= DEPTH_MAX || length > ITEMS_MAX {
                return Err("too many lists");
            }
            let (mut items, mut rest) = (Vec::new(), rest);
            for _ in 0..length {
                let (item, after) = Self::parse_nested(rest, depth + 1)?;
                items.push(item);
                rest = after;
            }
            return Ok((Self::List(items), rest));
        }
        let (value, rest) = rest.split_at_checked(length).ok_or("an element is cut")?;
        let element = match kind {
            OCTETS => Self::Octets(value),
            BOOLEAN => Self::Boolean(value.iter().any(|byte| *byte != 0)),
            SIGNED | UNSIGNED if value.is_empty() || value.len() > INTEGER_BYTES_MAX => {
                return Err("an integer that has not 1 to 8 bytes");
            }
            SIGNED => {
                let unused = 64 - 8 * u32::try_from(value.len()).unwrap_or(8);
                Self::Signed((unsigned(value) << unused).cast_signed() >> unused)
            }
            UNSIGNED => Self::Unsigned(unsigned(value)),
            _ => return Err("an element of an unknown type"),
        };
        Ok((element, rest))
    }

    /// Returns the items of a list; `None` for other elements.
    pub(super) fn items(&self) -> Option<&[Self]> {
        if let Self::List(items) = self { Some(items) } else { None }
    }

    /// Returns an integer that is not negative.
    pub(super) fn unsigned(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            Self::Signed(number) => u64::try_from(*number).ok(),
            Self::Octets(_) | Self::Boolean(_) | Self::List(_) => None,
        }
    }

    /// Returns an integer.
    pub(super) fn signed(&self) -> Option<i64> {
        match self {
            Self::Signed(number) => Some(*number),
            Self::Unsigned(number) => i64::try_from(*number).ok(),
            Self::Octets(_) | Self::Boolean(_) | Self::List(_) => None,
        }
    }
}

/// Returns the bytes of a list at the front up to the end of its first `count` items.
pub(super) fn bytes_of(list: &[u8], count: usize) -> Result<&[u8], &'static str> {
    let mut rest = list.get(Header::parse(list)?.bytes..).unwrap_or_default();
    for _ in 0..count {
        (_, rest) = Element::parse_nested(rest, 1)?;
    }
    Ok(list.get(..list.len() - rest.len()).unwrap_or_default())
}

impl Header {
    /// Parses the header. Its length counts itself, but for lists.
    fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let (mut length, mut count, mut kind) = (0_usize, 0, OCTETS);
        loop {
            let byte = *bytes.get(count).ok_or("an element is cut")?;
            if count == 0 {
                kind = byte >> 4 & 0b111;
            } else if count > 3 {
                return Err("an element is too long");
            }
            length = length << 4 | usize::from(byte & 0xf);
            count += 1;
            if byte & 0x80 == 0 {
                break;
            }
        }
        if kind != LIST {
            length = length.saturating_sub(count);
        }
        Ok(Self { kind, length, bytes: count })
    }
}

fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
