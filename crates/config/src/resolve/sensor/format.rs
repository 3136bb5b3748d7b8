//! The format of a sensor: `format` and the options of its decoder.

use std::collections::BTreeSet;

use super::words;
use crate::check::{Check, choice};
use crate::field::Field;
use crate::raw;
use tidegate_ingest::decode::{
    self, BinaryField, DECODERS, DecoderKind, DecoderOption, DecoderOptions, Format, Kind,
};
use tidegate_ingest::frame::Endian;

/// The maximum offset of a field in a binary message in bytes.
const OFFSET_MAX: i64 = 65_535;

/// The maximum length of a text in a binary message in bytes.
const TEXT_BYTES_MAX: i64 = 1_024;

/// Resolves the format of the sensor at `key`, with the options of its decoder.
pub(super) fn format(key: &str, raw: &mut raw::Sensor, check: &mut Check<'_>) -> Option<Format> {
    let format_key = format!("{key}.format");
    let fix = "name the format of its messages: format = \"key-value\", \"json\", …";
    let names: Vec<_> = DECODERS.iter().map(|kind| kind.name.to_owned()).collect();
    check.options.entry(&format_key).choices.clone_from(&names);
    let name = check.required(&format_key, raw.format.take(), fix)?;
    let Some(kind) = DECODERS.iter().find(|kind| kind.name == name) else {
        check.unknown_word(&format_key, &name, &names);
        return None;
    };
    reject_foreign_options(key, kind, raw, check);
    let has = |option| kind.options.contains(&option);
    let encoding = words::encoding(key, raw.encoding.as_ref(), check);
    let mut options = DecoderOptions { encoding, ..DecoderOptions::default() };
    if has(DecoderOption::Decimal) {
        options.numbers = words::numbers(key, raw, check).unwrap_or_default();
    }
    if has(DecoderOption::Delimiter) {
        csv(key, &mut options, raw, check)?;
    }
    if has(DecoderOption::Pattern) {
        let fix = "write named groups: pattern = 't=(?<t>[-\\d.]+)'";
        let key = format!("{key}.pattern");
        let pattern = check.required(&key, raw.pattern.take(), fix)?;
        options.pattern = Some(compile(&key, &pattern, check)?);
    }
    if has(DecoderOption::Fields) {
        options.fields = fields(key, std::mem::take(&mut raw.fields), check)?;
    }
    if has(DecoderOption::Rebirth) {
        options.rebirth = check.or_default(&format!("{key}.rebirth"), raw.rebirth.take(), false);
    }
    options.keeps_words = uses_words(raw);
    options.array_pointer = raw.array_pointer.take().map(|field| field.0);
    let none_values = words::none_values(raw.none_values.as_ref());
    let numbers = options.numbers;
    let format = (kind.create)(options)?;
    Some(format.with_none_values(none_values, numbers).with_encoding(encoding))
}

