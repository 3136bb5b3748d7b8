//! `tidegate provision`: creates the attributes and the peripherals that the configuration names
//! and Losant lacks.
//!
//! A patch replaces the whole list of attributes, and deletes an attribute that it omits with its
//! data. So the list is read right before it is written. A list with members that a patch would
//! lose is not changed.

mod apply;
mod learned;
mod peripherals;
mod plan;
mod table;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};

use super::sensor::listening_time;
use super::{ConfigArgs, Usage, print, prompt, secrecy};
use crate::attributes::production;
use tidegate_config::{Cloud, CloudCredentials, Config, Secret};
use tidegate_ingest::mapping::RecordedMessage;
use tidegate_losant::Client;
use tidegate_losant::body::DataType;
use tidegate_model::{ApplicationId, AttributeName, AttributeNameError, AttributeType};

pub(super) use peripherals::Provisional;
pub(super) use plan::Plan;

/// Options of `tidegate provision`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(super) struct ProvisionArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Read an application token from FILE or - ; used once, not kept
    ///
    /// Its scopes are device.get and device.patch, with --create-devices also devices.get and
    /// devices.post, or all.Application. Without this option the access key of the gateway reads
    /// the devices, and the token is asked for when there is something to create.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Type of an attribute: number, string, boolean, gps or blob
    #[arg(long = "type", value_name = "[DEVICE.]ATTRIBUTE=TYPE")]
    types: Vec<TypeRule>,
    /// Listen to the MQTT buses and add the attributes that the messages name
    #[arg(long, value_name = "TIME", value_parser = listening_time)]
    learn: Option<Duration>,
    /// Add the attributes that recorded messages name: one TOPIC PAYLOAD a line
    ///
    /// `mosquitto_sub -v` and `tidegate sensor learn --record` write such files.
    #[arg(long, value_name = "FILE")]
    learned: Vec<PathBuf>,
    /// Create peripherals that have no id yet, and print their ids for the configuration
    #[arg(long)]
    create_devices: bool,
    /// Write the ids of new peripherals to conf.d/devices.toml
    #[arg(long, requires = "create_devices")]
    write: bool,
    /// Change the type of attributes that have another one; deletes their history
    #[arg(long)]
    replace_type: bool,
    /// Show the plan as a table and create nothing; needs no token
    #[arg(long)]
    dry_run: bool,
    /// Create without asking
    #[arg(long)]
    yes: bool,
}

/// The type of an attribute, such as `door=boolean` or `hall.door=boolean`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TypeRule {
    /// The name of the device; `None` for all devices.
    device: Option<String>,
    attribute: AttributeName,
    data_type: AttributeType,
}

/// An invalid `ATTRIBUTE=TYPE`.
#[derive(Debug, thiserror::Error)]
pub(super) enum TypeRuleError {
    /// The separator is missing.
    #[error("expected ATTRIBUTE=TYPE or DEVICE.ATTRIBUTE=TYPE, such as door=boolean")]
    NoType,
    /// The name is no attribute name.
    #[error(transparent)]
    Name(#[from] AttributeNameError),
    /// The type is unknown.
    #[error("unknown type \"{0}\"; use number, string, boolean, gps or blob")]
    Type(String),
}

impl FromStr for TypeRule {
    type Err = TypeRuleError;

    fn from_str(text: &str) -> Result<Self, TypeRuleError> {
        let (name, word) = text.split_once(['=', ':']).ok_or(TypeRuleError::NoType)?;
        let (device, attribute) =
            name.split_once('.').map_or((None, name), |(device, name)| (Some(device), name));
        let data_type = AttributeType::named(word);
        if data_type == AttributeType::Unknown {
            return Err(TypeRuleError::Type(word.to_owned()));
        }
        Ok(Self { device: device.map(str::to_owned), attribute: attribute.parse()?, data_type })
    }
}

/// Some of the plan cannot be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Unresolved(String);

/// Shows the plan and carries it out.
pub(super) fn provision(args: &ProvisionArgs) -> anyhow::Result<()> {
    let provisional = if args.create_devices {
        Provisional::load(&args.config.config)?
    } else {
        args.config.load().map(Provisional::complete)?
    };
    let mut messages = Vec::new();
    for file in &args.learned {
        messages.extend(learned::read(file)?);
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        if let Some(time) = args.learn {
            messages.extend(learned::listen(&provisional.config, time).await?);
        }
        run(args, &provisional, &messages).await
    })
}

