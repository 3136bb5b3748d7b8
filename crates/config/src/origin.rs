//! The place of each value of the merged configuration: its layer and its line.
//!
//! The `config` crate merges the layers but knows no lines. This index is built beside it, layer by
//! layer, by the same rules: tables are merged, everything else is replaced.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{join, parent};
use super::raw::shape_at;
use super::syntax::SyntaxError;

/// The prefix of environment variables with configuration.
pub(super) const VARIABLE_PREFIX: &str = "TIDEGATE";

/// The separator between the keys in the name of a variable.
pub(super) const VARIABLE_SEPARATOR: &str = "__";

/// The place where a value is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The defaults.
    Default,
    /// A file.
    File {
        /// The path, as given.
        path: Arc<Path>,
        /// The line, from 1, if known.
        line: Option<usize>,
    },
    /// The environment variable with this name.
    Variable(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File { path, line: Some(line) } => write!(formatter, "{}:{line}", path.display()),
            Self::File { path, line: None } => write!(formatter, "{}", path.display()),
            Self::Variable(name) => write!(formatter, "{name} in the environment"),
        }
    }
}

/// The places by key, such as `sensor.boiler.map.0.channel`.
#[derive(Debug)]
pub(super) struct Origins {
    files: Vec<PathBuf>,
    places: BTreeMap<String, Origin>,
}

impl Origins {
    /// Creates an empty index. A key that no layer has set belongs into the file `main`.
    pub(super) fn new(main: &Path) -> Self {
        Self { files: vec![main.to_owned()], places: BTreeMap::new() }
    }

