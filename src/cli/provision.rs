//! `tidegate provision`: creates the attributes that the configuration reports and Losant does not have yet.
//!
//! A patch replaces the whole list of attributes, and one that is left out is gone with its data. So the list is read right
//! before it is written, and a list with anything in it that would not survive is left alone.

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
use tidegate_model::{AttributeName, DeviceId};

/// What to create, and how.
#[derive(Debug, Args)]
pub(super) struct ProvisionArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// A file with an application token of the scope device.patch, or - for standard input. It is used once and not kept.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The type of an attribute that is not a number: string, boolean or gps.
    #[arg(long = "type", value_name = "NAME:TYPE")]
    types: Vec<TypeOf>,
    /// Shows what is missing and creates nothing. Needs no token.
    #[arg(long)]
    dry_run: bool,
    /// Creates without asking.
    #[arg(long)]
    yes: bool,
}

/// An attribute and its type, such as `door:boolean`.
#[derive(Debug, Clone)]
pub(super) struct TypeOf(AttributeName, DataType);

impl FromStr for TypeOf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, kind) = text.split_once(':').ok_or("write NAME:TYPE, such as door:boolean")?;
        let name = name.parse().map_err(|error| format!("{error}"))?;
        Ok(Self(name, DataType::from_str(kind, false)?))
    }
}

/// Shows what is missing and creates it.
pub(super) fn provision(args: &ProvisionArgs) -> anyhow::Result<()> {
    let config = args.config.load()?;
    let types = args.types.iter().map(|TypeOf(name, kind)| (name.clone(), *kind)).collect();
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
        prompt::agree(args.yes, "creates these attributes in Losant", &[])?;
        secrecy::keep_out_of_core_dumps();
        create(&client, &config, &missing, token).await
    })
}

/// Attributes by device.
pub(super) type Missing = BTreeMap<DeviceId, Vec<Attribute>>;

/// Compares what the configuration reports with what Losant has, and prints it.
pub(super) async fn find_missing(
    client: &Client,
    config: &Config,
    types: &BTreeMap<AttributeName, DataType>,
) -> anyhow::Result<Missing> {
    let (wanted, open) = wanted(config);
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
    for sensor in open {
        writeln!(
            page,
            "sensor {sensor}: its device or attributes come from the topic; create them by hand"
        )?;
    }
    print(&page)?;
    Ok(missing)
}

/// Creates what is missing, with an application token.
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

/// The attributes that sensors report, by device; and the sensors of which only their messages tell.
fn wanted(config: &Config) -> (BTreeMap<DeviceId, BTreeSet<AttributeName>>, BTreeSet<String>) {
    let (mut wanted, mut open) = (BTreeMap::<_, BTreeSet<_>>::new(), BTreeSet::new());
    for sensor in config.buses.values().flat_map(|bus| &bus.sensors) {
        for mapping in &sensor.map {
            if let (DeviceSelector::Fixed(device), AttributeSelector::Fixed(name)) =
                (&sensor.device, &mapping.attribute)
            {
                wanted.entry(*device).or_default().insert(name.clone());
            } else {
                open.insert(sensor.name.to_string());
            }
        }
    }
    (wanted, open)
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

/// The attributes of a device, each as a patch can give it back.
async fn attributes(client: &Client, device: DeviceId) -> anyhow::Result<Vec<Attribute>> {
    let shape = Shape { exclude_connection_info: true, ..Shape::default() };
    let document = client.get(device, shape).json().await?;
    let list = document.get("attributes").and_then(Value::as_array).into_iter().flatten();
    let attributes = list.map(Attribute::deserialize).collect::<Result<Vec<_>, _>>();
    attributes.with_context(|| {
        format!("the attributes of device {device} have parts that a patch would lose; create the missing ones by hand")
    })
}
