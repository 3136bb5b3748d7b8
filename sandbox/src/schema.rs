//! Losant's published schemas, compiled once, and what they say against a body.

use std::fmt;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::builder::Error;

/// The schemas of all bodies that are taken.
#[derive(Debug)]
pub(crate) struct Schemas {
    pub(crate) credentials: Schema,
    pub(crate) state_or_states: Schema,
    pub(crate) command: Schema,
    pub(crate) connection_status: Schema,
    pub(crate) patch: Schema,
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
            export: Schema::compile(
                "deviceDataExport",
                include_str!("../schemas/deviceDataExport.json"),
            )?,
        })
    }
}

/// One compiled schema.
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
        let broken = |reason: String| Error::Schema { name, reason };
        let schema: Value =
            serde_json::from_str(text).map_err(|error| broken(error.to_string()))?;
        let validator =
            jsonschema::validator_for(&schema).map_err(|error| broken(error.to_string()))?;
        Ok(Self { name, validator })
    }

    /// Says what is wrong with `body`: where, and which rule of the schema.
    pub(crate) fn check(&self, body: &Value) -> Result<(), String> {
        let Err(error) = self.validator.validate(body) else { return Ok(()) };
        let culprit = culprit(&error);
        let complaint = format!("{}: {culprit}", self.name);
        let complaint = match culprit.instance_path().as_str() {
            "" => complaint,
            path => format!("{complaint} at {path}"),
        };
        Err(complaint.chars().take(COMPLAINT_CHARS_MAX).collect())
    }
}

/// The error deepest inside the body: of a choice between schemas, the failure of the one that was
/// meant most likely says more than that none fits.
fn culprit<'a>(error: &'a ValidationError<'a>) -> &'a ValidationError<'a> {
    let ValidationErrorKind::OneOfNotValid { context } = error.kind() else { return error };
    let causes = context.iter().flatten().map(culprit);
    let depth = |cause: &&ValidationError<'_>| cause.instance_path().as_str().matches('/').count();
    causes.max_by_key(depth).filter(|cause| depth(cause) > depth(&error)).unwrap_or(error)
}

/// A complaint may quote the body, which may be large.
const COMPLAINT_CHARS_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn complaint(body: &Value) -> String {
        Schemas::compile().unwrap().state_or_states.check(body).unwrap_err()
    }

    #[test]
    fn a_proper_state_and_a_proper_array_of_states_pass() {
        let schemas = Schemas::compile().unwrap();
        let state = json!({"time": {"$date": "2026-05-01T10:00:00.000Z"}, "data": {"a": 1.5}});
        assert_eq!(schemas.state_or_states.check(&state), Ok(()));
        assert_eq!(schemas.state_or_states.check(&json!([state, {"data": {}}])), Ok(()));
        assert_eq!(schemas.state_or_states.check(&json!([])), Ok(()));
    }

    #[test]
    fn a_complaint_about_an_array_names_the_element_and_the_attribute() {
        let body = json!([{"data": {"a": 1}}, {"data": {"b": null}}]);
        assert!(complaint(&body).ends_with("at /1/data/b"), "{}", complaint(&body));
    }

    #[test]
    fn values_keys_and_fields_outside_the_schema_are_refused() {
        for body in [
            json!({"data": {"a": [1]}}),
            json!({"data": {"a b": 1}}),
            json!({"data": {}, "extra": 1}),
            json!({"time": null, "data": {}}),
            json!({"time": {"$date": 5}, "data": {}}),
            json!({}),
        ] {
            complaint(&body);
        }
    }

    #[test]
    fn a_connected_status_has_no_reason() {
        let schemas = Schemas::compile().unwrap();
        let body = json!({"status": "connected", "disconnectReason": "x"});
        schemas.connection_status.check(&body).unwrap_err();
    }

    #[test]
    fn a_long_complaint_is_cut_short() {
        let body = json!({"data": "x".repeat(10_000)});
        assert_eq!(complaint(&body).chars().count(), COMPLAINT_CHARS_MAX);
    }
}