    /// Adds a file over the layers so far.
    ///
    /// # Errors
    /// If the file is not TOML.
    pub(super) fn add_file(&mut self, path: &Path, text: &str) -> Result<(), SyntaxError> {
        let line_ends: Vec<usize> = text.match_indices('\n').map(|(end, _)| end).collect();
        let shared: Arc<Path> = path.into();
        let at = |offset: usize| Origin::File {
            path: Arc::clone(&shared),
            line: Some(line_ends.partition_point(|end| *end < offset) + 1),
        };
        self.files.push(path.to_owned());
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            SyntaxError::new(text, offset, error.message())
        })?;
        self.add_table(table.get_ref(), "", &at);
        Ok(())
    }

    /// Returns the sort key of a place: the files by layer, each from top to bottom, then the
    /// environment.
    pub(super) fn order(&self, place: &Origin) -> (usize, usize) {
        match place {
            Origin::Default => (0, 0),
            Origin::File { path, line } => {
                let layer = self.files.iter().position(|file| **file == **path);
                (layer.unwrap_or(self.files.len()), line.unwrap_or(0))
            }
            Origin::Variable(_) => (usize::MAX, 0),
        }
    }

    /// Adds the defaults under everything.
    pub(super) fn add_defaults(&mut self, text: &str) {
        if let Ok(table) = DeTable::parse(text) {
            self.add_table(table.get_ref(), "", &|_| Origin::Default);
        }
    }

    /// Adds the environment over everything.
    pub(super) fn add_variables<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        for name in names {
            let Some(rest) = name.strip_prefix(VARIABLE_PREFIX).and_then(|n| n.strip_prefix('_'))
            else {
                continue;
            };
            let key = rest.to_lowercase().replace(VARIABLE_SEPARATOR, ".");
            let place = Origin::Variable(name.clone());
            for (end, _) in key.match_indices('.') {
                let parent = key.get(..end).unwrap_or_default().to_owned();
                self.places.entry(parent).or_insert_with(|| place.clone());
            }
            self.places.insert(key, place);
        }
    }

    /// Returns the place of exactly this key.
    pub(super) fn exact(&self, key: &str) -> Option<&Origin> {
        self.places.get(key)
    }

    /// Returns the place of a key, or else of the nearest table around it, or else the main file.
    /// Returns nothing for other texts, such as the path of a file of secrets.
    pub(super) fn nearest(&self, key: &str) -> Option<Origin> {
        let mut around = key.to_owned();
        loop {
            match self.places.get(&around) {
                Some(Origin::Default) | None => {}
                Some(place) => return Some(place.clone()),
            }
            let Some(table) = parent(&around) else { break };
            around = table;
        }
        let main = self.files.first().filter(|_| shape_at([&*around]).is_some())?;
        Some(Origin::File { path: main.as_path().into(), line: None })
    }

    fn add_table(&mut self, table: &DeTable<'_>, prefix: &str, at: &impl Fn(usize) -> Origin) {
        for (name, value) in table {
            let key = join(prefix, name.get_ref());
            self.places.insert(key.clone(), at(name.span().start));
            self.add_value(value, &key, at);
        }
    }

    fn add_value(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        key: &str,
        at: &impl Fn(usize) -> Origin,
    ) {
        match value.get_ref() {
            DeValue::Table(table) => self.add_table(table, key, at),
            DeValue::Array(items) => {
                self.forget_below(key);
                for (index, item) in items.iter().enumerate() {
                    let key = join(key, &index.to_string());
                    self.places.insert(key.clone(), at(item.span().start));
                    self.add_value(item, &key, at);
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => self.forget_below(key),
        }
    }

    fn forget_below(&mut self, key: &str) {
        let prefix = format!("{key}.");
        let below = self.places.range(prefix.clone()..).map(|(key, _)| key);
        let below: Vec<_> = below.take_while(|key| key.starts_with(&prefix)).cloned().collect();
        for key in below {
            self.places.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(layers: &[(&str, &str)], variables: &[&str]) -> Origins {
        let mut origins = Origins::new(Path::new("main.toml"));
        origins.add_defaults("[reporter]\nretry_min = \"1 s\"");
        for (path, text) in layers {
            origins.add_file(Path::new(path), text).unwrap();
        }
        origins.add_variables(
            variables.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>().iter(),
        );
        origins
    }

    fn nearest(origins: &Origins, key: &str) -> String {
        origins.nearest(key).map_or_else(|| "nowhere".to_owned(), |place| place.to_string())
    }

    #[test]
    fn place_is_in_the_last_layer() {
        let main = "[bus.serial.a]\npath = \"x\"\nbaud_rate = 1\n\n[sensor.b]\nmap = [\n\
                    { channel = \"c\" },\n  5,\n]\n";
        let fragment = "\n[bus.serial.a]\nbaud_rate = 2";
        let origins = origins(
            &[("main.toml", main), ("conf.d/f.toml", fragment)],
            &["TIDEGATE_BUS__MQTT__HOUSE__PORT", "OTHER"],
        );
        for (key, place) in [
            ("bus.serial.a.path", "main.toml:2"),
            ("bus.serial.a.baud_rate", "conf.d/f.toml:3"),
            ("bus.serial.a.parity", "conf.d/f.toml:2"),
            ("sensor.b.map.0.channel", "main.toml:7"),
            ("sensor.b.map.1", "main.toml:8"),
            ("sensor.b.format", "main.toml:5"),
            ("bus.mqtt.house.port", "TIDEGATE_BUS__MQTT__HOUSE__PORT in the environment"),
            ("reporter.retry_min", "main.toml"),
            ("/etc/tidegate/credentials.toml", "nowhere"),
        ] {
            assert_eq!(nearest(&origins, key), place, "{key}");
        }
        assert_eq!(origins.exact("reporter.retry_min"), Some(&Origin::Default));
    }

    #[test]
    fn list_replaces_all_items_of_another() {
        let layers =
            [("a.toml", "[sensor.b]\nmap = [1, 2]"), ("b.toml", "[sensor.b]\nmap = [\n1]")];
        let origins = origins(&layers, &[]);
        assert_eq!(nearest(&origins, "sensor.b.map.0"), "b.toml:3");
        assert_eq!(origins.exact("sensor.b.map.1"), None);
    }
}
