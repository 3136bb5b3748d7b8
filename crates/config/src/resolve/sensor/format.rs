//! How a sensor writes its messages: `format` and the keys that belong to it.

use std::collections::BTreeSet;

use super::super::Check;
use super::super::bus::choice;
use crate::field::Field;
use crate::raw;
use tidegate_ingest::decode::{self, Csv, Format, Kind};
use tidegate_ingest::frame::Endian;

/// The formats, and which keys are theirs alone.
const FORMATS: [(&str, &[&str]); 11] = [
    ("key-value", &[]),
    ("csv", &["columns", "header", "delimiter"]),
    ("json", &["array_pointer"]),
    ("regex", &["pattern"]),
    ("binary", &["fields"]),
    ("nmea", &[]),
    ("obis", &[]),
    ("sparkplug", &["rebirth"]),
    ("ruuvi", &[]),
    ("w1_slave", &[]),
    ("text", &[]),
];

/// The furthest place of a field in a binary message, in bytes.
const OFFSET_MAX: i64 = 65_535;

/// The longest text in a binary message, in bytes.
const TEXT_BYTES_MAX: i64 = 1_024;

/// Takes the format out of the sensor's table at `key`.
pub(super) fn format(key: &str, raw: &mut raw::Sensor, check: &mut Check<'_>) -> Option<Format> {
    let format_key = format!("{key}.format");
    let fix = "say how its messages are written: format = \"key-value\", \"json\", …";
    check.notes.of(&format_key).words = FORMATS.map(|(format, _)| format.to_owned()).to_vec();
    let word = check.required(&format_key, raw.format.take(), fix)?;
    let Some((_, own)) = FORMATS.iter().find(|(format, _)| *format == word) else {
        check.unknown_word(&format_key, &word, &FORMATS.map(|(format, _)| format.to_owned()));
        return None;
    };
    let given = [
        ("columns", raw.columns.is_some()),
        ("header", raw.header.is_some()),
        ("delimiter", raw.delimiter.is_some()),
        ("array_pointer", raw.array_pointer.is_some()),
        ("pattern", raw.pattern.is_some()),
        ("rebirth", raw.rebirth.is_some()),
        ("fields", !raw.fields.is_empty()),
    ];
    for (option, _) in given.into_iter().filter(|(option, given)| *given && !own.contains(option)) {
        let owner = FORMATS.iter().find(|(_, keys)| keys.contains(&option));
        let owner = owner.map_or("", |(format, _)| format);
        check.problems.add(
            format!("{key}.{option}"),
            format!("is for format = \"{owner}\""),
            "remove it",
        );
    }
    match word.as_str() {
        "csv" => csv(key, raw, check).map(Format::Csv),
        "json" => {
            Some(Format::Json { array_pointer: raw.array_pointer.take().map(|field| field.0) })
        }
        "regex" => {
            let fix = "write named groups: pattern = 't=(?<t>[-\\d.]+)'";
            let key = format!("{key}.pattern");
            let pattern = check.required(&key, raw.pattern.take(), fix)?;
            compile(&key, &pattern, check).map(Format::Regex)
        }
        "binary" => fields(key, std::mem::take(&mut raw.fields), check).map(Format::Binary),
        "nmea" => Some(Format::Nmea),
        "obis" => Some(Format::Obis),
        "sparkplug" => {
            let rebirth = check.or_default(&format!("{key}.rebirth"), raw.rebirth.take(), false);
            Some(Format::Sparkplug { rebirth })
        }
        "ruuvi" => Some(Format::Ruuvi),
        "w1_slave" => Some(Format::OneWire),
        "text" => Some(Format::Text),
        _ => Some(Format::KeyValue),
    }
}

fn compile(key: &str, pattern: &str, check: &mut Check<'_>) -> Option<regex::Regex> {
    let fix = "channels are the named groups: (?<temperature>[-\\d.]+)";
    decode::compile_pattern(pattern).map_err(|error| check.problems.add(key, error, fix)).ok()
}

fn csv(key: &str, raw: &mut raw::Sensor, check: &mut Check<'_>) -> Option<Csv> {
    let header = check.or_default(&format!("{key}.header"), raw.header.take(), false);
    let columns = raw.columns.take();
    if header && columns.is_some() {
        let fix = "remove it, or header = true";
        check.problems.add(format!("{key}.columns"), "the header names the columns", fix);
    }
    let delimiter_key = format!("{key}.delimiter");
    let delimiter = check.or_default(&delimiter_key, raw.delimiter.take(), ",".to_owned());
    let [delimiter] = *delimiter.as_bytes() else {
        let fix = "give one ASCII character, such as \";\" or \"\\t\"";
        check.problems.add(format!("{key}.delimiter"), "is not one character", fix);
        return None;
    };
    let columns: Vec<_> = columns.unwrap_or_default().into_iter().map(|field| field.0).collect();
    check_names(&format!("{key}.columns"), columns.iter().filter(|name| !name.is_empty()), check);
    Some(Csv { columns, header, delimiter })
}

