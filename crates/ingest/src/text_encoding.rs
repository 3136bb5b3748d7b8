//! The encodings of texts from instruments that do not write UTF-8.

use std::borrow::Cow;
use std::fmt;

use encoding_rs::Encoding;

/// An encoding of texts, such as Latin-1.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TextEncoding(&'static Encoding);

/// Names that people use, and the names of the WHATWG Encoding Standard for them.
const ALIASES: [(&str, &str); 5] = [
    ("latin-1", "latin1"),
    ("latin-2", "latin2"),
    ("latin-9", "iso-8859-15"),
    ("utf-16", "utf-16le"),
    ("cp866", "ibm866"),
];

impl TextEncoding {
    /// Returns the encoding with this name, a label of the WHATWG Encoding Standard.
    ///
    /// Latin-1 is read as Windows-1252, which has printable characters where Latin-1 has none.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.trim().to_lowercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
        let label = alias.map_or(name.as_str(), |(_, label)| label);
        Encoding::for_label_no_replacement(label.as_bytes()).map(Self)
    }

    /// Returns whether the encoding is UTF-8.
    pub fn is_utf8(self) -> bool {
        self.0 == encoding_rs::UTF_8
    }

    /// Decodes a text. Bytes that are not valid become U+FFFD.
    pub fn decode(self, bytes: &[u8]) -> Cow<'_, str> {
        self.0.decode_without_bom_handling(bytes).0
    }
}

impl fmt::Debug for TextEncoding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_have_the_names_that_people_use() {
        for (name, bytes, text) in [
            ("latin-1", b"24.0\xb0C".as_slice(), "24.0°C"),
            ("ISO-8859-1", b"\xb5", "µ"),
            ("windows-1251", b"\xf2", "т"),
            ("shift_jis", b"\x81\x8e", "℃"),
            ("utf-16", b"2\x005\x00", "25"),
            ("utf-8", b"\xc2\xb0", "°"),
        ] {
            assert_eq!(TextEncoding::named(name).unwrap().decode(bytes), text, "{name}");
        }
        for name in ["", "latin", "replacement", "hex"] {
            assert_eq!(TextEncoding::named(name), None, "{name}");
        }
    }
}
