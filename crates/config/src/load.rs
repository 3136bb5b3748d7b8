//! Merges the layers into one tree and reads it into [`Raw`]. Collects every unknown key and every
//! wrong type.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat, Value, ValueKind};
use serde_path_to_error::{Segment, Track};
use toml::de::DeTable;

use super::access;
use super::key::joined;
use super::origin::{Origin, Origins, VARIABLE_PREFIX, VARIABLE_SEPARATOR};
use super::raw::{Raw, shape_at};
use super::shape::Shape;
use super::suggest::most_similar;
use super::syntax::SyntaxError;
use super::{DEFAULTS, Problems, bus};

/// The maximum number of wrong values in one report: each costs a pass over the whole tree.
const WRONG_VALUES_MAX: usize = 100;

/// The maximum number of warnings about files in `conf.d` that are not read.
const WARNINGS_MAX: usize = 20;

/// The maximum size of a file in bytes: ten thousand sensors need less than half of it.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Merges the defaults, `file`, the `conf.d` beside it and the `TIDEGATE_` variables of
/// `environment` into one tree, and records the place of each value in `origins`. Returns nothing
/// if a layer cannot be read.
pub(super) fn merge(
    file: &Path,
    environment: BTreeMap<String, String>,
    origins: &mut Origins,
    problems: &mut Problems,
) -> Option<Value> {
    let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    origins.add_defaults(DEFAULTS);
    for path in layers(file, problems) {
        let Some(text) = read_text(&path, problems) else { continue };
        match origins.add_file(&path, &text) {
            Ok(()) => builder = builder.add_source(File::from_str(&text, FileFormat::Toml)),
            Err(SyntaxError { line, message, hint, excerpt }) => {
                let place = Origin::File { path: path.as_path().into(), line: Some(line) };
                problems.add_with_excerpt(place, format!("is not TOML: {message}"), hint, excerpt);
            }
        }
    }
    if problems.has_errors() {
        // The values of such a file are not known, so that no other problem would be reliable.
        return None;
    }
    origins.add_variables(environment.keys());
    let variables = Environment::with_prefix(VARIABLE_PREFIX)
        .prefix_separator("_")
        .separator(VARIABLE_SEPARATOR)
        .source(Some(environment.into_iter().collect()));
    match builder.add_source(variables).build() {
        Ok(merged) => Some(merged.cache),
        Err(error) => {
            problems.add("TIDEGATE_… in the environment", error, "");
            None
        }
    }
}

fn read_text(path: &Path, problems: &mut Problems) -> Option<String> {
    let read = std::fs::metadata(path).and_then(|metadata| {
        if metadata.len() > FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
        }
        std::fs::read_to_string(path)
    });
    let at = path.display().to_string();
    read.map_err(|error| access::report(&at, path, &error, "", problems)).ok()
}

/// Lists the main file, then `conf.d/*.toml` beside it by name.
fn layers(file: &Path, problems: &mut Problems) -> Vec<PathBuf> {
    let mut files = Vec::new();
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => files.push(file.to_owned()),
        Ok(_) => problems.add(
            file.display().to_string(),
            "is not a file",
            "give the path of a TOML file",
        ),
        Err(error) => {
            let fix = "give the path of the configuration with --config FILE";
            access::report(&file.display().to_string(), file, &error, fix, problems);
        }
    }
    let directory = file.with_file_name("conf.d");
    match std::fs::read_dir(&directory) {
        Ok(entries) => {
            let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            let (mut fragments, mut others): (Vec<_>, Vec<_>) =
                paths.partition(|path| is_fragment(path));
            fragments.sort();
            others.sort();
            files.extend(fragments);
            for path in others.iter().take(WARNINGS_MAX) {
                report_unread(path, problems);
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            access::report(&directory.display().to_string(), &directory, &error, "", problems);
        }
    }
    files
}

fn is_fragment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml") && !path.is_dir()
}

/// Reports an entry of `conf.d` that is not read.
fn report_unread(path: &Path, problems: &mut Problems) {
    let fix = if path.is_dir() {
        "move its files into conf.d itself, or move it elsewhere"
    } else {
        "give it a name that ends in .toml, or move it elsewhere"
    };
    let what = "is not read; only files whose name ends in .toml are";
    problems.warn(path.display().to_string(), what, fix);
}

