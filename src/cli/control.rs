//! Requests to the running daemon over its socket.

use anyhow::Context as _;
use serde_json::Value;

use std::path::Path;

use crate::control::{self, Method, Reply};

/// Sends a request and returns the answer. Errors of the daemon are [`control::Error`]s.
pub(super) fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    body: String,
) -> anyhow::Result<Reply> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(control::ask(socket, method, path, body))?)
}

/// Returns the JSON document at a path.
pub(super) fn document(socket: &Path, path: &str) -> anyhow::Result<Value> {
    let reply = ask(socket, Method::GET, path, String::new())?;
    serde_json::from_slice(&reply.body).context("cannot parse the answer of the daemon")
}
