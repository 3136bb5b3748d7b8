//! One call of an action: the device, the query and the body.

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Value;

use crate::cloud::Cloud;
use crate::query::Query;
use crate::reply::ApiError;
use crate::schema::Schema;

/// The input of an action. The device exists, and the token allows the action.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub(crate) cloud: &'a Arc<Cloud>,
    /// Empty for `POST /auth/device`.
    pub(crate) application_id: &'a str,
    /// Empty for an action that does not address a device.
    pub(crate) device_id: &'a str,
    pub(crate) query: Query,
    pub(crate) now_ms: i64,
    /// The base URL of the sandbox as the client addressed it, without a slash at the end.
    pub(crate) origin: String,
    pub(crate) body: RequestBody,
}

/// A request body.
#[derive(Debug)]
pub(crate) struct RequestBody {
    /// `None` when the body is larger than the limit or incomplete.
    pub(crate) bytes: Option<Bytes>,
    /// Whether the content type is JSON.
    pub(crate) is_json: bool,
}

impl Call<'_> {
    /// Parses the body and validates it against `schema`.
    ///
    /// # Errors
    ///
    /// 413 for a body over the limit, 400 for a body that is not JSON or violates the schema.
    pub(crate) fn json(&self, schema: &Schema) -> Result<Value, ApiError> {
        let body = self.parse()?;
        schema.validate(&body).map_err(|violation| self.reject(violation.to_string()))?;
        Ok(body)
    }

    /// Parses an optional body without validating it; an empty body is `None`.
    pub(crate) fn optional_json(&self) -> Result<Option<Value>, ApiError> {
        if self.body.bytes.as_ref().is_some_and(Bytes::is_empty) {
            return Ok(None);
        }
        self.parse().map(Some)
    }

    fn parse(&self) -> Result<Value, ApiError> {
        let Some(bytes) = &self.body.bytes else {
            self.cloud.store().counters.oversize_rejections += 1;
            return Err(ApiError::too_large(self.cloud.settings.body_bytes_max));
        };
        if !self.body.is_json {
            return Err(self.reject("content-type must be application/json"));
        }
        let parsed = serde_json::from_slice(bytes);
        parsed.map_err(|error| self.reject(format!("body is not JSON: {error}")))
    }

    /// Counts a rejected body and returns the 400 for it.
    pub(crate) fn reject(&self, message: impl Into<String>) -> ApiError {
        self.cloud.store().counters.schema_rejections += 1;
        ApiError::validation(message)
    }
}