fn fields(
    key: &str,
    raw: Vec<raw::BinaryField>,
    check: &mut Check<'_>,
) -> Option<Vec<decode::Field>> {
    if raw.is_empty() {
        let fix = "say what stands where: fields = [{ name = \"t\", offset = 0, kind = \"i16\" }]";
        check.problems.add(format!("{key}.fields"), "is missing or empty", fix);
        return None;
    }
    let fields = raw.into_iter().enumerate();
    let fields = fields.map(|(index, raw)| field(&format!("{key}.fields.{index}"), raw, check));
    let fields: Option<Vec<_>> = fields.collect::<Vec<_>>().into_iter().collect();
    check_names(&format!("{key}.fields"), fields.iter().flatten().map(|field| &field.name), check);
    fields
}

/// Of two channels of one name, one would be lost.
fn check_names<'a>(key: &str, names: impl Iterator<Item = &'a String>, check: &mut Check<'_>) {
    let mut seen = BTreeSet::new();
    for name in names.filter(|name| !seen.insert(*name)) {
        check.problems.add(key, format!("\"{name}\" is there twice"), "give each its own name");
    }
}

fn field(key: &str, raw: raw::BinaryField, check: &mut Check<'_>) -> Option<decode::Field> {
    let name = check.required(&format!("{key}.name"), raw.name, "name its channel: name = \"t\"");
    let offset_key = format!("{key}.offset");
    let offset = check.required(&offset_key, raw.offset, "say at which byte it begins, from 0");
    let offset = check.integer(&offset_key, offset.map(Field), 0, &(0..=OFFSET_MAX));
    let endians = [("big", Endian::Big), ("little", Endian::Little)];
    let endian = choice(&format!("{key}.endian"), raw.endian, check, &endians);
    let kind = kind(key, (raw.kind, raw.size), (raw.bit, raw.bits), check);
    Some(decode::Field {
        name: name?,
        offset: usize::try_from(offset).unwrap_or(0),
        kind: kind?,
        endian: endian?,
    })
}

/// The kind of a value in bytes or registers: `kind`, with `size` for `bcd` and `text`, and `bit` and `bits` for a part of
/// an unsigned number.
pub(crate) fn kind(
    key: &str,
    (word, size): (Option<Field<String>>, Option<Field<i64>>),
    (bit, bits): (Option<Field<i64>>, Option<Field<i64>>),
    check: &mut Check<'_>,
) -> Option<Kind> {
    let kind_key = format!("{key}.kind");
    let fix = "say what it is: kind = \"u16\", \"i32\", \"f32\", \"bool\", \"bcd\", \"text\", …";
    let word = check.required(&kind_key, word, fix)?;
    let size_key = format!("{key}.size");
    let sized = |size_max, check: &mut Check<'_>| {
        let size =
            check.required(&size_key, size.clone(), "say how many bytes it takes: size = 4")?;
        usize::try_from(check.integer(&size_key, Some(Field(size)), 1, &(1..=size_max))).ok()
    };
    let kind = match word.as_str() {
        "bcd" => Kind::Bcd(sized(8, check)?),
        "text" => Kind::Text(sized(TEXT_BYTES_MAX, check)?),
        _ => {
            if size.is_some() {
                check.problems.add(&size_key, "is for kind \"bcd\" and \"text\"", "remove it");
            }
            let Some(kind) = Kind::named(&word) else {
                let bits = (1..=8)
                    .flat_map(|bytes| [format!("u{}", 8 * bytes), format!("i{}", 8 * bytes)]);
                let words = ["f32", "f64", "bool", "bcd", "text"].map(str::to_owned);
                check.unknown_word(&kind_key, &word, &bits.chain(words).collect::<Vec<_>>());
                return None;
            };
            kind
        }
    };
    if bit.is_none() && bits.is_none() {
        return Some(kind);
    }
    let (Kind::Unsigned(bytes) | Kind::Bits { bytes, .. }) = kind else {
        let fix = "remove bit and bits, or take an unsigned kind";
        check.problems.add(format!("{key}.bit"), "only bool and unsigned numbers have bits", fix);
        return None;
    };
    let width = i64::try_from(8 * bytes).unwrap_or(64);
    let lowest = check.integer(&format!("{key}.bit"), bit, 0, &(0..=width - 1));
    let count = check.integer(&format!("{key}.bits"), bits, 1, &(1..=width - lowest));
    let number = |value: i64| u32::try_from(value).unwrap_or(0);
    Some(Kind::Bits { bytes, lowest: number(lowest), count: number(count) })
}
