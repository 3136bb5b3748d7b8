//! Checksums of frames: the covered bytes, the algorithm and the notation.

use crc::{Algorithm, Crc, NoTable};

/// The checksum at the end of a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Checksum {
    /// The algorithm that computes it.
    pub algorithm: ChecksumAlgorithm,
    /// The form in which the frame contains it.
    pub notation: Notation,
    /// The index of the first covered byte in the frame, start bytes included.
    ///
    /// The last covered byte is the one before the checksum.
    pub from: usize,
}

/// The algorithm of a checksum.
#[derive(Debug, Clone, PartialEq)]
pub enum ChecksumAlgorithm {
    /// The exclusive or of all bytes.
    Xor,
    /// The sum of all bytes, modulo 256.
    Add,
    /// The sum of all bytes, modulo 65,536.
    Add16,
    /// The two's complement of [`ChecksumAlgorithm::Add`]: all bytes with the checksum add up to 0.
    AddNegated,
    /// As in NMEA 0183: `*` and two hexadecimal digits, the exclusive or of the bytes between `$`
    /// and `*`.
    Nmea,
    /// A CRC of 8 bits.
    Crc8(&'static Algorithm<u8>),
    /// A CRC of 16 bits.
    Crc16(&'static Algorithm<u16>),
    /// A CRC of 32 bits.
    Crc32(&'static Algorithm<u32>),
}

/// The form in which a frame contains a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// Bytes, the most significant first.
    BigEndian,
    /// Bytes, the least significant first.
    LittleEndian,
    /// Hexadecimal digits in ASCII, in upper or lower case.
    Hexadecimal,
}

/// The length of an NMEA checksum: `*` and two digits.
const NMEA_TAIL: usize = 3;

impl ChecksumAlgorithm {
    /// Returns the algorithm with this name: `xor`, `sum`, `sum-16`, `sum-negated`, `nmea`,
    /// `modbus` (CRC-16/MODBUS), or a name of the catalogue of parametrised CRC algorithms, such as
    /// `crc-16-xmodem` or `CRC-32/ISO-HDLC`.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase().replace(['-', '/', ' '], "_");
        match name.as_str() {
            "XOR" => Some(Self::Xor),
            "SUM" => Some(Self::Add),
            "SUM_16" => Some(Self::Add16),
            "SUM_NEGATED" => Some(Self::AddNegated),
            "NMEA" => Some(Self::Nmea),
            "MODBUS" => Some(Self::Crc16(&crc::CRC_16_MODBUS)),
            _ => find_crc(&name),
        }
    }

    /// Returns all names, as the configuration writes them.
    pub fn names() -> impl Iterator<Item = String> {
        let own = ["xor", "sum", "sum-16", "sum-negated", "nmea", "modbus"].map(str::to_owned);
        own.into_iter().chain(CRC_NAMES.iter().map(|name| name.to_lowercase().replace('_', "-")))
    }

    /// Returns the usual notation: the low byte first for Modbus, the high byte first for others.
    pub fn default_notation(&self) -> Notation {
        match self {
            Self::Crc16(algorithm) if algorithm.poly == 0x8005 && algorithm.refin => {
                Notation::LittleEndian
            }
            Self::Nmea => Notation::Hexadecimal,
            Self::Xor
            | Self::Add
            | Self::Add16
            | Self::AddNegated
            | Self::Crc8(_)
            | Self::Crc16(_)
            | Self::Crc32(_) => Notation::BigEndian,
        }
    }

    fn width_bytes(&self) -> usize {
        match self {
            Self::Xor | Self::Add | Self::AddNegated | Self::Nmea | Self::Crc8(_) => 1,
            Self::Add16 | Self::Crc16(_) => 2,
            Self::Crc32(_) => 4,
        }
    }

    fn compute(&self, bytes: &[u8]) -> u32 {
        let add = || bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        match self {
            Self::Xor | Self::Nmea => bytes.iter().fold(0, |sum, byte| sum ^ byte).into(),
            Self::Add => add().into(),
            Self::Add16 => {
                bytes.iter().fold(0_u16, |sum, byte| sum.wrapping_add((*byte).into())).into()
            }
            Self::AddNegated => add().wrapping_neg().into(),
            Self::Crc8(algorithm) => Crc::<u8, NoTable>::new(algorithm).checksum(bytes).into(),
            Self::Crc16(algorithm) => Crc::<u16, NoTable>::new(algorithm).checksum(bytes).into(),
            Self::Crc32(algorithm) => Crc::<u32, NoTable>::new(algorithm).checksum(bytes),
        }
    }
}

impl Checksum {
    /// Returns the number of bytes that the checksum occupies in a frame.
    pub fn bytes(&self) -> usize {
        match (&self.algorithm, self.notation) {
            (ChecksumAlgorithm::Nmea, _) => NMEA_TAIL,
            (algorithm, Notation::Hexadecimal) => 2 * algorithm.width_bytes(),
            (algorithm, Notation::BigEndian | Notation::LittleEndian) => algorithm.width_bytes(),
        }
    }

