//! Small texts with holes, in the Jinja language: a topic, a payload, a line for an actuator.
//!
//! A template sees its context and nothing else: no files, no includes, no clock. What it may spend on one rendering,
//! in steps and in memory, is bounded, because part of its context comes from outside.

mod filters;

use std::fmt;
use std::sync::Arc;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value};
use serde::Serialize;

/// What one rendering may spend: one unit is about one instruction, or 64 bytes of text, so this is 1 MiB at most.
const FUEL: u64 = 16 * 1024;

/// A compiled template. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Template {
    environment: Arc<Environment<'static>>,
    name: Arc<str>,
    is_constant: bool,
}

/// Why a template does not compile or does not render. The text names the template, the line and the missing field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template {name}: {problem}")]
pub struct TemplateError {
    name: String,
    problem: String,
}

impl Template {
    /// Compiles `text`; `name` says in errors which template it is, best as the key in the configuration.
    ///
    /// # Errors
    /// When the text is no template of this language.
    pub fn compile(name: &str, text: &str) -> Result<Self, TemplateError> {
        let mut environment = environment().map_err(|error| TemplateError::new(name, &error))?;
        environment
            .add_template_owned(name.to_owned(), text.to_owned())
            .map_err(|error| TemplateError::new(name, &error))?;
        let is_constant = environment
            .get_template(name)
            .is_ok_and(|template| template.undeclared_variables(false).is_empty());
        Ok(Self { environment: Arc::new(environment), name: name.into(), is_constant })
    }

    /// Fills in the holes. Texts appear as they are, anything else as JSON writes it.
    ///
    /// # Errors
    /// When the context lacks a field that the template names, or rendering would take too long or too much.
    pub fn render(&self, context: &impl Serialize) -> Result<String, TemplateError> {
        self.environment
            .get_template(&self.name)
            .and_then(|template| template.render(Serde(context)))
            .map_err(|error| TemplateError::new(&self.name, &error))
    }

    /// Whether it renders the same whatever the context is, so that the result can be checked once, at the start.
    pub fn is_constant(&self) -> bool {
        self.is_constant
    }
}

/// The text that was compiled.
impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let template = self.environment.get_template(&self.name);
        formatter.write_str(template.as_ref().map_or(&self.name, |template| template.source()))
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

/// The language and its limits, for templates and expressions.
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
    // An error names the missing field only in this mode, which a release build would turn off.
    environment.set_debug(true);
    Ok(environment)
}

/// Writes texts as they are and the rest as JSON; Jinja itself writes Python: `True` and `None`.
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

/// The filter `tojson`; Jinja's own one also escapes for HTML, which not every device can undo.
fn to_json(value: &Value) -> Result<String, minijinja::Error> {
    serde_json::to_string(value)
        .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn holes_are_filled_as_json_writes_them() {
        let context = json!({
            "payload": {
                "on": true, "speed": 3, "t": 21.0, "name": "a<b> & 'c'", "none": null, "list": [1, "a"],
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
    fn a_missing_field_is_named() {
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
    fn a_template_that_is_none_is_refused_when_it_is_compiled() {
        for text in ["{{ payload", "{% if %}", "{% include 'x' %}", "{{ 1 + }}"] {
            let error = Template::compile("pump", text).unwrap_err().to_string();
            assert!(
                error.starts_with("template pump: ") && error.ends_with("in line 1"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_constant_template_names_no_field() {
        let is_constant = |text| Template::compile("pump", text).unwrap().is_constant();
        assert!(is_constant("house/pump/set"));
        assert!(is_constant("{{ 2 * 3 }}"));
        assert!(!is_constant("house/{{ payload.pump }}/set"));
    }

    #[test]
    fn no_template_runs_or_grows_without_end() {
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
