//! Asks Losant: credentials, application, scopes, devices, attributes.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use super::{Outcome, Report};
use crate::attributes::production;
use crate::cli::check::device_name;
use crate::cli::secrecy;
use tidegate_config::Config;
use tidegate_delivery::response::ResponseClass;
use tidegate_ingest::mapping::DeviceProduction;
use tidegate_losant::body::{States, StatesJson};
use tidegate_losant::query::{History, Shape};
use tidegate_losant::{Client, DeviceDescription, Error};
use tidegate_model::{DeclaredAttributes, DeviceId};

/// The most attributes that one item names.
const NAMES_MAX: usize = 8;

/// Checks everything that Losant knows.
pub(super) async fn check(config: &Config, report: &mut Report) -> anyhow::Result<()> {
    secrecy::keep_out_of_core_dumps();
    let client = Client::new(config.cloud.clone())?;
    let item = format!("credentials at {}", config.cloud.url);
    match client.application().await {
        Ok(application) => {
            report.add(&format!("{item}: application {application}"), &Outcome::Good)?;
        }
        Err(error) => {
            let outcome = refusal(&error, "create an access key for the device in Losant");
            report.add(&item, &outcome)?;
            let rest = "devices, attributes and scopes";
            return report.add(rest, &Outcome::Unchecked("no access to Losant".to_owned()));
        }
    }
    let checker = Checker { config, client: &client };
    if !checker.gateway(report).await? {
        return Ok(());
    }
    checker.scopes(report).await?;
    for device in checker.peripherals() {
        checker.peripheral(device, report).await?;
    }
    Ok(())
}

struct Checker<'a> {
    config: &'a Config,
    client: &'a Client,
}

impl Checker<'_> {
    /// Checks the gateway device. Returns whether it can be read.
    async fn gateway(&self, report: &mut Report) -> anyhow::Result<bool> {
        let gateway = self.config.cloud.device;
        let description = match self.read(gateway).await {
            Ok(description) => description,
            Err(error) => {
                let cure = "copy the device id of the gateway from Losant to losant.device_id";
                report.add(&format!("gateway {gateway}"), &refusal(&error, cure))?;
                return Ok(is_forbidden(&error));
            }
        };
        let (name, class) = (escaped(&description.name), escaped(&description.device_class));
        let item = format!("gateway {gateway}: {name}, class {class}");
        let has_peripherals = !self.peripherals().is_empty();
        let is_gateway = matches!(&*class, "gateway" | "edgeCompute");
        let outcome = if has_peripherals && !is_gateway {
            Outcome::Problem(
                "only a gateway reports for peripherals; change the class of the device to \
                 gateway in Losant"
                    .to_owned(),
            )
        } else {
            Outcome::Good
        };
        report.add(&item, &outcome)?;
        self.attributes(gateway, &description, report)?;
        Ok(true)
    }

    /// Checks the actions that the token must allow.
    async fn scopes(&self, report: &mut Report) -> anyhow::Result<()> {
        let gateway = self.config.cloud.device;
        let scope = |error: &Error, scope: &str| {
            refusal(
                error,
                &format!("add {scope} to losant.requested_scopes, or use a token that has it"),
            )
        };
        let sent = self.client.send_state(gateway, nothing()).await;
        let outcome = match sent {
            Err(error) if is_forbidden(&error) => scope(&error, "device.sendState"),
            // Losant may refuse an empty list, but only after it has accepted the token.
            Ok(_) | Err(_) => Outcome::Good,
        };
        report.add("scope device.sendState", &outcome)?;
        if self.config.actuators.is_empty() {
            return Ok(());
        }
        let history = History { limit: Some(NonZeroU32::MIN), ..History::default() };
        let outcome = match self.client.get_command(gateway, &history).await {
            Ok(_) => Outcome::Good,
            Err(error) => scope(&error, "device.getCommand"),
        };
        report.add("scope device.getCommand", &outcome)
    }

    /// Returns the peripherals that sensors or actuators use or can use.
    fn peripherals(&self) -> BTreeSet<DeviceId> {
        let gateway = self.config.cloud.device;
        let actuators = self.config.actuators.iter().map(|actuator| actuator.device);
        let devices = self.config.devices.values().copied().chain(actuators);
        devices.filter(|device| *device != gateway).collect()
    }

    async fn peripheral(&self, device: DeviceId, report: &mut Report) -> anyhow::Result<()> {
        let gateway = self.config.cloud.device;
        let shown = device_name(device, self.config);
        let item = format!("device {shown}");
        let description = match self.read(device).await {
            Ok(description) => description,
            Err(error) if is_forbidden(&error) => {
                return self.unreadable_peripheral(device, &item, report).await;
            }
            Err(error) => {
                let cure = format!(
                    "correct device.{shown}.id, or run tidegate provision --create-devices \
                     without the id"
                );
                return report.add(&item, &refusal(&error, &cure));
            }
        };
        let (name, class) = (escaped(&description.name), escaped(&description.device_class));
        let owner = description.gateway_id.as_deref();
        let item = format!("{item}: {name}, class {class}");
        let is_own = owner.is_some_and(|owner| owner.eq_ignore_ascii_case(&gateway.to_string()));
        let outcome = match &*class {
            "floating" => Outcome::Good,
            "peripheral" if is_own => Outcome::Good,
            "peripheral" => Outcome::Problem(format!(
                "it belongs to gateway {}; set its gateway in Losant to {gateway}",
                owner.unwrap_or("none").escape_debug()
            )),
            _ => Outcome::Problem(
                "this gateway may not report for it; change its class to peripheral in Losant"
                    .to_owned(),
            ),
        };
        report.add(&item, &outcome)?;
        self.attributes(device, &description, report)
    }

    /// Checks a peripheral that the access key may not read: the gateway may report for it or not.
    async fn unreadable_peripheral(
        &self,
        device: DeviceId,
        item: &str,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let sent = self.client.send_state(device, nothing()).await;
        if let Err(error) = sent
            && (is_forbidden(&error) || error.status() == Some(404))
        {
            let cure = "make it a peripheral of this gateway in Losant";
            return report.add(item, &refusal(&error, cure));
        }
        let reason = "the gateway may report for it, but its access key may not read it; let the \
                      key cover the peripherals to check their attributes";
        report.add(&format!("{item}: attributes"), &Outcome::Unchecked(reason.to_owned()))
    }

    /// Compares the attributes of a device with those that the configuration produces.
    fn attributes(
        &self,
        device: DeviceId,
        description: &DeviceDescription,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let production = production(self.config);
        let Some(produced) = production.devices.get(&device) else { return Ok(()) };
        let item = format!("attributes of {}", device_name(device, self.config));
        report.add(&item, &compare(&description.declared_attributes(), produced))
    }

    async fn read(&self, device: DeviceId) -> Result<DeviceDescription, Error> {
        let shape = Shape { exclude_connection_info: true, ..Shape::default() };
        self.client.get(device, shape).await
    }
}

