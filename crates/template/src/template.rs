//! Templates that render a text, in the Jinja language: a topic, a payload, an actuator's line.
//!
//! A template reads only its context: no files, no includes, no clock. The steps and the memory of
//! one rendering are limited, because a part of the context comes from outside.

mod filters;
mod parts;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value};
use serde::Serialize;

use parts::Part;
pub use parts::{PathStep, ValuePath};

/// The budget of one rendering. One unit is about one instruction or 64 bytes of text, so the
/// text has 1 MiB at most.
const FUEL: u64 = 16 * 1024;

/// The functions of the language, which look like variables.
pub(super) const FUNCTIONS: [&str; 4] = ["debug", "dict", "namespace", "range"];

/// A compiled template. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Template(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    name: String,
    text: String,
    /// `None` for a text without marks of the language.
    environment: Option<Environment<'static>>,
    variables: Arc<[String]>,
    /// The parts of a template that consists of texts and plain values only.
    parts: Option<Vec<Part>>,
}

/// A compile or render error. The text contains the template, the line and the missing field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {name}: {problem}")]
pub struct TemplateError {
    name: String,
    problem: String,
}

impl Template {
    /// Compiles `text`. Errors contain `name`; use the key in the configuration.
    ///
    /// # Errors
    /// If the text is not a valid template.
    pub fn compile(name: &str, text: &str) -> Result<Self, TemplateError> {
        let (name, text) = (name.to_owned(), text.to_owned());
        if parts::is_plain(&text) {
            let (variables, parts) = (Arc::default(), None);
            return Ok(Self(Arc::new(Compiled {
                name,
                text,
                environment: None,
                variables,
                parts,
            })));
        }
        let named = |error| TemplateError::new(&name, &error);
        let mut environment = environment().map_err(named)?;
        environment.add_template_owned(name.clone(), text.clone()).map_err(named)?;
        let used = environment
            .get_template(&name)
            .map(|template| template.undeclared_variables(false))
            .map_err(named)?;
        let variables = without_functions(used);
        // A word of the language, such as `true`, is no variable.
        let is_variable = |part: &Part| match part {
            Part::Text(_) => true,
            Part::Value(path) => variables.contains(&path.name),
        };
        let parts = parts::parse(&text).filter(|parts| parts.iter().all(is_variable));
        let environment = Some(environment);
        Ok(Self(Arc::new(Compiled { name, text, environment, variables, parts })))
    }

    /// Renders the template. Texts are inserted as they are, other values as JSON.
    ///
    /// # Errors
    /// If the context lacks a field that the template uses, or the rendering exceeds its limits.
    pub fn render(&self, context: &impl Serialize) -> Result<String, TemplateError> {
        self.render_value(Value::from(Serde(context)))
    }

    /// Renders the template as [`Template::render`] does, with a context of the engine.
    ///
    /// # Errors
    /// If the context lacks a field that the template uses, or the rendering exceeds its limits.
    pub fn render_value(&self, context: Value) -> Result<String, TemplateError> {
        let Compiled { name, text, environment, .. } = &*self.0;
        let Some(environment) = environment else { return Ok(text.clone()) };
        environment
            .get_template(name)
            .and_then(|template| template.render(context))
            .map_err(|error| TemplateError::new(name, &error))
    }

    /// Renders a template that consists of texts and plain values only, without the engine.
    ///
    /// `find` returns the text of a value as [`Template::render`] would insert it. Returns `None`
    /// if the template is not of this kind, or if `find` does: then [`Template::render`] knows the
    /// result or the error.
    pub fn fill<'a>(
        &self,
        find: impl FnMut(&ValuePath) -> Option<Cow<'a, str>>,
    ) -> Option<Cow<'a, str>> {
        parts::fill(self.0.parts.as_ref()?, find)
    }

    /// Returns whether the template uses this name of the context.
    pub fn uses(&self, name: &str) -> bool {
        self.0.variables.iter().any(|one| one == name)
    }

    /// Returns the names of the context that the template uses, in alphabetical order.
    pub fn variables(&self) -> &[String] {
        &self.0.variables
    }

    /// Returns whether the result is the same for each context. Such a result can be checked once.
    pub fn is_constant(&self) -> bool {
        self.0.variables.is_empty()
    }
}

/// Compares name and text.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.0.name == other.0.name && self.0.text == other.0.text
    }
}

/// Writes the source text.
impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0.text)
    }
}

