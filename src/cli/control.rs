//! Asks the running daemon over its socket.

use anyhow::Context as _;
use serde_json::Value;

use std::path::Path;

use crate::control::{self, Method, Reply};

/// The daemon's answer. An error that the daemon tells is one of [`control::Error`].
pub(super) fn ask(
    socket: &Path,
    method: Method,
    path: &str,
    body: String,
) -> anyhow::Result<Reply> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(control::ask(socket, method, path, body))?)
}

/// A JSON document that the daemon has at this path.
pub(super) fn document(socket: &Path, path: &str) -> anyhow::Result<Value> {
    let reply = ask(socket, Method::GET, path, String::new())?;
    serde_json::from_slice(&reply.body).context("the daemon's answer cannot be read")
}