    /// Verifies the checksum and returns the frame without it; `None` if it is wrong or missing.
    pub fn verify<'a>(&self, frame: &'a [u8]) -> Option<&'a [u8]> {
        let (content, given) = frame.split_at_checked(frame.len().checked_sub(self.bytes())?)?;
        if matches!(self.algorithm, ChecksumAlgorithm::Nmea) {
            let (content, digits) = (content.strip_prefix(b"$")?, given.strip_prefix(b"*")?);
            return (from_hex(digits)? == self.algorithm.compute(content)).then_some(content);
        }
        let given = match self.notation {
            Notation::BigEndian => fold(given.iter()),
            Notation::LittleEndian => fold(given.iter().rev()),
            Notation::Hexadecimal => from_hex(given)?,
        };
        (given == self.algorithm.compute(content.get(self.from..)?)).then_some(content)
    }
}

fn fold<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    bytes.fold(0, |value, byte| value << 8 | u32::from(*byte))
}

fn from_hex(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` accepts a sign, which is not a digit.
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

macro_rules! catalogue {
    ($($kind:ident: $($name:ident)*;)*) => {
        /// The names of all CRCs, as in the crate `crc`.
        const CRC_NAMES: &[&str] = &[$($(stringify!($name)),*),*];

        fn find_crc(name: &str) -> Option<ChecksumAlgorithm> {
            match name {
                $($(stringify!($name) => Some(ChecksumAlgorithm::$kind(&crc::$name)),)*)*
                _ => None,
            }
        }
    };
}

// From the catalogue of parametrised CRC algorithms (reveng.sourceforge.io), in crc-catalog.
catalogue! {
    Crc8:
        CRC_8_AUTOSAR CRC_8_BLUETOOTH CRC_8_CDMA2000 CRC_8_DARC CRC_8_DVB_S2 CRC_8_GSM_A
        CRC_8_GSM_B CRC_8_HITAG CRC_8_I_432_1 CRC_8_I_CODE CRC_8_LTE CRC_8_MAXIM_DOW
        CRC_8_MIFARE_MAD CRC_8_NRSC_5 CRC_8_OPENSAFETY CRC_8_ROHC CRC_8_SAE_J1850 CRC_8_SMBUS
        CRC_8_TECH_3250 CRC_8_WCDMA;
    Crc16:
        CRC_16_ARC CRC_16_CDMA2000 CRC_16_CMS CRC_16_DDS_110 CRC_16_DECT_R CRC_16_DECT_X
        CRC_16_DNP CRC_16_EN_13757 CRC_16_GENIBUS CRC_16_GSM CRC_16_IBM_3740 CRC_16_IBM_SDLC
        CRC_16_ISO_IEC_14443_3_A CRC_16_KERMIT CRC_16_LJ1200 CRC_16_M17 CRC_16_MAXIM_DOW
        CRC_16_MCRF4XX CRC_16_MODBUS CRC_16_NRSC_5 CRC_16_OPENSAFETY_A CRC_16_OPENSAFETY_B
        CRC_16_PROFIBUS CRC_16_RIELLO CRC_16_SPI_FUJITSU CRC_16_T10_DIF CRC_16_TELEDISK
        CRC_16_TMS37157 CRC_16_UMTS CRC_16_USB CRC_16_XMODEM;
    Crc32:
        CRC_32_AIXM CRC_32_AUTOSAR CRC_32_BASE91_D CRC_32_BZIP2 CRC_32_CD_ROM_EDC CRC_32_CKSUM
        CRC_32_ISCSI CRC_32_ISO_HDLC CRC_32_JAMCRC CRC_32_MEF CRC_32_MPEG_2 CRC_32_XFER;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checksum(name: &str, from: usize) -> Checksum {
        let algorithm = ChecksumAlgorithm::named(name).unwrap();
        Checksum { notation: algorithm.default_notation(), algorithm, from }
    }

    #[test]
    fn all_algorithms_pass_their_catalogue_check() {
        for name in ChecksumAlgorithm::names() {
            let algorithm = ChecksumAlgorithm::named(&name).unwrap();
            // The catalogue lists the checksum of "123456789" for each algorithm.
            let check = match algorithm {
                ChecksumAlgorithm::Crc8(algorithm) => algorithm.check.into(),
                ChecksumAlgorithm::Crc16(algorithm) => algorithm.check.into(),
                ChecksumAlgorithm::Crc32(algorithm) => algorithm.check,
                ChecksumAlgorithm::Xor | ChecksumAlgorithm::Nmea => 0x31,
                ChecksumAlgorithm::Add => 0xdd,
                ChecksumAlgorithm::Add16 => 0x1dd,
                ChecksumAlgorithm::AddNegated => 0x23,
            };
            assert_eq!(algorithm.compute(b"123456789"), check, "{name}");
        }
        assert!(ChecksumAlgorithm::named("crc-16").is_none());
        assert!(ChecksumAlgorithm::named("CRC-16/MODBUS").is_some());
    }

    #[test]
    fn accepts_a_modbus_request_of_the_specification() {
        // MODBUS over serial line V1.02, appendix B: the CRC of 02 07 is 41 12.
        assert_eq!(checksum("modbus", 0).verify(b"\x02\x07\x41\x12"), Some(&b"\x02\x07"[..]));
        assert_eq!(checksum("modbus", 0).verify(b"\x02\x06\x41\x12"), None);
    }

    #[test]
    fn removes_dollar_and_checksum_of_nmea_sentences() {
        let sentence = b"$GPGLL,4916.45,N,12311.12,W,225444,A*31";
        let content = checksum("nmea", 0).verify(sentence);
        assert_eq!(content, Some(&sentence[1..sentence.len() - 3]));
        assert_eq!(checksum("nmea", 0).verify(b"$t=1*+1"), None);
    }

    #[test]
    fn ignores_bytes_outside_of_the_covered_range() {
        assert!(checksum("sum", 1).verify(b"\xaa\x01\x02\x03").is_some());
        assert!(checksum("sum", 1).verify(b"\xbb\x01\x02\x03").is_some());
        assert!(checksum("sum", 0).verify(b"\xbb\x01\x02\x03").is_none());
        let hexadecimal = Checksum {
            algorithm: ChecksumAlgorithm::Xor,
            notation: Notation::Hexadecimal,
            from: 0,
        };
        assert_eq!(hexadecimal.verify(b"t=105"), None);
        assert_eq!(hexadecimal.verify(b"t=178"), Some(&b"t=1"[..]));
    }

    #[test]
    fn rejects_frames_shorter_than_their_checksum() {
        for frame in [&b""[..], b"\x00", b"\x00\x00\x00"] {
            assert!(checksum("crc-32-iso-hdlc", 0).verify(frame).is_none());
        }
        assert!(checksum("xor", 5).verify(b"\x01\x01").is_none(), "it covers no byte");
    }
}
