//! How a stream of bytes is split into messages: the table `frame` of a bus that reads a stream.

use super::frame_presets;
use crate::check::{Check, choice, seconds};
use crate::field::Field;
use crate::notation;
use crate::table::{Bytes, Flag, Integer, Span, Text, WordOr, table};
use tidegate_ingest::frame::{
    Checksum, ChecksumAlgorithm, Counted, CoverEnd, Endian, Escape, Framing, Length, Notation,
    Shape,
};

/// The range of the longest frame in bytes. A lost newline must not fill the memory of a Pi; the
/// telegram of a smart meter has 2 KiB.
const FRAME_BYTES_RANGE: std::ops::RangeInclusive<u64> = 1..=1 << 20;

/// The default of the longest frame in bytes.
const FRAME_BYTES_DEFAULT: u64 = 4_096;

/// The longest start, end or delimiter in bytes.
const MARK_BYTES_MAX: usize = 16;

/// The default of the bits that an escape changes (RFC 1662, 4.2).
const ESCAPE_XOR: i64 = 0x20;

table!(Raw {
    kind: Text,
    delimiter: Text,
    start: Text,
    end: Text,
    keep_markers: Flag,
    size: Integer,
    length_offset: Integer,
    length_size: Integer,
    length_endian: Text,
    length_counts: Text,
    length_extra: Integer,
    idle_time: Span,
    checksum: Text,
    checksum_notation: Text,
    checksum_from: Integer,
    checksum_to: Integer,
    checksum_after_end: Flag,
    size_max: Bytes,
    inter_byte_timeout: Span,
    keep_first: Flag,
    checksum_optional: Flag,
    escape: Text,
    escape_xor: Integer,
    decode: Text,
});

/// The kinds, each with the keys that only it has.
const KINDS: [(&str, &[&str]); 12] = [
    ("line", &[]),
    ("delimiter", &["delimiter"]),
    ("fixed", &["start", "size", "end"]),
    (
        "length",
        &[
            "start",
            "length_offset",
            "length_size",
            "length_endian",
            "length_counts",
            "length_extra",
            "end",
        ],
    ),
    (
        "enclosed",
        &[
            "start",
            "end",
            "keep_markers",
            "checksum_after_end",
            "checksum_optional",
            "escape",
            "escape_xor",
        ],
    ),
    ("idle", &["idle_time"]),
    ("dsmr", &[]),
    ("mbus", &[]),
    ("modbus-ascii", &[]),
    ("nmea", &[]),
    ("sml", &[]),
    ("vedirect", &[]),
];

/// Resolves the table at `key`, or the kind that stands for a table. Without options, messages are
/// lines.
pub(super) fn framing(key: &str, raw: WordOr<Raw>, check: &mut Check<'_>) -> Option<Framing> {
    match raw {
        WordOr::Word(kind) if KINDS.iter().any(|(known, _)| *known == kind.0) => {
            whole_table(key, Raw { kind: Some(kind), ..Raw::default() }, check)
        }
        WordOr::Word(kind) => {
            check.unknown_word(key, &kind.0, &KINDS.map(|(kind, _)| kind.to_owned()));
            None
        }
        WordOr::Whole(raw) => whole_table(key, raw, check),
    }
}

fn whole_table(key: &str, raw: Raw, check: &mut Check<'_>) -> Option<Framing> {
    let word = raw.kind.as_ref().map_or("line", |field| &field.0);
    let Some((_, keys)) = KINDS.iter().find(|(kind, _)| *kind == word) else {
        let kinds = KINDS.map(|(kind, _)| kind.to_owned());
        check.unknown_word(&format!("{key}.kind"), word, &kinds);
        return None;
    };
    reject_foreign_keys(key, word, keys, &raw, check);
    let word = word.to_owned();
    let bytes_max = check.bytes(
        &format!("{key}.size_max"),
        raw.size_max.clone(),
        FRAME_BYTES_DEFAULT,
        &FRAME_BYTES_RANGE,
    );
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let inter_byte_timeout =
        raw.inter_byte_timeout.clone().unwrap_or(Field(Framing::INTER_BYTE_TIMEOUT));
    let inter_byte_timeout = check.duration(
        &format!("{key}.inter_byte_timeout"),
        Some(inter_byte_timeout),
        &(TENTH_SECOND..=*seconds(0..=3_600).end()),
    );
    if let Some(preset) = frame_presets::preset(&word) {
        let framing = Framing { bytes_max, inter_byte_timeout, ..preset };
        return frame_presets::only(key, &word, &raw, framing, check);
    }
    let checksum = checksum(key, &word, &raw, check);
    let checksum_bytes = checksum.as_ref().map_or(0, Checksum::bytes);
    let decode_hex = decode_hex(key, raw.decode.clone(), check)?;
    let escape = escape(key, &raw, check);
    let limits = Limits { bytes_max, checksum_bytes };
    let keep_first = keep_first(key, &word, &raw, check);
    let shape = shape(key, &word, &limits, raw, check)?;
    Some(Framing { shape, checksum, escape, decode_hex, bytes_max, inter_byte_timeout, keep_first })
}