async fn run(
    args: &ProvisionArgs,
    provisional: &Provisional,
    messages: &[RecordedMessage],
) -> anyhow::Result<()> {
    let config = &provisional.config;
    let client = Client::new(config.cloud.clone())?;
    let token = args.token_file.as_deref().filter(|file| file.as_os_str() != "-");
    let token = token.map(tidegate_config::read_token).transpose()?;
    // The access key of a gateway need not cover its peripherals.
    let application = match &token {
        Some(token) => Some(with_token(&config.cloud, client.application().await?, token)?),
        None => None,
    };
    let reader = application.as_ref().unwrap_or(&client);
    let plan = plan(reader, provisional, messages, &args.types).await?;
    print(&plan.show(args.dry_run, args.replace_type)?)?;
    if args.dry_run || !plan.has_work(args.create_devices, args.replace_type) {
        return plan.check(args.create_devices, args.replace_type);
    }
    let token = match token {
        Some(token) => token,
        None if args.token_file.is_none() && !prompt::is_possible() => {
            return Err(Usage::new("give --token-file FILE with an application token").into());
        }
        None => prompt::secret("Application token")?,
    };
    let losses = plan.losses(args.replace_type);
    if losses.is_empty() {
        prompt::confirm(args.yes, "creates these in Losant", &[])?;
    } else {
        prompt::confirm(args.yes, "deletes the history of these attributes in Losant", &losses)?;
    }
    let creator = apply::Creator {
        client: &with_token(&config.cloud, client.application().await?, &token)?,
        replaces_types: args.replace_type,
    };
    creator.update_devices(&plan).await?;
    if args.create_devices {
        let created = creator.create_devices(&plan, config.cloud.device).await?;
        peripherals::report(&created, &args.config.config, args.write)?;
    }
    plan.check(args.create_devices, args.replace_type)
}

/// Compares what the configuration and the messages produce with Losant.
pub(super) async fn plan(
    reader: &Client,
    provisional: &Provisional,
    messages: &[RecordedMessage],
    types: &[TypeRule],
) -> anyhow::Result<Plan> {
    let config = &provisional.config;
    let mut production = production(config);
    for bus in config.buses.values().filter(|bus| learned::has_messages(bus)) {
        production.add_messages(&bus.sensors, &config.devices, messages);
    }
    Plan::make(reader, provisional, &production, types).await
}

/// Creates the missing attributes and devices with an application token, and writes the ids of the
/// devices beside the configuration in `file`.
pub(super) async fn create(
    config: &Config,
    plan: &Plan,
    token: &Secret,
    file: &Path,
) -> anyhow::Result<()> {
    let application = Client::new(config.cloud.clone())?.application().await?;
    let client = with_token(&config.cloud, application, token)?;
    let creator = apply::Creator { client: &client, replaces_types: false };
    creator.update_devices(plan).await?;
    let created = creator.create_devices(plan, config.cloud.device).await?;
    peripherals::report(&created, file, true)
}

/// Returns the messages that `tidegate sensor learn` recorded; none without the file.
pub(super) fn recorded(file: &Path) -> Vec<RecordedMessage> {
    learned::read(file).unwrap_or_default()
}

/// Returns a client with an application token, which is not kept.
fn with_token(cloud: &Cloud, application: ApplicationId, token: &Secret) -> anyhow::Result<Client> {
    secrecy::keep_out_of_core_dumps();
    let mut cloud = cloud.clone();
    cloud.application = Some(application);
    cloud.requested_scopes.clear();
    cloud.credentials = CloudCredentials::Token(token.clone());
    Ok(Client::new(cloud)?)
}

/// Returns the type of the Device API.
fn data_type(data_type: AttributeType) -> DataType {
    DataType::from_str(data_type.as_str(), false).unwrap_or(DataType::String)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_rules_name_an_attribute_and_a_device() {
        let rule = |text: &str| text.parse::<TypeRule>().map_err(|error| error.to_string());
        let (device, attribute) = (None, "door".parse().unwrap());
        let expected = TypeRule { device, attribute, data_type: AttributeType::Boolean };
        assert_eq!(rule("door=boolean"), Ok(expected.clone()));
        assert_eq!(rule("door:boolean"), Ok(expected.clone()));
        let expected = TypeRule { device: Some("hall".to_owned()), ..expected };
        assert_eq!(rule("hall.door=boolean"), Ok(expected));
        for text in ["door", "a b=number", "door=float", "hall.=number"] {
            assert!(rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn types_keep_their_names() {
        let all = ["number", "string", "boolean", "gps", "blob"];
        for word in all {
            let kind = data_type(AttributeType::named(word)).to_possible_value();
            assert_eq!(kind.unwrap().get_name(), word);
        }
    }
}