/// Returns whether a template, an expression or a declared type of the sensor may read the text of
/// a number.
fn uses_words(raw: &raw::Sensor) -> bool {
    let texts = raw.map.iter().flat_map(|map| [&map.expression, &map.attribute]);
    let is_used =
        |text: &Option<Field<String>>| text.as_ref().is_some_and(|text| text.0.contains("written"));
    texts.chain([&raw.device]).any(is_used) || raw.map.iter().any(|map| map.r#type.is_some())
}

/// Reports the options that belong to another decoder.
fn reject_foreign_options(key: &str, kind: &DecoderKind, raw: &raw::Sensor, check: &mut Check<'_>) {
    let given = [
        (DecoderOption::Columns, "columns", raw.columns.is_some()),
        (DecoderOption::Header, "header", raw.header.is_some()),
        (DecoderOption::Delimiter, "delimiter", raw.delimiter.is_some()),
        (DecoderOption::ArrayPointer, "array_pointer", raw.array_pointer.is_some()),
        (DecoderOption::Pattern, "pattern", raw.pattern.is_some()),
        (DecoderOption::Rebirth, "rebirth", raw.rebirth.is_some()),
        (DecoderOption::Fields, "fields", !raw.fields.is_empty()),
        (DecoderOption::Encoding, "encoding", raw.encoding.is_some()),
        (DecoderOption::Decimal, "decimal", raw.decimal.is_some()),
        (DecoderOption::Thousands, "thousands", raw.thousands.is_some()),
    ];
    for (option, word, is_given) in given {
        if !is_given || kind.options.contains(&option) {
            continue;
        }
        let owners = DECODERS.iter().filter(|kind| kind.options.contains(&option));
        let owners: Vec<_> = owners.map(|kind| format!("\"{}\"", kind.name)).collect();
        let what = format!("is for format = {}", owners.join(", "));
        check.problems.add(format!("{key}.{word}"), what, "remove it");
    }
}

fn compile(key: &str, pattern: &str, check: &mut Check<'_>) -> Option<regex::Regex> {
    let fix = "channels are the named groups: (?<temperature>[-\\d.]+)";
    decode::compile_pattern(pattern).map_err(|error| check.problems.add(key, error, fix)).ok()
}

/// Sets the options of CSV. `None` if the delimiter is not valid.
fn csv(
    key: &str,
    options: &mut DecoderOptions,
    raw: &mut raw::Sensor,
    check: &mut Check<'_>,
) -> Option<()> {
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
    if char::from(delimiter) == options.numbers.decimal {
        let fix = "set the delimiter of the columns: delimiter = \";\"";
        check.problems.add(delimiter_key, "is the decimal sign, too", fix);
    }
    let columns: Vec<_> = columns.unwrap_or_default().into_iter().map(|field| field.0).collect();
    check_names(&format!("{key}.columns"), columns.iter().filter(|name| !name.is_empty()), check);
    (options.columns, options.has_header, options.delimiter) = (columns, header, delimiter);
    Some(())
}

fn fields(
    key: &str,
    raw: Vec<raw::BinaryField>,
    check: &mut Check<'_>,
) -> Option<Vec<BinaryField>> {
    if raw.is_empty() {
        let fix = "describe the fields: fields = [{ name = \"t\", offset = 0, kind = \"i16\" }]";
        check.problems.add(format!("{key}.fields"), "is missing or empty", fix);
        return None;
    }
    let fields = raw.into_iter().enumerate();
    let fields = fields.map(|(index, raw)| field(&format!("{key}.fields.{index}"), raw, check));
    let fields: Option<Vec<_>> = fields.collect::<Vec<_>>().into_iter().collect();
    check_names(&format!("{key}.fields"), fields.iter().flatten().map(|field| &field.name), check);
    fields
}

/// Reports duplicate names, of which one value would be lost.
fn check_names<'a>(key: &str, names: impl Iterator<Item = &'a String>, check: &mut Check<'_>) {
    let mut seen = BTreeSet::new();
    for name in names.filter(|name| !seen.insert(*name)) {
        check.problems.add(key, format!("\"{name}\" is there twice"), "give each its own name");
    }
}

fn field(key: &str, raw: raw::BinaryField, check: &mut Check<'_>) -> Option<BinaryField> {
    let name = check.required(&format!("{key}.name"), raw.name, "name its channel: name = \"t\"");
    let offset_key = format!("{key}.offset");
    let offset = check.required(&offset_key, raw.offset, "give its first byte, from 0");
    let offset = check.integer(&offset_key, offset.map(Field), 0, &(0..=OFFSET_MAX));
    let endians = [("big", Endian::Big), ("little", Endian::Little)];
    let endian = choice(&format!("{key}.endian"), raw.endian, check, &endians);
    let options = KindOptions { word: raw.kind, size: raw.size, bit: raw.bit, bits: raw.bits };
    let kind = kind(key, options, check);
    Some(BinaryField {
        name: name?,
        offset: usize::try_from(offset).unwrap_or(0),
        kind: kind?,
        endian: endian?,
    })
}

/// The options of a kind as they are written.
struct KindOptions {
    word: Option<Field<String>>,
    size: Option<Field<i64>>,
    bit: Option<Field<i64>>,
    bits: Option<Field<i64>>,
}

/// Resolves the kind of a value: `kind`, with `size` for `bcd` and `text`, and `bit` and `bits` for
/// a part of an unsigned number.
fn kind(key: &str, options: KindOptions, check: &mut Check<'_>) -> Option<Kind> {
    let KindOptions { word, size, bit, bits } = options;
    let kind_key = format!("{key}.kind");
    let fix = "name its type: kind = \"u16\", \"i32\", \"f32\", \"bool\", \"bcd\", \"text\", …";
    let word = check.required(&kind_key, word, fix)?;
    let size_key = format!("{key}.size");
    let sized = |size_max, check: &mut Check<'_>| {
        let size = check.required(&size_key, size.clone(), "give its number of bytes: size = 4")?;
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
