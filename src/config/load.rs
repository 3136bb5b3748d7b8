//! Merges the layers and reads them into [`Raw`], collecting every unknown key and every wrong type.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{Config, Environment, File, FileFormat, Value, ValueKind};
use serde_path_to_error::{Segment, Track};

use super::raw::{Raw, keys_at};
use super::{DEFAULTS, Problems};

/// The most wrong values that are told at once: each costs a pass over the whole tree.
const WRONG_VALUES_MAX: usize = 100;

/// How alike an unknown and a known key must be, 0 to 1, for a "did you mean".
const LIKENESS_MIN: f64 = 0.75;

/// Reads the defaults, `file`, the `conf.d` beside it and the `TIDEGATE_` variables of `environment`.
pub(super) fn load(
    file: &Path,
    environment: BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<Raw> {
    let defaults = File::from_str(DEFAULTS, FileFormat::Toml);
    let mut builder = Config::builder().add_source(defaults);
    for path in layers(file, problems) {
        let source = File::from(path.as_path()).format(FileFormat::Toml);
        match Config::builder().add_source(source.clone()).build() {
            Ok(_) => builder = builder.add_source(source),
            Err(error) => problems.add(path.display().to_string(), error, ""),
        }
    }
    if !problems.is_empty() {
        // What such a file would have said is not known, so nothing more can be judged.
        return None;
    }
    let variables = Environment::with_prefix("TIDEGATE")
        .prefix_separator("_")
        .separator("__")
        .source(Some(environment.into_iter().collect()));
    match builder.add_source(variables).build() {
        Ok(merged) => read(merged.cache, problems),
        Err(error) => {
            problems.add("TIDEGATE_… in the environment", error, "");
            None
        }
    }
}

/// The main file, then `conf.d/*.toml` beside it by name.
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
            problems.add(file.display().to_string(), format!("cannot read it: {error}"), fix);
        }
    }
    let directory = file.with_file_name("conf.d");
    match std::fs::read_dir(&directory) {
        Ok(entries) => {
            let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
            let mut fragments: Vec<_> =
                paths.filter(|path| path.extension().is_some_and(|e| e == "toml")).collect();
            fragments.sort();
            files.extend(fragments);
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            problems.add(directory.display().to_string(), format!("cannot read it: {error}"), "");
        }
    }
    files
}

/// Deserializes the tree. A value of the wrong type is told and taken out, until the rest fits.
fn read(mut tree: Value, problems: &mut Problems) -> Option<Raw> {
    for _ in 0..WRONG_VALUES_MAX {
        let mut unknown = Vec::new();
        let mut track = Track::new();
        let deserializer = serde_path_to_error::Deserializer::new(tree.clone(), &mut track);
        let result: Result<Raw, _> =
            serde_ignored::deserialize(deserializer, |path| unknown.push(path.to_string()));
        match result {
            Ok(raw) => {
                for key in unknown {
                    tell_unknown(&key, &tree, problems);
                }
                return Some(raw);
            }
            Err(error) => {
                let path = track.path();
                let keys: Vec<String> = path.iter().map(unbracketed).collect();
                let removed = remove(&mut tree, &keys);
                let origin = removed.as_ref().and_then(origin);
                problems.add(
                    keys.join("."),
                    format!("{}{}", bare(&error), origin.unwrap_or_default()),
                    "",
                );
                removed?;
            }
        }
    }
    None
}

/// A list index as it stands in a key: `0`, not `[0]`.
fn unbracketed(segment: &Segment) -> String {
    segment.to_string().trim_matches(['[', ']']).to_owned()
}

/// The error without the key and file that the crate appends: both are told already.
fn bare(error: &config::ConfigError) -> String {
    let text = if let config::ConfigError::At { error, .. } = error {
        error.to_string()
    } else {
        error.to_string()
    };
    text.split(" for key `").next().unwrap_or_default().to_owned()
}

/// Which file a value came from; tables that were merged came from none.
fn origin(value: &Value) -> Option<String> {
    let origin = value.origin()?;
    // The crate writes paths relative to the working directory, which an operator does not know.
    let shown = std::fs::canonicalize(origin)
        .map_or_else(|_| origin.to_owned(), |path| path.display().to_string());
    Some(format!(" (in {shown})"))
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

fn find<'a>(tree: &'a Value, keys: &[&str]) -> Option<&'a Value> {
    keys.iter().try_fold(tree, |value, key| {
        if let ValueKind::Array(items) = &value.kind {
            return items.get(key.parse::<usize>().ok()?);
        }
        if let ValueKind::Table(table) = &value.kind { table.get(*key) } else { None }
    })
}