/// Returns the status socket of this configuration, whatever other problems it has: the user may
/// lack rights that the daemon has, and a mistake in a file must not prevent `tidegate status`.
///
/// # Errors
/// When the main file cannot be read.
pub fn status_socket(file: &Path) -> Result<PathBuf, Problems> {
    let mut problems = Problems::default();
    let main = read_text(file, &mut problems).filter(|_| !problems.has_errors()).ok_or(problems)?;
    let mut ignored = Problems::default();
    let others = layers(file, &mut ignored).into_iter().skip(1);
    let texts = others.filter_map(|path| read_text(&path, &mut Problems::default()));
    let texts: Vec<_> = [DEFAULTS.to_owned(), main].into_iter().chain(texts).collect();
    let named = texts.iter().rev().find_map(|text| {
        let (tree, _) = DeTable::parse_recoverable(text);
        let socket = tree.get_ref().get("status")?.get_ref().get("socket")?.get_ref();
        Some(socket.as_str()?.to_owned())
    });
    let variable = format!("{VARIABLE_PREFIX}_STATUS{VARIABLE_SEPARATOR}SOCKET");
    let socket = std::env::var(variable).ok().or(named).unwrap_or_default();
    let directory = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    Ok(directory.with_file_name(socket))
}

/// Returns the defaults with these texts over them as a tree; nothing if a text is not TOML.
pub(super) fn overlay(texts: &[&str], problems: &mut Problems) -> Option<Value> {
    let mut builder = Config::builder().add_source(File::from_str(DEFAULTS, FileFormat::Toml));
    for text in texts {
        builder = builder.add_source(File::from_str(text, FileFormat::Toml));
    }
    let merged = builder.build();
    merged.map(|merged| merged.cache).map_err(|error| problems.add("", error, "")).ok()
}

/// Returns a single text as a tree.
pub(super) fn parse(text: &str) -> Option<Value> {
    let source = File::from_str(text, FileFormat::Toml);
    Some(Config::builder().add_source(source).build().ok()?.cache)
}

/// Deserializes the tree. Reports and removes values of the wrong type until the rest fits.
pub(super) fn read(tree: &mut Value, problems: &mut Problems) -> Option<Raw> {
    for _ in 0..WRONG_VALUES_MAX {
        let mut unknown = Vec::new();
        let mut track = Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(tree.clone(), &mut track);
        let result: Result<Raw, _> =
            serde_ignored::deserialize(deserializer, |path| unknown.push(keys_of(&path)));
        match result {
            Ok(raw) => {
                for keys in unknown {
                    report_unknown_key(&keys, tree, problems);
                }
                return Some(raw);
            }
            Err(error) => {
                let path = track.path();
                let keys: Vec<String> = path.iter().map(unbracketed).collect();
                if let Some(table) = nameless(tree, &keys) {
                    report_nameless(table, problems);
                    keep_tables(tree, table)?;
                } else {
                    problems.add(joined(&keys), bare(&error), "");
                    remove(tree, &keys)?;
                }
            }
        }
    }
    None
}

/// Returns the table whose name is missing, as in `[sensor]` in place of `[sensor.boiler]`, if a
/// value at these keys or around them is where a table should be.
fn nameless<'a>(tree: &Value, keys: &'a [String]) -> Option<&'a [String]> {
    (1..=keys.len()).find_map(|length| {
        let (_, table) = keys.get(..length)?.split_last()?;
        let is_named = matches!(shape_at(table.iter().map(String::as_str)), Some(Shape::Named(_)));
        let inner = shape_at(keys.get(..length)?.iter().map(String::as_str));
        let value = keys.get(..length)?.iter().try_fold(tree, |value, key| {
            let ValueKind::Table(table) = &value.kind else { return None };
            table.get(key)
        });
        let is_table = matches!(value?.kind, ValueKind::Table(_));
        (is_named && matches!(inner, Some(Shape::Table(_))) && !is_table).then_some(table)
    })
}

fn report_nameless(table: &[String], problems: &mut Problems) {
    let key = joined(table);
    problems.add(&*key, "has no name", format!("write the name after a dot: [{key}.NAME]"));
    if let [kind @ ("bus" | "device" | "sensor" | "actuator"), ..] =
        table.iter().map(String::as_str).collect::<Vec<_>>().as_slice()
    {
        problems.expect_misnamed(kind);
    }
}

/// Removes the values of a table that are not tables.
fn keep_tables(tree: &mut Value, keys: &[String]) -> Option<()> {
    let value = keys.iter().try_fold(tree, |value, key| child_mut(value, key))?;
    let ValueKind::Table(table) = &mut value.kind else { return None };
    table.retain(|_, value| matches!(value.kind, ValueKind::Table(_)));
    Some(())
}

