//! Keys of the configuration, such as `sensor.boiler.devices."a4:c1:38"`: segments joined by dots,
//! quoted where TOML requires it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

/// Returns the key of `segment` in the table `table`; the table at the top is empty.
pub(super) fn join(table: &str, segment: &str) -> String {
    let segment = quoted(segment);
    if table.is_empty() { segment.into_owned() } else { format!("{table}.{segment}") }
}

/// Returns the key of these segments.
pub(super) fn joined<T: AsRef<str>>(segments: &[T]) -> String {
    segments.iter().map(|segment| quoted(segment.as_ref())).collect::<Vec<_>>().join(".")
}

/// Returns one segment, in quotes if TOML requires it.
pub(super) fn quoted(segment: &str) -> Cow<'_, str> {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if !segment.is_empty() && segment.chars().all(is_plain) {
        return Cow::Borrowed(segment);
    }
    // The serialiser of TOML knows how a key is quoted.
    let line = toml::to_string(&BTreeMap::from([(segment, 0)])).unwrap_or_default();
    Cow::Owned(line.strip_suffix(" = 0\n").unwrap_or(&line).to_owned())
}

/// Returns the segments of a key without their quotes.
pub(super) fn segments(key: &str) -> Vec<String> {
    let plain = || key.split('.').map(str::to_owned).collect();
    if !key.contains(['"', '\'']) {
        return plain();
    }
    // A text that is no key, such as the path of a file, is split at its dots.
    quoted_segments(key).unwrap_or_else(plain)
}

fn quoted_segments(key: &str) -> Option<Vec<String>> {
    let text = format!("{key} = 0");
    let table = DeTable::parse(&text).ok()?;
    let (mut segments, mut table) = (Vec::new(), table.get_ref());
    loop {
        let (name, value) = table.iter().next()?;
        segments.push(name.get_ref().clone().into_owned());
        match value.get_ref() {
            DeValue::Table(inner) => table = inner,
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_) => return Some(segments),
        }
    }
}

/// Returns the key of the table around a key; nothing at the top.
pub(super) fn parent(key: &str) -> Option<String> {
    if !key.contains(['"', '\'']) {
        return key.rsplit_once('.').map(|(table, _)| table.to_owned());
    }
    let segments = segments(key);
    let (_, parents) = segments.split_last()?;
    (!parents.is_empty()).then(|| joined(parents))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_survive_a_join() {
        for names in [
            vec!["sensor", "boiler", "map", "0"],
            vec!["sensor", "a", "devices", "a4:c1:38.x"],
            vec!["sensor", "a", "devices", ""],
            vec!["sensor", "a", "devices", "it's \"quoted\" = 0"],
            vec!["sensor", "Küche oben", "values", "a\nb\t\u{1}"],
        ] {
            let key = joined(&names);
            assert_eq!(segments(&key), names, "{key}");
            let (last, table) = names.split_last().unwrap();
            assert_eq!(join(&joined(table), last), key);
            assert_eq!(parent(&key), Some(joined(table)));
        }
        assert_eq!(parent("sensor"), None);
        assert_eq!(segments("/a b/it's.toml"), ["/a b/it's", "toml"]);
    }

    #[test]
    fn plain_segments_have_no_quotes() {
        assert_eq!(join("device", "green-house_1"), "device.green-house_1");
        assert_eq!(join("", "losant"), "losant");
        assert_eq!(join("a", "b c"), "a.\"b c\"");
    }
}