fn compare(declared: &DeclaredAttributes, produced: &DeviceProduction) -> Outcome {
    let (mut missing, mut other) = (Vec::new(), Vec::new());
    for (name, produced) in produced {
        match (declared.get(name), produced.data_type) {
            (None, _) if produced.is_certain => missing.push(name.to_string()),
            (Some(declared), Some(wanted)) if !declared.accepts(wanted) => {
                let (declared, wanted) = (declared.as_str(), wanted.as_str());
                other.push(format!("{name} is {declared}, its values are {wanted}"));
            }
            (None | Some(_), _) => {}
        }
    }
    let mut parts = Vec::new();
    if !missing.is_empty() {
        parts.push(format!("{} missing; run tidegate provision", shortened(&missing)));
    }
    if !other.is_empty() {
        let cure = "change the mapping, or run tidegate provision --replace-type";
        parts.push(format!("{}; {cure}", shortened(&other)));
    }
    if parts.is_empty() { Outcome::Good } else { Outcome::Problem(parts.join("; ")) }
}

fn shortened(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(NAMES_MAX).map(String::as_str).collect();
    let left = names.len().saturating_sub(NAMES_MAX);
    let more = if left > 0 { format!(" and {left} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// Returns an empty list of states.
fn nothing() -> StatesJson {
    StatesJson::from(&States::Many(Vec::new()))
}

/// Returns a problem with its cure, or that an item was not checked because no answer arrived.
fn refusal(error: &Error, cure: &str) -> Outcome {
    match error.response_class() {
        ResponseClass::Offline | ResponseClass::ServerError(_) | ResponseClass::Throttled(_) => {
            Outcome::Unchecked(error.to_string())
        }
        ResponseClass::Stored
        | ResponseClass::Unauthorized
        | ResponseClass::TooLarge
        | ResponseClass::Malformed
        | ResponseClass::Blocked => Outcome::Problem(format!("{error}; {cure}")),
    }
}

fn is_forbidden(error: &Error) -> bool {
    error.status() == Some(403)
}

/// Returns a text of Losant that cannot control the terminal.
fn escaped(text: &str) -> String {
    text.escape_debug().to_string()
}
