//! The errors that stop a sandbox from starting.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The reason why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is in use or does not belong to this host.
    #[error("cannot listen on {address}")]
    Listen {
        /// The requested address.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The server thread or its runtime could not be created.
    #[error("cannot start the server thread")]
    Thread(#[source] io::Error),
    /// A schema of this crate does not compile.
    #[error("schema {name} does not compile")]
    Schema {
        /// The file name of the schema, without `.json`.
        name: &'static str,
        /// The error of the JSON parser or of the schema compiler.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The id of an application or a device is not 24 hexadecimal digits.
    #[error("id {0:?} is invalid; an id has 24 hexadecimal digits")]
    InvalidId(String),
    /// Two applications or devices have the same id.
    #[error("id {0:?} is used twice; give each application and each device its own id")]
    DuplicateId(String),
    /// The data directory or a file in it cannot be used.
    #[error("cannot use {path} to store data")]
    Storage {
        /// The directory or the file in it.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A line of the journal is not a valid event. The journal was not changed.
    #[error("{path}: line {line} is not a valid event of this version")]
    Journal {
        /// The journal file.
        path: PathBuf,
        /// The line number, starting at 1.
        line: usize,
        /// The error of the JSON parser.
        source: serde_json::Error,
    },
    /// The settings contain no application.
    #[error("no application is configured; configure at least one")]
    NoApplication,
}
