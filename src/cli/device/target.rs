//! Which device, and with whose credentials: from the daemon's configuration, or from arguments
//! alone.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::{DEFAULT_CONFIG, Usage};
use tidegate_config::{Cloud, CloudCredentials, Config, Secret};
use tidegate_losant::{Action, Client, Credential};
use tidegate_model::{ApplicationId, DeviceId, IdError, Name};

/// Losant's own instance.
const DEFAULT_URL: &str = "https://api.losant.com";

/// What stands for the application's id in a dry run that does not know it.
const SOME_APPLICATION: &str = "APPLICATION_ID";

/// What all actions take.
#[derive(Debug, Args)]
pub(in crate::cli) struct TargetArgs {
    /// The daemon's configuration, which has the credentials and the names of devices.
    /// /etc/tidegate/tidegate.toml if no credentials are given.
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The device: its id, or its name in the configuration. The gateway if not given.
    #[arg(long, short, global = true, value_name = "ID|NAME")]
    device: Option<String>,
    /// A file with an access key (key and secret, in TOML) of the device, in place of a
    /// configuration.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "config")]
    credentials_file: Option<PathBuf>,
    /// A file with an application token, which others must not be able to read.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "credentials_file")]
    token_file: Option<PathBuf>,
    /// The application's id, where neither an access key nor a configuration tells it.
    #[arg(long, global = true, value_name = "ID")]
    application: Option<ApplicationId>,
    /// The Device API, where there is no configuration.
    #[arg(long, global = true, value_name = "URL", conflicts_with = "config")]
    url: Option<String>,
    /// Shows the request in place of sending it.
    #[arg(long, global = true)]
    dry_run: bool,
    /// Does what cannot be undone without asking.
    #[arg(long, global = true)]
    yes: bool,
}

/// Who to speak to, about which device.
pub(super) struct Target {
    pub(super) client: Client,
    pub(super) device: DeviceId,
    /// The device as the person calls it.
    pub(super) shown: String,
    pub(super) is_dry_run: bool,
    pub(super) is_agreed: bool,
    url: String,
    application: Option<ApplicationId>,
}

impl TargetArgs {
    /// Finds out everything before anything is sent, so that what is missing is told first.
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
        // Whom the daemon's token is restricted to says nothing about a person's.
        cloud.requested_scopes.clear();
        cloud.keep_alive_interval = keep_alive_interval.unwrap_or(cloud.keep_alive_interval);
        if matches!(cloud.credentials, CloudCredentials::Token(_))
            && cloud.application.is_none()
            && !self.dry_run
        {
            return Err(
                Usage::new("a token does not tell its application; give --application ID").into()
            );
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
            Usage::new(format!("there is no device \"{text}\"; give an id, or one of {known}"))
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

    /// The application token. An action that no device may do is not tried without one.
    fn token(&self, action: Action) -> anyhow::Result<Option<Secret>> {
        let Some(file) = &self.token_file else {
            return match action.credential() {
                Credential::Application if !self.dry_run => {
                    let name = action.name();
                    Err(Usage::new(format!(
                        "{name} takes an application token, whatever the scopes of a device; give \
                         --token-file FILE \
                         with one that has the scope device.{name} or all.Application"
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
    /// The base URL, and the application or what stands for it.
    pub(super) fn address(&self) -> (&str, String) {
        let application = self.application.map(|id| id.to_string());
        (&self.url, application.unwrap_or_else(|| SOME_APPLICATION.to_owned()))
    }
}
