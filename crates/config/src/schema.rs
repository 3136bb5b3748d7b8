//! Generates the JSON Schema of the configuration for editors from the raw types, the
//! ranges and choices of the checks, and the descriptions of the annotated file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::annotated::{ANY, descriptions, general, uncommented};
use super::check::Purpose;
use super::field::Form;
use super::option_info::{OptionInfo, OptionInfos};
use super::raw::Raw;
use super::shape::{Shape, ShapeOf, Shaped as _};
use super::{DEFAULTS, Problems, bus, load, resolve};

/// One or more numbers, each with a unit, as humantime parses them.
const DURATION_PATTERN: &str = r"^\s*([0-9]+\s*[a-zA-Zµ]+\s*)+$";

/// A number with a unit of bytes.
const SIZE_PATTERN: &str = r"^\s*[0-9]+(\.[0-9]+)?\s*([kKmMgGtT]i?)?[bB]\s*$";

/// The tables, besides buses, whose names the operator chooses; other names come from messages.
const NAMED: [&str; 3] = ["device", "sensor", "actuator"];

/// Names that the operator chooses; see `model::Name`.
const NAME_PATTERN: &str = "^[a-z0-9_-]+$";

/// The schema of `tidegate.toml` and of the files in `conf.d`.
///
/// The schema requires no option, because each file may contain any part of the configuration;
/// `tidegate check` reports missing options.
pub fn schema() -> Value {
    let sources = Sources::new();
    let mut schema = sources.schema(Raw::shape(), "");
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), "http://json-schema.org/draft-07/schema#".into());
        schema.insert("title".to_owned(), "tidegate.toml".into());
    }
    schema
}

/// The information about the options, by general key.
struct Sources {
    descriptions: BTreeMap<String, String>,
    options: BTreeMap<String, OptionInfo>,
    defaults: Map<String, Value>,
}

impl Sources {
    fn new() -> Self {
        let defaults = load::parse(DEFAULTS).and_then(|tree| tree.try_deserialize().ok());
        Self {
            descriptions: descriptions(),
            options: options(),
            defaults: defaults.unwrap_or_default(),
        }
    }

    fn schema(&self, shape: Shape, key: &str) -> Value {
        let below =
            |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        let mut schema = match shape {
            Shape::Table(options) => {
                let option = |(name, shape): &ShapeOf| {
                    ((*name).to_owned(), self.schema(shape(), &below(name)))
                };
                let properties: Map<_, _> = options.iter().map(option).collect();
                json!({ "type": "object", "properties": properties, "additionalProperties": false })
            }
            Shape::Named(shape) if is_named(key) => json!({
                "type": "object",
                "propertyNames": { "pattern": NAME_PATTERN },
                "additionalProperties": self.schema(shape(), &below(ANY)),
            }),
            Shape::Named(shape) => json!({
                "type": "object", "additionalProperties": self.schema(shape(), &below(ANY)),
            }),
            Shape::List(shape) => {
                json!({ "type": "array", "items": self.schema(shape(), &below(ANY)) })
            }
            Shape::WordOr(shape) => {
                let word = self.value(Form::Text, key);
                json!({ "anyOf": [word, self.schema(shape(), key)] })
            }
            Shape::Value(form) => self.value(form, key),
        };
        if let (Some(description), Some(schema)) =
            (self.descriptions.get(key), schema.as_object_mut())
        {
            schema.entry("description").or_insert_with(|| description.clone().into());
        }
        schema
    }

    fn value(&self, form: Form, key: &str) -> Value {
        let info = self.options.get(key);
        let mut schema = match form {
            Form::Text => json!({ "type": "string" }),
            Form::Integer => json!({ "type": "integer" }),
            Form::Number => json!({ "type": "number" }),
            Form::Flag => json!({ "type": "boolean" }),
            Form::Scalar => json!({ "type": ["string", "number", "boolean"] }),
            Form::Duration => json!({ "type": "string", "pattern": DURATION_PATTERN }),
            Form::Size => json!({ "type": "string", "pattern": SIZE_PATTERN }),
        };
        let Some(members) = schema.as_object_mut() else { return schema };
        if let Some((least, most)) = info.and_then(|info| info.range.as_ref()) {
            match form {
                Form::Integer | Form::Number => {
                    members.insert("minimum".to_owned(), least.clone());
                    members.insert("maximum".to_owned(), most.clone());
                }
                Form::Duration | Form::Size => {
                    let description = self
                        .descriptions
                        .get(key)
                        .map(|text| format!("{text} "))
                        .unwrap_or_default();
                    let range = format!("{description}From {} to {}.", bare(least), bare(most));
                    members.insert("description".to_owned(), range.into());
                }
                Form::Text | Form::Flag | Form::Scalar => {}
            }
        }
        if let Some(info) = info.filter(|info| !info.choices.is_empty()) {
            members.insert("enum".to_owned(), info.choices.clone().into());
        }
        let default = key.split('.').try_fold(None, |at: Option<&Value>, segment| {
            let table = at.map_or(Some(&self.defaults), Value::as_object)?;
            table.get(segment).map(Some)
        });
        let default = default.flatten().or_else(|| info.and_then(|info| info.default.as_ref()));
        members.extend(default.map(|default| ("default".to_owned(), default.clone())));
        schema
    }
}

