//! `tidegate provision`: creates the attributes that the configuration reports and Losant lacks.
//!
//! A patch replaces the whole list of attributes, and deletes an attribute that it omits with its
//! data. So the list is read right before it is written. A list with members that a patch would
//! lose is not changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context as _;
use clap::{Args, ValueEnum as _};
use serde::Deserialize as _;
use serde_json::Value;

use super::{ConfigArgs, Usage, print, prompt, secrecy};
use tidegate_config::{CloudCredentials, Config, Secret};
use tidegate_ingest::mapping::{AttributeSelector, DeviceSelector};
use tidegate_losant::Client;
use tidegate_losant::body::{Attribute, DataType, DevicePatch};
use tidegate_losant::query::Shape;
use tidegate_model::{AttributeName, AttributeNameError, DeviceId};

/// Options of `tidegate provision`.
#[derive(Debug, Args)]
pub(super) struct ProvisionArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Read an application token (scope device.patch) from FILE or - ; used once, not kept
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The type of an attribute that is not a number: string, boolean or gps
    #[arg(long = "type", value_name = "NAME:TYPE")]
    types: Vec<AttributeType>,
    /// Show what is missing and create nothing; needs no token
    #[arg(long)]
    dry_run: bool,
    /// Create without asking
    #[arg(long)]
    yes: bool,
}

/// An attribute and its type, such as `door:boolean`.
#[derive(Debug, Clone)]
pub(super) struct AttributeType {
    name: AttributeName,
    data_type: DataType,
}

/// An invalid `NAME:TYPE`.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttributeTypeError {
    /// The colon is missing.
    #[error("expected NAME:TYPE, such as door:boolean")]
    NoColon,
    /// The name is no attribute name.
    #[error(transparent)]
    Name(#[from] AttributeNameError),
    /// The type is unknown.
    #[error("unknown type \"{0}\"; use number, string, boolean, gps or blob")]
    Type(String),
}

impl FromStr for AttributeType {
    type Err = AttributeTypeError;

    fn from_str(text: &str) -> Result<Self, AttributeTypeError> {
        let (name, kind) = text.split_once(':').ok_or(AttributeTypeError::NoColon)?;
        let data_type = DataType::from_str(kind, false)
            .map_err(|_| AttributeTypeError::Type(kind.to_owned()))?;
        Ok(Self { name: name.parse()?, data_type })
    }
}

/// Shows the missing attributes and creates them.
pub(super) fn provision(args: &ProvisionArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let types = args.types.iter().map(|one| (one.name.clone(), one.data_type)).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("cannot start the runtime")?.block_on(async {
        let client = Client::new(config.cloud.clone())?;
        let missing = find_missing(&client, &config, &types).await?;
        if missing.is_empty() || args.dry_run {
            return Ok(());
        }
        let token = match &args.token_file {
            Some(file) if file.as_os_str() != "-" => tidegate_config::read_token(file)?,
            None if !prompt::is_possible() => {
                return Err(Usage::new("give --token-file FILE with an application token").into());
            }
            Some(_) | None => prompt::secret("Application token")?,
        };
        prompt::confirm(args.yes, "creates these attributes in Losant", &[])?;
        secrecy::keep_out_of_core_dumps();
        create(&client, &config, &missing, token).await
    })
}

/// Attributes by device.
pub(super) type Missing = BTreeMap<DeviceId, Vec<Attribute>>;