const TENTH_SECOND: std::time::Duration = std::time::Duration::from_millis(100);

/// Resolves `decode`: whether the content is hexadecimal digits.
pub(super) fn decode_hex(
    key: &str,
    field: Option<Field<String>>,
    check: &mut Check<'_>,
) -> Option<bool> {
    choice(&format!("{key}.decode"), field, check, &[("none", false), ("hex", true)])
}

/// Resolves the byte that announces a changed byte, and the bits that are changed.
fn escape(key: &str, raw: &Raw, check: &mut Check<'_>) -> Option<Escape> {
    let xor_key = format!("{key}.escape_xor");
    if raw.escape.is_none() && raw.escape_xor.is_some() {
        check.problems.add(&xor_key, "is for frames with escape", "add escape, or remove it");
    }
    let escape_key = format!("{key}.escape");
    let bytes = mark_bytes(&escape_key, &raw.escape.as_ref()?.0, check)?;
    let changed = check.integer(&xor_key, raw.escape_xor.clone(), ESCAPE_XOR, &(1..=0xff));
    let is_set = |flag: &Option<Field<bool>>| flag.as_ref().is_some_and(|flag| flag.0);
    if is_set(&raw.keep_markers) || is_set(&raw.checksum_after_end) {
        let what = "is for frames without keep_markers and checksum_after_end";
        check.problems.add(&escape_key, what, "remove these options, or escape");
    }
    if let [byte] = *bytes {
        return Some(Escape { byte, changed: u8::try_from(changed).unwrap_or_default() });
    }
    check.problems.add(escape_key, "is not one byte", "give the byte: escape = \"0x7d\"");
    None
}

/// Resolves `keep_first`, which is for messages that have no start.
fn keep_first(key: &str, kind: &str, raw: &Raw, check: &mut Check<'_>) -> bool {
    let has_start = !matches!(kind, "line" | "delimiter" | "idle");
    if raw.keep_first.is_some() && (has_start || raw.checksum.is_some()) {
        let what = "is for kind = \"line\", \"delimiter\" and \"idle\" without a checksum";
        check.problems.add(format!("{key}.keep_first"), what, "remove it");
    }
    raw.keep_first.as_ref().is_some_and(|field| field.0)
}

fn reject_foreign_keys(key: &str, kind: &str, own: &[&str], raw: &Raw, check: &mut Check<'_>) {
    let given = [
        ("delimiter", raw.delimiter.is_some()),
        ("start", raw.start.is_some()),
        ("end", raw.end.is_some()),
        ("keep_markers", raw.keep_markers.is_some()),
        ("checksum_after_end", raw.checksum_after_end.is_some()),
        ("checksum_optional", raw.checksum_optional.is_some()),
        ("escape", raw.escape.is_some()),
        ("escape_xor", raw.escape_xor.is_some()),
        ("size", raw.size.is_some()),
        ("length_offset", raw.length_offset.is_some()),
        ("length_size", raw.length_size.is_some()),
        ("length_endian", raw.length_endian.is_some()),
        ("length_counts", raw.length_counts.is_some()),
        ("length_extra", raw.length_extra.is_some()),
        ("idle_time", raw.idle_time.is_some()),
    ];
    for (option, _) in given.into_iter().filter(|(option, given)| *given && !own.contains(option)) {
        let owner =
            KINDS.iter().find(|(_, keys)| keys.contains(&option)).map_or("", |(kind, _)| kind);
        let what = format!("is not for kind = \"{kind}\"");
        check.problems.add(
            format!("{key}.{option}"),
            what,
            format!("remove it, or write kind = \"{owner}\""),
        );
    }
}

/// The limits of a frame of fixed length.
struct Limits {
    bytes_max: usize,
    checksum_bytes: usize,
}