/// Returns a list index as in a key: `0`, not `[0]`.
fn unbracketed(segment: &Segment) -> String {
    segment.to_string().trim_matches(['[', ']']).to_owned()
}

/// Returns the error without the key and the file that the crate appends.
fn bare(error: &config::ConfigError) -> String {
    let text = if let config::ConfigError::At { error, .. } = error {
        error.to_string()
    } else {
        error.to_string()
    };
    let text = text.split(" for key `").next().unwrap_or_default();
    // The words of serde for a table and a list.
    let words = [("a map", "a table"), ("a sequence", "a list"), ("map,", "a table,")];
    let text = words.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    match text.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected a table"),
        None => text.replace("sequence,", "a list,"),
    }
}

fn remove(tree: &mut Value, keys: &[String]) -> Option<Value> {
    let (last, parents) = keys.split_last()?;
    let parent = parents.iter().try_fold(tree, |value, key| child_mut(value, key))?;
    if let ValueKind::Table(table) = &mut parent.kind {
        return table.remove(last);
    }
    let ValueKind::Array(items) = &mut parent.kind else { return None };
    let index = last.parse().ok().filter(|index| *index < items.len())?;
    Some(items.remove(index))
}

fn child_mut<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Value> {
    match &mut value.kind {
        ValueKind::Table(table) => table.get_mut(key),
        ValueKind::Array(items) => items.get_mut(key.parse::<usize>().ok()?),
        ValueKind::Nil
        | ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_)
        | ValueKind::String(_) => None,
    }
}

/// Returns the segments of a path. The inside of an `Option` has none of its own.
fn keys_of(path: &serde_ignored::Path<'_>) -> Vec<String> {
    let (parent, key) = match path {
        serde_ignored::Path::Root => return Vec::new(),
        serde_ignored::Path::Seq { parent, index } => (parent, Some(index.to_string())),
        serde_ignored::Path::Map { parent, key } => (parent, Some(key.clone())),
        serde_ignored::Path::Some { parent }
        | serde_ignored::Path::NewtypeStruct { parent }
        | serde_ignored::Path::NewtypeVariant { parent } => (parent, None),
    };
    let mut keys = keys_of(parent);
    keys.extend(key);
    keys
}

fn report_unknown_key(keys: &[String], tree: &Value, problems: &mut Problems) {
    let Some((last, parents)) = keys.split_last() else { return };
    let known: Vec<_> =
        shape_at(parents.iter().map(String::as_str)).into_iter().flat_map(Shape::options).collect();
    let meant = most_similar(last, known.iter().copied());
    let names = names_at(tree, keys);
    let is_kind = |word: &str| bus::WORDS.contains(&word);
    let fix = match (parents, meant) {
        ([], _) if is_kind(last) => format!("write [bus.{last}.NAME]"),
        ([table], None) if table == "bus" && names.is_none() => {
            format!("write the kind of the bus before its name: [bus.KIND.{last}]")
        }
        (_, Some(meant)) => format!("did you mean \"{meant}\"?"),
        (_, None) if known.is_empty() => "remove it".to_owned(),
        (_, None) => format!("the keys here are {}", known.join(", ")),
    };
    let meant = if parents.is_empty() && is_kind(last) { Some("bus") } else { meant };
    problems.add_unknown(keys, meant, names.unwrap_or_default(), fix);
}