/// Compares the reported attributes with Losant's and prints the difference.
pub(super) async fn find_missing(
    client: &Client,
    config: &Config,
    types: &BTreeMap<AttributeName, DataType>,
) -> anyhow::Result<Missing> {
    let (wanted, unknown) = wanted(config);
    let (mut missing, mut page) = (Missing::new(), String::new());
    for (device, names) in wanted {
        let attributes = attributes(client, device).await?;
        let absent = absent(&attributes, &names, types);
        let shown = super::check::device_name(device, config);
        let (has, wants) = (attributes.len(), names.len());
        if absent.is_empty() {
            writeln!(page, "{shown}: all {wants} attributes are in Losant")?;
            continue;
        }
        writeln!(
            page,
            "{shown}: {} of {wants} attributes are missing; Losant has {has}",
            absent.len()
        )?;
        for attribute in &absent {
            let kind = attribute.data_type.to_possible_value();
            let kind = kind.as_ref().map_or("", |kind| kind.get_name());
            writeln!(page, "  {} ({kind})", attribute.name)?;
        }
        missing.insert(device, absent);
    }
    for sensor in unknown {
        writeln!(
            page,
            "sensor {sensor}: its device or attributes come from the topic; create them by hand"
        )?;
    }
    print(&page)?;
    Ok(missing)
}

/// Creates the missing attributes with an application token.
pub(super) async fn create(
    client: &Client,
    config: &Config,
    missing: &Missing,
    token: Secret,
) -> anyhow::Result<()> {
    let mut cloud = config.cloud.clone();
    cloud.application = Some(client.application().await?);
    cloud.requested_scopes.clear();
    cloud.credentials = CloudCredentials::Token(token);
    let client = Client::new(cloud)?;
    for (device, absent) in missing {
        let mut attributes = attributes(&client, *device).await?;
        let known: BTreeSet<_> = attributes.iter().map(|a| a.name.clone()).collect();
        attributes.extend(absent.iter().filter(|a| !known.contains(&a.name)).cloned());
        let patch =
            DevicePatch { attributes: Some(attributes.try_into()?), ..DevicePatch::default() };
        client.patch(*device, &patch, Shape::default()).await?;
        let names: Vec<_> = absent.iter().map(|attribute| attribute.name.to_string()).collect();
        let shown = super::check::device_name(*device, config);
        print(&format!("{shown}: created {}\n", names.join(", ")))?;
    }
    Ok(())
}

/// Returns the attributes that sensors report, by device, and the sensors whose devices or
/// attributes are known only from their messages.
fn wanted(config: &Config) -> (BTreeMap<DeviceId, BTreeSet<AttributeName>>, BTreeSet<String>) {
    let (mut wanted, mut unknown) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeSet::new());
    for sensor in config.buses.values().flat_map(|bus| &bus.sensors) {
        for mapping in &sensor.map {
            if let (DeviceSelector::Fixed(device), AttributeSelector::Fixed(name)) =
                (&sensor.device, &mapping.attribute)
            {
                wanted.entry(*device).or_default().insert(name.clone());
            } else {
                unknown.insert(sensor.name.to_string());
            }
        }
    }
    (wanted, unknown)
}

fn absent(
    attributes: &[Attribute],
    names: &BTreeSet<AttributeName>,
    types: &BTreeMap<AttributeName, DataType>,
) -> Vec<Attribute> {
    let is_absent = |name: &&AttributeName| !attributes.iter().any(|a| a.name == **name);
    let attribute = |name: &AttributeName| Attribute {
        name: name.clone(),
        data_type: types.get(name).copied().unwrap_or(DataType::Number),
        content_type: None,
        description: None,
        attribute_tags: None,
        system: None,
    };
    names.iter().filter(is_absent).map(attribute).collect()
}

/// Reads the attributes of a device in the form that a patch needs.
async fn attributes(client: &Client, device: DeviceId) -> anyhow::Result<Vec<Attribute>> {
    let shape = Shape { exclude_connection_info: true, ..Shape::default() };
    let document = client.get(device, shape).json().await?;
    let list = document.get("attributes").and_then(Value::as_array).into_iter().flatten();
    let attributes = list.map(Attribute::deserialize).collect::<Result<Vec<_>, _>>();
    attributes.with_context(|| {
        format!(
            "the attributes of device {device} have members that a patch would lose; create \
            the missing attributes by hand"
        )
    })
}