/// Returns the information of the checks about each option of the annotated file with its examples.
fn options() -> BTreeMap<String, OptionInfo> {
    // The files of secrets in the examples do not exist. Their problems do not matter here.
    let (nowhere, mut problems) = (Path::new("/nonexistent/tidegate.toml"), Problems::default());
    let mut options = OptionInfos::default();
    let raw = load::parse(&uncommented()).and_then(|mut tree| load::read(&mut tree, &mut problems));
    raw.and_then(|raw| {
        resolve::resolve(raw, nowhere, Purpose::Daemon, &mut problems, &mut options)
    });
    options.into_iter().map(|(key, info)| (general(&key), info)).collect()
}

/// Returns whether the operator chooses the names of the tables at `key`.
fn is_named(key: &str) -> bool {
    let is_bus = |word: &str| bus::WORDS.contains(&word);
    NAMED.contains(&key) || key.strip_prefix("bus.").is_some_and(is_bus)
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published schema, beside the annotated file.
    const PUBLISHED: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/tidegate.schema.json");

    fn errors(toml: &str) -> Vec<String> {
        let document: Value = load::parse(toml).unwrap().try_deserialize().unwrap();
        let validator = jsonschema::validator_for(&schema()).unwrap();
        validator
            .iter_errors(&document)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect()
    }

    #[test]
    fn the_published_schema_is_up_to_date() {
        let schema = format!("{:#}\n", schema());
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(PUBLISHED, &schema).unwrap();
        }
        let published = std::fs::read_to_string(PUBLISHED).unwrap_or_default();
        assert!(published == schema, "run: tidegate config schema > config/tidegate.schema.json");
    }

    #[test]
    fn every_option_is_described() {
        fn collect(schema: &Value, key: &str, silent: &mut Vec<String>) {
            let options = schema["properties"].as_object().into_iter().flatten();
            let below = ["additionalProperties", "items"].map(|any| (ANY, &schema[any]));
            for (name, schema) in options
                .map(|(name, schema)| (name.as_str(), schema))
                .chain(below)
                .filter(|(_, schema)| schema.is_object())
            {
                let key = format!("{key}.{name}");
                if schema["type"].is_string() && schema["type"] != "object" && name != ANY {
                    silent.extend(schema["description"].is_null().then(|| key.clone()));
                }
                collect(schema, &key, silent);
            }
        }
        let mut silent = Vec::new();
        collect(&schema(), "", &mut silent);
        assert_eq!(silent, [""; 0]);
    }

    #[test]
    fn the_annotated_file_and_every_example_fit_the_schema() {
        assert_eq!(errors(DEFAULTS), [""; 0]);
        assert_eq!(errors(&uncommented()), [""; 0]);
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/examples");
        for example in std::fs::read_dir(examples).unwrap() {
            let path = example.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let text = std::fs::read_to_string(&path).unwrap();
                assert_eq!(errors(&text), [""; 0], "{}", path.display());
            }
        }
    }

    #[test]
    fn an_editor_sees_what_the_daemon_would_refuse() {
        for wrong in [
            "nonsense = 1",
            "[reporter]\nbatch_states_max = 501",
            "[reporter]\nbatch_age_max = \"5\"",
            "[outbox]\nsize_max = 5",
            "[bus.serial.probe]\nparity = \"evn\"",
            "[bus.serial.probe]\nbaud_rate = \"9600\"",
            "[bus.serial.Probe]\npath = \"x\"",
            "[sensor.probe]\nmap = [{ chanel = \"x\" }]",
        ] {
            assert_eq!(errors(wrong).len(), 1, "{wrong}");
        }
    }

    #[test]
    fn option_schema_has_description_range_and_default() {
        let schema = schema();
        let states = &schema["properties"]["reporter"]["properties"]["batch_states_max"];
        assert_eq!(
            (&states["minimum"], &states["maximum"], &states["default"]),
            (&json!(1), &json!(500), &json!(100))
        );
        let serial = &schema["properties"]["bus"]["properties"]["serial"]["additionalProperties"];
        assert_eq!(serial["properties"]["baud_rate"]["default"], 9_600);
        assert_eq!(serial["properties"]["parity"]["enum"], json!(["none", "odd", "even"]));
        let age =
            schema["properties"]["reporter"]["properties"]["batch_age_max"]["description"].as_str();
        assert!(age.is_some_and(|text| text.ends_with("From 0s to 1h.")), "{age:?}");
    }
}