/// Returns the names of the tables in the table at `keys`; `None` if there are other values, too.
fn names_at(tree: &Value, keys: &[String]) -> Option<BTreeSet<String>> {
    let value = keys.iter().try_fold(tree, |value, key| {
        let ValueKind::Table(table) = &value.kind else { return None };
        table.get(key)
    });
    let ValueKind::Table(table) = &value?.kind else { return None };
    let is_table = |value: &Value| matches!(value.kind, ValueKind::Table(_));
    table.iter().map(|(name, value)| is_table(value).then(|| name.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(
        main: &str,
        fragments: &[(&str, &str)],
        environment: &[(&str, &str)],
    ) -> (Option<Raw>, String) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("tidegate.toml");
        std::fs::write(&file, main).unwrap();
        std::fs::create_dir(directory.path().join("conf.d")).unwrap();
        for (name, text) in fragments {
            std::fs::write(directory.path().join("conf.d").join(name), text).unwrap();
        }
        let environment = environment
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        let (mut origins, mut problems) = (Origins::new(&file), Problems::default());
        let tree = merge(&file, environment, &mut origins, &mut problems);
        let raw = tree.and_then(|mut tree| read(&mut tree, &mut problems));
        problems.locate(&origins);
        (raw, problems.to_string().replace(&*directory.path().to_string_lossy(), "DIR"))
    }

    #[test]
    fn each_layer_overrides_the_one_before() {
        let (raw, problems) = load_text(
            "[reporter]\nbatch_states_max = 10\nbatch_age_max = \"1 s\"\n\
             [losant]\nurl = \"http://a\"",
            &[
                ("20-b.toml", "[reporter]\nbatch_states_max = 30"),
                ("10-a.toml", "[reporter]\nbatch_states_max = 20"),
            ],
            &[
                ("TIDEGATE_REPORTER__BATCH_AGE_MAX", "3 s"),
                ("TIDEGATE_BUS__MQTT__HOUSE__PORT", "1884"),
                ("OTHER", "1"),
            ],
        );
        assert_eq!(problems, "");
        let raw = raw.unwrap();
        assert_eq!(raw.reporter.batch_states_max.unwrap().0, 30);
        assert_eq!(raw.reporter.batch_age_max.unwrap().0, std::time::Duration::from_secs(3));
        assert_eq!(raw.bus.mqtt["house"].port.as_ref().unwrap().0, 1884);
        assert_eq!(raw.losant.url.unwrap().0, "http://a");
        assert!(raw.outbox.size_max.is_some(), "the embedded defaults are the first layer");
    }

    #[test]
    fn all_unknown_keys_and_wrong_types_are_reported() {
        let (_, problems) = load_text(
            "[reporter]\nbatch_state_max = 10\nbatch_age_max = 5\n[nonsense]\na = 1\n\
             [bus.serial.probe]\nbaud_rate = \"fast\"\n\
             [sensor.a]\nmap = [{ channel = \"c\", attribute = \"a\", scael = 2 }]",
            &[("x.toml", "[bus.serial.probe]\npath = 5.5")],
            &[("TIDEGATE_LOG__LEVLE", "debug")],
        );
        let expected = [
            "DIR/tidegate.toml:3: reporter.batch_age_max: invalid type: integer `5`, expected a \
             duration with a unit",
            "DIR/tidegate.toml:7: bus.serial.probe.baud_rate: invalid value: string \"fast\", \
             expected a whole number",
            "DIR/conf.d/x.toml:2: bus.serial.probe.path: invalid type: floating point `5.5`, \
             expected a text in quotes",
            "DIR/tidegate.toml:2: reporter.batch_state_max: unknown key; did you mean \
             \"batch_states_max\"?",
            "DIR/tidegate.toml:4: nonsense: unknown key; the keys here are losant, device,",
            "DIR/tidegate.toml:9: sensor.a.map.0.scael: unknown key; did you mean \"scale\"?",
            "TIDEGATE_LOG__LEVLE in the environment: log.levle: unknown key; did you mean \
             \"level\"?",
        ];
        for text in expected {
            assert!(problems.contains(text), "missing: {text}\nin:\n{problems}");
        }
        assert_eq!(problems.lines().count(), expected.len(), "{problems}");
    }

    #[test]
    fn a_syntax_error_names_its_file_and_line() {
        let (_, problems) =
            load_text("[losant]\n", &[("broken.toml", "[reporter]\nbatch_age_max = \n")], &[]);
        assert!(problems.starts_with("DIR/conf.d/broken.toml:2: is not TOML: "), "{problems}");
        assert!(problems.contains("; give a value: batch_age_max = …\n"), "{problems}");
        assert_eq!(problems.lines().count(), 3, "{problems}");
    }

    #[test]
    fn entries_of_conf_d_that_are_not_read_are_named() {
        let others = ["a.toml.bak", "b.conf", "c", "d.TOML", "e.toml~", ".toml"];
        let fragments: Vec<_> = others.iter().map(|name| (*name, "x")).collect();
        let (raw, problems) = load_text("[losant]\n", &fragments, &[]);
        assert!(raw.is_some());
        for name in others {
            let expected = format!("warning: DIR/conf.d/{name}: is not read");
            assert!(problems.contains(&expected), "{name}\n{problems}");
        }
        assert_eq!(problems.lines().count(), others.len(), "{problems}");
    }
}
