//! An export job and its options.

use axum::http::Uri;
use serde::Deserialize;

/// The path below which finished exports can be downloaded.
pub(crate) const PATH: &str = "/exports/";
/// The name of an export's CSV file.
pub(crate) const CSV_FILE: &str = "data.csv";

/// An accepted export.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) device_id: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// `None` selects all attributes of the device.
    pub(crate) attributes: Option<Vec<String>>,
    pub(crate) options: Options,
    pub(crate) callback: Option<Uri>,
    /// The base URL of the sandbox as the client addressed it.
    pub(crate) origin: String,
}

impl Job {
    /// Returns the URL of a file of this export.
    pub(crate) fn url(&self, file: &str) -> String {
        format!("{}{PATH}{}/{file}", self.origin, self.id)
    }
}

/// The columns besides the attributes (schema `deviceDataExport`, `options`).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Options {
    pub(crate) include_date: bool,
    #[serde(rename = "includeID")]
    pub(crate) include_id: bool,
    pub(crate) include_blob_data: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { include_date: true, include_id: true, include_blob_data: false }
    }
}
