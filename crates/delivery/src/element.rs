//! The element of a `sendState` body (schema `deviceState`).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A state as JSON, with its values in `data`. The texts of time and meta are kept.
#[derive(Deserialize, Serialize)]
pub(crate) struct Element<'a, Data> {
    #[serde(borrow)]
    pub(crate) time: &'a RawValue,
    pub(crate) data: Data,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    pub(crate) meta: Option<&'a RawValue>,
}
