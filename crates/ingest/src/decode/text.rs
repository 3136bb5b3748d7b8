//! Conversion of payloads to text.

use super::error::DecodeError;
use tidegate_model::excerpt::excerpt;

/// Returns the payload as text.
///
/// # Errors
/// If the payload is not UTF-8.
pub(super) fn utf8(payload: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(payload).map_err(|error| {
        let at = error.valid_up_to();
        DecodeError::NotUtf8 { at, excerpt: excerpt(payload.get(at..).unwrap_or_default()) }
    })
}