fn shape(key: &str, kind: &str, limits: &Limits, raw: Raw, check: &mut Check<'_>) -> Option<Shape> {
    let Limits { bytes_max, checksum_bytes } = *limits;
    let mark = |name: &str, field: Option<Field<String>>, fix: &str, check: &mut Check<'_>| {
        let key = format!("{key}.{name}");
        let text = check.required(&key, field, fix)?;
        mark_bytes(&key, &text, check)
    };
    let start = "give the first bytes of a message: start = \"\\u0002\" or \"0x02\"";
    let optional_mark = |name: &str, field: Option<Field<String>>, check: &mut Check<'_>| {
        if field.is_some() { mark(name, field, "", check) } else { Some(Vec::new()) }
    };
    Some(match kind {
        "delimiter" => {
            let fix = "give the bytes that end a message: delimiter = \";\" or \"0x0d0a\"";
            Shape::Delimited(mark("delimiter", raw.delimiter, fix, check)?)
        }
        "fixed" => {
            let size_key = format!("{key}.size");
            let size =
                check.required(&size_key, raw.size, "give the bytes of a frame: size = 12")?;
            let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
            let size = check.integer(&size_key, Some(Field(size)), 1, &(1..=bytes_max));
            let bytes = usize::try_from(size).unwrap_or(1);
            let start = optional_mark("start", raw.start, check)?;
            let end = optional_mark("end", raw.end, check)?;
            if start.len() + end.len() + checksum_bytes > bytes {
                let what = format!("is {bytes}, and start, checksum and end take more");
                check.problems.add(size_key, what, "count all bytes of a frame");
                return None;
            }
            Shape::Fixed { start, bytes, end }
        }
        "length" => {
            let start = optional_mark("start", raw.start.clone(), check)?;
            let end = optional_mark("end", raw.end.clone(), check)?;
            Shape::Prefixed { length: length(key, start.len(), &raw, check)?, start, end }
        }
        "enclosed" => Shape::Enclosed {
            start: mark("start", raw.start, start, check)?,
            end: mark("end", raw.end, "give the last bytes of a message: end = \"0x03\"", check)?,
            checksum_after_end: raw.checksum_after_end.is_some_and(|field| field.0),
            keep_markers: raw.keep_markers.is_some_and(|field| field.0),
            checksum_optional: raw.checksum_optional.is_some_and(|field| field.0),
        },
        "idle" => {
            let idle_key = format!("{key}.idle_time");
            let fix = "give the silence between two messages: idle_time = \"20 ms\"";
            let idle = check.required(&idle_key, raw.idle_time, fix)?;
            let range = std::time::Duration::from_millis(1)..=std::time::Duration::from_secs(60);
            Shape::Idle(check.duration(&idle_key, Some(Field(idle)), &range))
        }
        _ => Shape::Line,
    })
}

fn length(key: &str, start_bytes: usize, raw: &Raw, check: &mut Check<'_>) -> Option<Length> {
    let mut integer = |name: &str, field: &Option<Field<i64>>, default: usize, range| {
        let default = i64::try_from(default).unwrap_or(0);
        let value = check.integer(&format!("{key}.{name}"), field.clone(), default, &range);
        usize::try_from(value).unwrap_or(0)
    };
    let offset = integer("length_offset", &raw.length_offset, start_bytes, 0..=64);
    let size = integer("length_size", &raw.length_size, 1, 1..=4);
    let extra = integer("length_extra", &raw.length_extra, 0, 0..=1_024);
    let endians = [("big", Endian::Big), ("little", Endian::Little)];
    let counted = [("rest", Counted::Rest), ("all", Counted::All)];
    Some(Length {
        offset,
        size,
        endian: choice(
            &format!("{key}.length_endian"),
            raw.length_endian.clone(),
            check,
            &endians,
        )?,
        counts: choice(
            &format!("{key}.length_counts"),
            raw.length_counts.clone(),
            check,
            &counted,
        )?,
        extra,
        is_repeated: false,
    })
}