impl TemplateError {
    pub(super) fn new(name: &str, error: &minijinja::Error) -> Self {
        let mut problem = error.kind().to_string();
        if let Some(detail) = error.detail() {
            problem = format!("{problem}: {detail}");
        }
        if let Some(line) = error.line() {
            problem = format!("{problem}, in line {line}");
        }
        Self { name: name.to_owned(), problem }
    }
}

/// Returns the language and its limits, for templates and expressions.
pub(super) fn environment() -> Result<Environment<'static>, minijinja::Error> {
    let mut environment = Environment::new();
    environment.set_syntax(
        minijinja::syntax::SyntaxConfig::builder().keep_trailing_newline(true).build()?,
    );
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(write_value);
    environment.add_filter("tojson", to_json);
    filters::add(&mut environment);
    environment.set_fuel(Some(FUEL));
    // The name of a missing field is in an error only in debug mode, which release builds disable.
    environment.set_debug(true);
    Ok(environment)
}

/// Returns the names without the functions of the language, in alphabetical order.
fn without_functions(names: impl IntoIterator<Item = String>) -> Arc<[String]> {
    let names = names.into_iter().filter(|name| !FUNCTIONS.contains(&name.as_str()));
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Writes texts as they are and other values as JSON. Jinja would write Python's `True` and `None`.
fn write_value(
    output: &mut Output<'_>,
    _state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), minijinja::Error> {
    let written = match value.as_str() {
        Some(text) => output.write_str(text),
        None => output.write_str(&to_json(value)?),
    };
    written.map_err(|_| ErrorKind::WriteFailure.into())
}

/// The filter `tojson`. Jinja's own filter escapes for HTML, which few devices can undo.
fn to_json(value: &Value) -> Result<String, minijinja::Error> {
    serde_json::to_string(value)
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn renders_values_as_json() {
        let context = json!({
            "payload": {
                "on": true, "speed": 3, "t": 21.0, "name": "a<b> & 'c'", "none": null,
                "list": [1, "a"],
            }
        });
        for (text, expected) in [
            ("{{ payload.on }}", "true"),
            ("{{ payload.on | tojson }}", "true"),
            ("{{ payload.speed }}", "3"),
            ("{{ payload.t }}", "21.0"),
            ("{{ payload.name }}", "a<b> & 'c'"),
            ("{{ payload.none }}", "null"),
            ("{{ payload.list }}", r#"[1,"a"]"#),
            ("{{ payload.name | tojson }}", r#""a<b> & 'c'""#),
            ("{% if payload.on %}ON{% else %}OFF{% endif %}", "ON"),
            ("{{ payload.missing | default(7) }}", "7"),
            ("set {{ payload.speed * 2 }}\n", "set 6\n"),
        ] {
            assert_eq!(render(text, &context).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn errors_contain_the_missing_field() {
        for text in [
            "a\n{{ payload.speed }}",
            "a\n{{ payload.speed + 1 }}",
            "a\n{% if payload.speed %}x{% endif %}",
        ] {
            let error = render(text, &json!({"payload": {}})).unwrap_err().to_string();
            assert!(
                error.starts_with("template pump: ") && error.contains("`payload.speed`"),
                "{error}"
            );
            assert!(error.ends_with("in line 2"), "{error}");
        }
    }

    #[test]
    fn rejects_invalid_templates() {
        for text in ["{{ payload", "{% if %}", "{% include 'x' %}", "{{ 1 + }}"] {
            let error = Template::compile("pump", text).unwrap_err().to_string();
            assert!(
                error.starts_with("template pump: ") && error.ends_with("in line 1"),
                "{error}"
            );
        }
    }

    #[test]
    fn constant_templates_use_no_field() {
        let is_constant = |text| Template::compile("pump", text).unwrap().is_constant();
        assert!(is_constant("house/pump/set"));
        assert!(is_constant("{{ 2 * 3 }}"));
        assert!(!is_constant("house/{{ payload.pump }}/set"));
        let text = "{{ topic[1] }}{{ payload.a }}{% for i in range(2) %}{{ i }}{% endfor %}";
        assert_eq!(Template::compile("pump", text).unwrap().variables(), ["payload", "topic"]);
    }

    #[test]
    fn limits_steps_and_memory_of_a_rendering() {
        for text in [
            "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}",
            "{{ 'x' * 100000000 }}",
            "{{ payload * 100000 }}",
        ] {
            let error =
                render(text, &json!({"payload": "x".repeat(1000)})).unwrap_err().to_string();
            assert!(error.contains("fuel"), "{error}");
        }
    }

    fn render(text: &str, context: &serde_json::Value) -> Result<String, TemplateError> {
        Template::compile("pump", text).unwrap().render(context)
    }
}
