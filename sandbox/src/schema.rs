//! Validation against Losant's published schemas, which are compiled once.

use std::fmt;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::error::Error;

/// The schemas of all request bodies.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub(crate) credentials: Schema,
    pub(crate) state_or_states: Schema,
    pub(crate) command: Schema,
    pub(crate) connection_status: Schema,
    pub(crate) patch: Schema,
    pub(crate) post: Schema,
    pub(crate) export: Schema,
}

impl Schemas {
    pub(crate) fn compile() -> Result<Self, Error> {
        Ok(Self {
            credentials: Schema::compile(
                "deviceCredentials",
                include_str!("../schemas/deviceCredentials.json"),
            )?,
            state_or_states: Schema::compile(
                "deviceStateOrStates",
                include_str!("../schemas/deviceStateOrStates.json"),
            )?,
            command: Schema::compile(
                "deviceCommand",
                include_str!("../schemas/deviceCommand.json"),
            )?,
            connection_status: Schema::compile(
                "deviceConnectionStatus",
                include_str!("../schemas/deviceConnectionStatus.json"),
            )?,
            patch: Schema::compile("devicePatch", include_str!("../schemas/devicePatch.json"))?,
            post: Schema::compile("devicePost", include_str!("../schemas/devicePost.json"))?,
            export: Schema::compile(
                "deviceDataExport",
                include_str!("../schemas/deviceDataExport.json"),
            )?,
        })
    }
}

/// A compiled schema.
pub(crate) struct Schema {
    name: &'static str,
    validator: Validator,
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema").field(&self.name).finish()
    }
}

impl Schema {
    fn compile(name: &'static str, text: &str) -> Result<Self, Error> {
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| Error::Schema { name, source: error.into() })?;
        let validator = jsonschema::validator_for(&schema)
            .map_err(|error| Error::Schema { name, source: error.into() })?;
        Ok(Self { name, validator })
    }

    /// Validates `body`.
    ///
    /// # Errors
    ///
    /// The violation that is deepest inside the body, with its place and the violated rule.
    pub(crate) fn validate(&self, body: &Value) -> Result<(), SchemaViolation> {
        let Err(error) = self.validator.validate(body) else { return Ok(()) };
        let cause = deepest(&error);
        let message = format!("{}: {cause}", self.name);
        let message = match cause.instance_path().as_str() {
            "" => message,
            path => format!("{message} at {path}"),
        };
        Err(SchemaViolation(message.chars().take(MESSAGE_CHARS_MAX).collect()))
    }
}

/// The rule of a schema that a body violates, and the place in the body.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct SchemaViolation(String);

/// Returns the error deepest inside the body. When none of several alternative schemas matches, it
/// is most likely the error of the alternative that the client intended.
fn deepest<'a>(error: &'a ValidationError<'a>) -> &'a ValidationError<'a> {
    let ValidationErrorKind::OneOfNotValid { context } = error.kind() else { return error };
    let causes = context.iter().flatten().map(deepest);
    let depth = |cause: &&ValidationError<'_>| cause.instance_path().as_str().matches('/').count();
    causes.max_by_key(depth).filter(|cause| depth(cause) > depth(&error)).unwrap_or(error)
}

/// Limits the length of a message, which may quote a large body.
const MESSAGE_CHARS_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn violation(body: &Value) -> String {
        Schemas::compile().unwrap().state_or_states.validate(body).unwrap_err().to_string()
    }

    #[test]
    fn accepts_a_state_and_an_array_of_states() {
        let schemas = Schemas::compile().unwrap();
        let state = json!({"time": {"$date": "2026-05-01T10:00:00.000Z"}, "data": {"a": 1.5}});
        assert_eq!(schemas.state_or_states.validate(&state), Ok(()));
        assert_eq!(schemas.state_or_states.validate(&json!([state, {"data": {}}])), Ok(()));
        assert_eq!(schemas.state_or_states.validate(&json!([])), Ok(()));
    }

    #[test]
    fn violation_names_element_and_attribute() {
        let body = json!([{"data": {"a": 1}}, {"data": {"b": null}}]);
        assert!(violation(&body).ends_with("at /1/data/b"), "{}", violation(&body));
    }

    #[test]
    fn rejects_bodies_outside_the_schema() {
        for body in [
            json!({"data": {"a": [1]}}),
            json!({"data": {"a b": 1}}),
            json!({"data": {}, "extra": 1}),
            json!({"time": null, "data": {}}),
            json!({"time": {"$date": 5}, "data": {}}),
            json!({}),
        ] {
            violation(&body);
        }
    }

    #[test]
    fn rejects_a_reason_for_a_connection() {
        let schemas = Schemas::compile().unwrap();
        let body = json!({"status": "connected", "disconnectReason": "x"});
        schemas.connection_status.validate(&body).unwrap_err();
    }

    #[test]
    fn truncates_a_long_violation_message() {
        let body = json!({"data": "x".repeat(10_000)});
        assert_eq!(violation(&body).chars().count(), MESSAGE_CHARS_MAX);
    }
}