fn checksum(key: &str, kind: &str, raw: &Raw, check: &mut Check<'_>) -> Option<Checksum> {
    let options = ChecksumOptions {
        name: raw.checksum.clone(),
        notation: raw.checksum_notation.clone(),
        from: raw.checksum_from.clone(),
        to: raw.checksum_to.clone(),
    };
    let checksum_key = format!("{key}.checksum");
    if options.name.is_none() && raw.checksum_after_end.is_some() {
        let option = format!("{checksum_key}_after_end");
        check.problems.add(option, "there is no checksum", CHECKSUM_FIX);
    }
    let checksum = checksum_of(&checksum_key, options, check)?;
    if matches!(checksum.algorithm, ChecksumAlgorithm::Nmea)
        && !matches!(kind, "line" | "delimiter")
    {
        check.problems.add(checksum_key, "is for lines", "remove kind, or use checksum = \"xor\"");
        return None;
    }
    Some(checksum)
}

/// How to fix options of a checksum that is not named.
const CHECKSUM_FIX: &str = "name the checksum: checksum = \"crc-16-modbus\"";

/// The options of a checksum as they are written.
pub(super) struct ChecksumOptions {
    pub(super) name: Option<Field<String>>,
    pub(super) notation: Option<Field<String>>,
    pub(super) from: Option<Field<i64>>,
    pub(super) to: Option<Field<i64>>,
}

/// Resolves a checksum. Its options are named like the option `key` with `_notation`, `_from` and
/// `_to` behind it.
pub(super) fn checksum_of(
    key: &str,
    options: ChecksumOptions,
    check: &mut Check<'_>,
) -> Option<Checksum> {
    let ChecksumOptions { name, notation, from, to } = options;
    let Some(name) = name else {
        let foreign =
            [("notation", notation.is_some()), ("from", from.is_some()), ("to", to.is_some())];
        for (option, _) in foreign.into_iter().filter(|(_, given)| *given) {
            check.problems.add(format!("{key}_{option}"), "there is no checksum", CHECKSUM_FIX);
        }
        return None;
    };
    let Some(algorithm) = ChecksumAlgorithm::named(&name.0) else {
        if let Some(fix) = ambiguous_crc(&name.0) {
            check.problems.add(key, format!("\"{}\" has several meanings", name.0), fix);
        } else {
            check.unknown_word(key, &name.0, &ChecksumAlgorithm::names().collect::<Vec<_>>());
        }
        return None;
    };
    let notations = [
        ("big-endian", Notation::BigEndian),
        ("little-endian", Notation::LittleEndian),
        ("hex", Notation::Hexadecimal),
    ];
    let notation = match notation {
        Some(word) => choice(&format!("{key}_notation"), Some(word), check, &notations)?,
        None => algorithm.default_notation(),
    };
    let from = check.integer(&format!("{key}_from"), from, 0, &(0..=64));
    let to = check.integer(&format!("{key}_to"), to, 0, &(-64..=4_096));
    let bytes = usize::try_from(to.unsigned_abs()).unwrap_or_default();
    let to = if to > 0 { CoverEnd::Index(bytes) } else { CoverEnd::BeforeChecksum(bytes) };
    Some(Checksum { algorithm, notation, from: usize::try_from(from).unwrap_or(0), to })
}

/// Returns what to write for a name that manuals give to different CRCs; `None` for other names.
fn ambiguous_crc(name: &str) -> Option<&'static str> {
    let word: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match word.to_ascii_lowercase().as_str() {
        "ccitt" | "crcccitt" | "crc16ccitt" | "ccittfalse" | "crcccittfalse"
        | "crc16ccittfalse" => Some(
            "use crc-16-ibm-3740 if the computation starts with ffff, crc-16-xmodem if it \
                 starts with 0000, or crc-16-kermit or crc-16-mcrf4xx if it takes the lowest bit \
                 first and starts with 0000 or ffff",
        ),
        "crc16" | "crc16ibm" | "crc16ansi" => {
            Some("use modbus if the computation starts with ffff, or crc-16-arc if with 0000")
        }
        "crc32" => Some("use crc-32-iso-hdlc, that of zip and Ethernet, or crc-32-mpeg-2"),
        "crc8" => Some("use crc-8-smbus, or crc-8-maxim-dow, that of 1-Wire"),
        _ => None,
    }
}

/// Returns the bytes of a mark.
pub(super) fn mark_bytes(key: &str, text: &str, check: &mut Check<'_>) -> Option<Vec<u8>> {
    let bytes = notation::bytes(key, text, check)?;
    if !(1..=MARK_BYTES_MAX).contains(&bytes.len()) {
        let fix = format!("write 1 to {MARK_BYTES_MAX} bytes, such as \"\\r\\n\" or \"0xaa55\"");
        check.problems.add(key, format!("has {} bytes", bytes.len()), fix);
        return None;
    }
    Some(bytes)
}
