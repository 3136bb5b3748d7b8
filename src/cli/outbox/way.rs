//! The way to the outbox: through the daemon that has it open, or to the files of one that is stopped.

use anyhow::Context as _;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Config;
use crate::manage::{self, Request};
use crate::outbox::{Options, Outbox, SEGMENT_BYTES};

/// The way.
pub(super) enum Way {
    /// There is no daemon.
    Files(Outbox),
}

impl Way {
    /// Finds it: the daemon, if it answers.
    pub(super) fn to(config: &Config) -> anyhow::Result<Self> {
        let settings = &config.outbox;
        let path = settings.path.display();
        anyhow::ensure!(
            settings.path.exists(),
            "no daemon answers, and there is no outbox at {path} yet"
        );
        let options = Options { bytes_max: settings.bytes_max, segment_bytes: SEGMENT_BYTES };
        let outbox = Outbox::open(&settings.path, options);
        Ok(Self::Files(outbox.with_context(|| format!("outbox {path}"))?))
    }

    /// Has a request answered.
    pub(super) fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> anyhow::Result<T> {
        let answer = match self {
            Self::Files(outbox) => manage::perform(outbox, request)?,
        };
        serde_json::from_str(&answer).context("the answer cannot be read")
    }

    /// What became of all readings.
    pub(super) fn ledger(&mut self) -> anyhow::Result<Value> {
        match self {
            Self::Files(outbox) => Ok(serde_json::to_value(outbox.ledger())?),
        }
    }
}
