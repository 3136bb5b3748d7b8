//! What moves an actuator: a bus, a program, an HTTP request, or the gateway itself.
//!
//! A write is done once. Nothing here repeats it, whatever went wrong.

mod exec;
mod gateway;
mod http;

pub use gateway::Gateway;
pub use http::HttpError;

use tokio::sync::watch;

use tidegate_bus::{Handles, WriteError};
use tidegate_model::{Name, Write};

/// What moves one actuator.
#[derive(Debug, Clone)]
pub enum Driver {
    /// A bus, by its name: a reload may put another connection there.
    Bus(Name, watch::Receiver<Handles>),
    /// A program, started for each write.
    Exec,
    /// A request to a host.
    Http(reqwest::Client),
    /// The gateway itself.
    Gateway(Gateway),
}

impl Driver {
    /// One that makes HTTP requests: through no proxy, following no redirect, for a command is for the host that it names.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn http() -> Result<Self, HttpError> {
        http::client().map(Self::Http)
    }

    /// Does a write, and returns what was answered. Dropped half-way it gives up: a program is killed then.
    ///
    /// # Errors
    /// What went wrong, in words; it may have been done all the same.
    pub async fn act(&self, write: Write) -> Result<String, String> {
        match (self, write) {
            (Self::Bus(name, handles), write) => {
                let handle = handles.borrow().get(name).cloned();
                let written = match handle {
                    Some(handle) => handle.write(write).await,
                    None => Err(WriteError::NotConnected),
                };
                written.map_err(|error| error.to_string())
            }
            (Self::Exec, Write::Exec(execution)) => {
                exec::run(&execution).await.map_err(|error| error.to_string())
            }
            (Self::Http(client), Write::Http(request)) => {
                http::send(client, request).await.map_err(|error| error.to_string())
            }
            (Self::Gateway(gateway), Write::Gateway(action)) => gateway.act(&action),
            (Self::Exec | Self::Http(_) | Self::Gateway(_), _) => {
                Err("this is not a write for this kind of actuator".to_owned())
            }
        }
    }
}
