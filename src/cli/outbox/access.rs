//! Access to the outbox: over the socket of a running daemon, or to the files of a stopped one.

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app::outbox_options;
use crate::cli::control;
use crate::control::{Error, Method};
use crate::outbox_admin::{self, Request};
use crate::tasks::audit;
use tidegate_config::Config;
use tidegate_delivery::audit::Sample;
use tidegate_outbox::Outbox;

/// Access to the outbox.
pub(in crate::cli) enum OutboxAccess<'a> {
    /// A running daemon answers the requests.
    Daemon(&'a Config),
    /// No daemon is running; this process has the outbox open.
    Files(Box<Outbox>),
}

impl<'a> OutboxAccess<'a> {
    /// Connects to the daemon, or opens the outbox if no daemon is running.
    ///
    /// # Errors
    /// When the daemon is running and denies access, or the outbox cannot be opened.
    pub(in crate::cli) fn open(config: &'a Config) -> anyhow::Result<Self> {
        match control::document(&config.status_socket, "/status") {
            Ok(_) => return Ok(Self::Daemon(config)),
            Err(error) if is_absence(&error) => {}
            Err(error) => return Err(error),
        }
        let settings = &config.outbox;
        let path = settings.path.display();
        anyhow::ensure!(
            settings.path.exists(),
            "no daemon is running, and there is no outbox at {path} yet"
        );
        let options = outbox_options(settings);
        let outbox = Outbox::open(&settings.path, options);
        Ok(Self::Files(Box::new(outbox.with_context(|| format!("outbox {path}"))?)))
    }

    /// Sends a request and returns the answer.
    pub(in crate::cli) fn ask<T: DeserializeOwned>(&self, request: &Request) -> anyhow::Result<T> {
        let answer = match self {
            Self::Daemon(config) => {
                let request = serde_json::to_string(request)?;
                control::ask(&config.status_socket, Method::POST, outbox_admin::PATH, request)?.body
            }
            Self::Files(outbox) => outbox_admin::perform(outbox, request)?.into(),
        };
        serde_json::from_slice(&answer).context("cannot decode the answer")
    }

    /// Returns the samples of the audit.
    pub(in crate::cli) fn samples(&self) -> anyhow::Result<Vec<Sample>> {
        match self {
            Self::Daemon(config) => {
                let document = control::document(&config.status_socket, audit::PATH)?;
                Ok(serde_json::from_value::<audit::Recorded>(document)?.decode())
            }
            Self::Files(outbox) => Ok(audit::stored(outbox.rows(audit::TABLE)?)),
        }
    }

    /// Returns the ledger as JSON.
    pub(in crate::cli) fn ledger(&self) -> anyhow::Result<Value> {
        match self {
            Self::Daemon(config) => {
                let document = control::document(&config.status_socket, "/status")?;
                Ok(document.get("ledger").cloned().unwrap_or_default())
            }
            Self::Files(outbox) => Ok(serde_json::to_value(outbox.ledger())?),
        }
    }
}

fn is_absence(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::NotRunning { .. }))
}
