//! Resolves device and credentials from the configuration or from arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::{DEFAULT_CONFIG, Usage};
use tidegate_config::{Cloud, CloudCredentials, Config, Secret};
use tidegate_losant::{Action, Client, Credential};
use tidegate_model::{ApplicationId, DeviceId, IdError, Name};

/// The URL of Losant's cloud.
const DEFAULT_URL: &str = "https://api.losant.com";

/// The placeholder of an unknown application id in a dry run.
const SOME_APPLICATION: &str = "APPLICATION_ID";

/// The arguments that all actions accept.
#[derive(Debug, Args)]
pub(in crate::cli) struct TargetArgs {
    /// Configuration with credentials and device names [default: /etc/tidegate/tidegate.toml]
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Device id, or device name from the configuration; default: the gateway
    #[arg(long, short, global = true, value_name = "ID|NAME")]
    device: Option<String>,
    /// TOML file with key and secret of an access key of the device; replaces --config
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "config")]
    credentials_file: Option<PathBuf>,
    /// File with an application token; other users must not have access
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "credentials_file")]
    token_file: Option<PathBuf>,
    /// Application id, if neither access key nor configuration provides it
    #[arg(long, global = true, value_name = "ID")]
    application: Option<ApplicationId>,
    /// URL of the Device API, without a configuration
    #[arg(long, global = true, value_name = "URL", conflicts_with = "config")]
    url: Option<String>,
    /// Show the request without sending it
    #[arg(long, global = true)]
    dry_run: bool,
    /// Do not ask for confirmation of irreversible actions
    #[arg(long, global = true)]
    yes: bool,
}

/// The client and the device of an action.
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) device: DeviceId,
    /// The device as it is shown to the user.
    pub(super) shown: String,
    pub(super) is_dry_run: bool,
    pub(super) is_agreed: bool,
    url: String,
    application: Option<ApplicationId>,
}

impl TargetArgs {
    /// Resolves all arguments. Reports missing ones before a call is made.
    pub(super) fn resolve(
        &self,
        action: Action,
        keep_alive_interval: Option<Duration>,
    ) -> anyhow::Result<Target> {
        let is_alone = self.config.is_none()
            && (self.credentials_file.is_some() || self.url.is_some() || self.token_file.is_some());
        let (mut cloud, device, shown) =
            if is_alone { self.alone(action)? } else { self.configured(action)? };
        cloud.application = self.application.or(cloud.application);
        // The scopes of the daemon do not apply to a user.
        cloud.requested_scopes.clear();
        cloud.keep_alive_interval = keep_alive_interval.unwrap_or(cloud.keep_alive_interval);
        if matches!(cloud.credentials, CloudCredentials::Token(_))
            && cloud.application.is_none()
            && !self.dry_run
        {
            return Err(Usage::new(
                "a token does not contain its application; give --application ID",
            )
            .into());
        }
        Ok(Target {
            device,
            shown,
            is_dry_run: self.dry_run,
            is_agreed: self.yes,
            url: cloud.url.clone(),
            application: cloud.application,
            client: Client::new(cloud)?,
        })
    }

    fn configured(&self, action: Action) -> anyhow::Result<(Cloud, DeviceId, String)> {
        let file = self.config.clone().unwrap_or_else(|| DEFAULT_CONFIG.into());
        let config = tidegate_config::load(&file)?;
        let (device, shown) = self.configured_device(&config)?;
        let mut cloud = config.cloud;
        if let Some(token) = self.token(action)? {
            cloud.credentials = CloudCredentials::Token(token);
        }
        Ok((cloud, device, shown))
    }

    fn configured_device(&self, config: &Config) -> anyhow::Result<(DeviceId, String)> {
        let Some(text) = self.device.as_deref() else {
            return Ok((config.cloud.device, format!("{} (the gateway)", config.cloud.device)));
        };
        if let Some((name, id)) = config.devices.get_key_value(text) {
            return Ok((*id, format!("{id} ({name})")));
        }
        let names: Vec<&str> = config.devices.keys().map(|name: &Name| &**name).collect();
        let known = names.join(", ");
        let id = text.parse().map_err(|_| {
            Usage::new(format!("unknown device \"{text}\"; give an id, or one of {known}"))
        })?;
        Ok((id, text.to_owned()))
    }

    fn alone(&self, action: Action) -> anyhow::Result<(Cloud, DeviceId, String)> {
        let Some(text) = self.device.as_deref() else {
            return Err(Usage::new("without a configuration, give --device ID").into());
        };
        let device: DeviceId =
            text.parse().map_err(|error: IdError| Usage::new(error.to_string()))?;
        let credentials = match (self.token(action)?, &self.credentials_file) {
            (Some(token), _) => CloudCredentials::Token(token),
            (None, Some(file)) => tidegate_config::read_credentials(file)?,
            (None, None) if self.dry_run => CloudCredentials::Token(Secret::from(String::new())),
            (None, None) => {
                return Err(Usage::new("give --credentials-file FILE, or --config FILE").into());
            }
        };
        let url = self.url.as_deref().unwrap_or(DEFAULT_URL);
        Ok((Cloud::new(url, device, credentials), device, text.to_owned()))
    }

    /// Reads the application token.
    ///
    /// # Errors
    /// Fails without one if the action needs it.
    fn token(&self, action: Action) -> anyhow::Result<Option<Secret>> {
        let Some(file) = &self.token_file else {
            return match action.credential() {
                Credential::Application if !self.dry_run => {
                    let name = action.name();
                    Err(Usage::new(format!(
                        "{name} takes an application token, independent of the scopes of a device; \
                         give --token-file FILE with a token that has the scope device.{name} or \
                         all.Application"
                    ))
                    .into())
                }
                Credential::Application | Credential::Device => Ok(None),
            };
        };
        Ok(Some(tidegate_config::read_token(file)?))
    }
}

impl Target {
    /// Returns the base URL, and the application id or its placeholder.
    pub(super) fn address(&self) -> (&str, String) {
        let application = self.application.map(|id| id.to_string());
        (&self.url, application.unwrap_or_else(|| SOME_APPLICATION.to_owned()))
    }
}