fn tell_unknown(key: &str, tree: &Value, problems: &mut Problems) {
    // serde_ignored writes "?" for the inside of an Option, which has no key.
    let keys: Vec<&str> = key.split('.').filter(|segment| *segment != "?").collect();
    let Some((last, parents)) = keys.split_last() else { return };
    let origin = find(tree, &keys).and_then(origin).unwrap_or_default();
    let known = keys_at(parents);
    let likely = known
        .iter()
        .map(|known| (strsim::jaro_winkler(known, last), known))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    let fix = match likely {
        Some((_, likely)) => format!("did you mean \"{likely}\"?"),
        None if known.is_empty() => "remove it".to_owned(),
        None => format!("the keys here are {}", known.join(", ")),
    };
    problems.add(keys.join("."), format!("unknown key{origin}"), fix);
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
        let mut problems = Problems::default();
        let raw = load(&file, environment, &mut problems);
        (raw, problems.to_string().replace(&*directory.path().to_string_lossy(), "DIR"))
    }

    #[test]
    fn each_layer_stands_over_the_one_before() {
        let (raw, problems) = load_text(
            "[reporter]\nbatch_states_max = 10\nbatch_age = \"1 s\"\n[losant]\nurl = \"http://a\"",
            &[
                ("20-b.toml", "[reporter]\nbatch_states_max = 30"),
                ("10-a.toml", "[reporter]\nbatch_states_max = 20"),
            ],
            &[
                ("TIDEGATE_REPORTER__BATCH_AGE", "3 s"),
                ("TIDEGATE_BUS__MQTT__HOUSE__PORT", "1884"),
                ("OTHER", "1"),
            ],
        );
        assert_eq!(problems, "");
        let raw = raw.unwrap();
        assert_eq!(raw.reporter.batch_states_max.unwrap().0, 30);
        assert_eq!(raw.reporter.batch_age.unwrap().0, std::time::Duration::from_secs(3));
        assert_eq!(raw.bus.mqtt["house"].port.as_ref().unwrap().0, 1884);
        assert_eq!(raw.losant.url.unwrap().0, "http://a");
        assert!(raw.outbox.size_max.is_some(), "the embedded defaults are the first layer");
    }

    #[test]
    fn every_unknown_key_and_every_wrong_type_is_told_at_once() {
        let (_, problems) = load_text(
            "[reporter]\nbatch_state_max = 10\nbatch_age = 5\n[nonsense]\na = 1\n[bus.serial.probe]\nbaud_rate = \"fast\"\n\
             [sensor.a]\nmap = [{ channel = \"c\", attribute = \"a\", scael = 2 }]",
            &[("x.toml", "[bus.serial.probe]\npath = 5.5")],
            &[("TIDEGATE_LOG__LEVLE", "debug")],
        );
        let expected = [
            "reporter.batch_age: invalid type: integer `5`, expected a duration with a unit",
            "bus.serial.probe.baud_rate: invalid value: string \"fast\", expected a whole number",
            "bus.serial.probe.path: invalid type: floating point `5.5`, expected a text in quotes",
            "reporter.batch_state_max: unknown key (in DIR/tidegate.toml); did you mean \"batch_states_max\"?",
            "nonsense: unknown key; the keys here are losant, device,",
            "sensor.a.map.0.scael: unknown key (in DIR/tidegate.toml); did you mean \"scale\"?",
            "log.levle: unknown key (in the environment); did you mean \"level\"?",
        ];
        for text in expected {
            assert!(problems.contains(text), "missing: {text}\nin:\n{problems}");
        }
        assert_eq!(problems.lines().count(), expected.len(), "{problems}");
        assert!(problems.contains("(in DIR/conf.d/x.toml)"), "{problems}");
    }

    #[test]
    fn a_syntax_error_names_its_file_and_line() {
        let (_, problems) =
            load_text("[losant]\n", &[("broken.toml", "[reporter]\nbatch_age = \n")], &[]);
        assert!(
            problems.contains("DIR/conf.d/broken.toml") && problems.contains("line 2"),
            "{problems}"
        );
    }
}
