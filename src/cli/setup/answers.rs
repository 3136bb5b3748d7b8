//! The answers of `tidegate setup`, as the tables of `conf.d/setup.toml`.

use std::path::Path;

use anyhow::Context as _;
use toml::{Table, Value};

use super::{Flow, SetupArgs};
use crate::cli::Usage;
use crate::cli::fragment;
use crate::cli::prompt::{self, Answer};
use tidegate_model::{DeviceId, IdError};

/// The URL of Losant's public instance.
const DEFAULT_URL: &str = "https://api.losant.com";

/// The name of the first sensor and of its bus.
pub(super) const NAME: &str = "first";

/// The tables that setup writes.
#[derive(Debug)]
pub(super) struct Answers(Table);

impl Answers {
    /// Reads the answers of an earlier run.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        fragment::read(path).map(Self)
    }

    pub(super) fn text(&self) -> String {
        self.0.to_string()
    }

    /// Asks for the device id.
    pub(super) fn device(&mut self, args: &SetupArgs) -> anyhow::Result<Flow> {
        let before = self.losant("device_id").map(str::to_owned);
        let id = if let Some(id) = args.device_id {
            id
        } else {
            let question = "Device ID of the gateway";
            let parse = |text: &str| text.parse().map_err(|error: IdError| error.to_string());
            match prompt::checked(question, before.as_deref(), "--device-id ID", parse)? {
                Answer::Given(id) => id,
                Answer::Back => return Ok(Flow::Back),
                Answer::Skip => return Ok(Flow::Again),
            }
        };
        fragment::table(&mut self.0, &["losant"])
            .insert("device_id".to_owned(), id.to_string().into());
        if let Some(url) = &args.url {
            fragment::table(&mut self.0, &["losant"]).insert("url".to_owned(), url.clone().into());
        }
        Ok(Flow::Next)
    }

    pub(super) fn device_id(&self) -> anyhow::Result<DeviceId> {
        let id = self.losant("device_id").unwrap_or_default();
        Ok(id.parse().map_err(|error: IdError| Usage::new(error.to_string()))?)
    }

    pub(super) fn url(&self) -> &str {
        self.losant("url").unwrap_or(DEFAULT_URL)
    }

    /// Returns whether there is a sensor.
    pub(super) fn has_sensor(&self) -> bool {
        self.0.contains_key("sensor")
    }

    /// Adds the tables of a proposal.
    pub(super) fn merge(&mut self, tables: &str) -> anyhow::Result<()> {
        let tables = tables.parse::<Table>().context("the proposal is not valid TOML")?;
        self.insert(&tables);
        Ok(())
    }

    /// Adds tables; their options replace earlier ones.
    pub(super) fn insert(&mut self, tables: &Table) {
        insert(&mut self.0, tables);
    }

    fn losant(&self, option: &str) -> Option<&str> {
        self.0.get("losant")?.get(option)?.as_str()
    }
}

fn insert(into: &mut Table, tables: &Table) {
    for (name, value) in tables {
        match (into.get_mut(name), value) {
            (Some(Value::Table(into)), Value::Table(tables)) => insert(into, tables),
            _ => drop(into.insert(name.clone(), value.clone())),
        }
    }
}
