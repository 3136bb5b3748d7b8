//! The body of `export` (schema `deviceDataExport`).

use std::fmt;
use std::str::FromStr;

use reqwest::Url;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Number;

use super::{List, some};
use tidegate_model::AttributeName;

/// The longest email address and callback, in characters.
const CHARACTERS_MAX: usize = 1_024;

/// An export. Absent members have Losant's defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DataExport {
    /// The email address that receives a link to the export.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub email: Option<Email>,
    /// The URL that Losant calls with a link to the export.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<CallbackUrl>,
    /// The attributes; all by default.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub attributes: Option<List<AttributeName, 256>>,
    /// The begin, in milliseconds since the epoch; 0 is now, negative numbers are relative to now.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub start: Option<Number>,
    /// The end, in the same form.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub end: Option<Number>,
    /// The columns of the file.
    #[serde(deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    pub options: Option<ExportOptions>,
}

/// The columns of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ExportOptions {
    /// A column with ISO 8601 dates.
    pub include_date: bool,
    /// A column with the id of the device.
    #[serde(rename = "includeID")]
    pub include_id: bool,
    /// Blobs in base64 instead of links that expire.
    pub include_blob_data: bool,
}

impl Default for ExportOptions {
    fn default() -> Self {
        Self { include_date: true, include_id: true, include_blob_data: false }
    }
}

/// An email address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Email(String);

/// A URL that Losant calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct CallbackUrl(String);

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not an email address.
    #[error("not an email address of at most {CHARACTERS_MAX} characters")]
    Email,
    /// Not a URL.
    #[error("not an http or https URL of at most {CHARACTERS_MAX} characters")]
    Url,
}

impl FromStr for Email {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let is_whole = |(user, host): (&str, &str)| !user.is_empty() && !host.is_empty();
        let is_email = text.rsplit_once('@').is_some_and(is_whole)
            && !text.contains(|c: char| c.is_whitespace() || c.is_control());
        if is_email && text.chars().count() <= CHARACTERS_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(AddressError::Email)
        }
    }
}

impl FromStr for CallbackUrl {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let is_url = Url::parse(text)
            .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if is_url && text.chars().count() <= CHARACTERS_MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(AddressError::Url)
        }
    }
}

macro_rules! address {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

address!(Email);
address!(CallbackUrl);
