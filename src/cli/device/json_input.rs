//! Reads the JSON of a body from an argument, a file or standard input.

use std::io::Read as _;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::Usage;
use tidegate_losant::body;
use tidegate_model::io_problem;

/// The largest body that is read, in bytes: far above what Losant accepts.
const BODY_BYTES_MAX: u64 = 16 << 20;

/// The source of a body.
#[derive(Debug, Clone)]
pub(in crate::cli) enum JsonInput {
    /// Standard input, written as `-`.
    Standard,
    /// JSON in the argument itself; it begins with `{` or `[`.
    Text(String),
    /// A file; any other argument.
    File(PathBuf),
}

impl FromStr for JsonInput {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "-" => Self::Standard,
            _ if text.trim_start().starts_with(['{', '[']) => Self::Text(text.to_owned()),
            _ => Self::File(text.into()),
        })
    }
}

impl JsonInput {
    /// Reads and parses the body.
    pub(super) fn body<T: DeserializeOwned + Serialize>(&self) -> anyhow::Result<T> {
        let mut text = String::new();
        match self {
            Self::Standard => {
                let read = std::io::stdin().lock().take(BODY_BYTES_MAX).read_to_string(&mut text);
                read.context("cannot read standard input")?;
            }
            Self::Text(given) => text.clone_from(given),
            Self::File(path) => {
                let file = std::fs::File::open(path).map_err(|error| {
                    Usage::new(format!("--json {}: {}", path.display(), io_problem(&error)))
                })?;
                let read = file.take(BODY_BYTES_MAX).read_to_string(&mut text);
                read.with_context(|| format!("cannot read {}", path.display()))?;
            }
        }
        Ok(body::parse(&text).map_err(|error| Usage::new(error.to_string()))?)
    }
}
