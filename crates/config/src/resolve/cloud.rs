//! The table `[losant]`: the gateway device, its credentials and the connection to Losant.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::proxy::proxy;
use crate::address::{Mistake, check_url};
use crate::check::{Check, Purpose, seconds};
use crate::field::Field;
use crate::pem::{client_certificate, private_ca};
use crate::secret::{cloud_credentials_path, read_cloud_credentials};
use crate::{Cloud, CloudCredentials, raw};

/// The range of keep-alive intervals that Losant is known to serve.
pub const KEEP_ALIVE_RANGE: RangeInclusive<Duration> =
    Duration::from_secs(2)..=Duration::from_secs(60);

/// The scopes that a device may request (schema `deviceCredentials`).
const SCOPES: [&str; 19] = [
    "all.Device",
    "all.Device.read",
    "data.export",
    "data.timeSeriesQuery",
    "data.lastValueQuery",
    "device.commandStream",
    "device.get",
    "device.getCompositeState",
    "device.getState",
    "device.stateStream",
    "device.getLogEntries",
    "device.getCommand",
    "device.debug",
    "device.sendState",
    "device.sendCommand",
    "device.setConnectionStatus",
    "devices.get",
    "devices.getCompositeState",
    "devices.sendCommand",
];

/// The scopes that the daemon needs; `all.Device` contains them.
const SCOPES_NEEDED: [&str; 2] = ["device.sendState", "device.setConnectionStatus"];

/// The scopes that actuators need; `all.Device.read` contains them, too.
const SCOPES_FOR_COMMANDS: [&str; 2] = ["device.commandStream", "device.getCommand"];

pub(super) fn cloud(
    raw: raw::Losant,
    needs_commands: bool,
    check: &mut Check<'_>,
) -> Option<Cloud> {
    let fix = "copy the gateway's Device ID from Losant: device_id = \"575ecf887ae143cd83dc4aa2\"";
    let device = check.required("losant.device_id", raw.device_id, fix);
    let device = device.and_then(|text| check.parsed("losant.device_id", &text));
    let application =
        raw.application_id.and_then(|text| check.parsed("losant.application_id", &text.0));
    let url = check.required("losant.url", raw.url, "")?;
    if url.contains('@') {
        let fix = "put the access key into credentials_file, and only the address here";
        check.problems.add("losant.url", "must not contain a password", fix);
    } else if let Err(Mistake { what, fix }) = check_url("url", &url, &["https", "http"]) {
        check.problems.add("losant.url", what, fix);
    } else {
        check_encryption(&url, check);
    }
    let configured = raw.credentials_file.map(|path| check.path(&path.0));
    let path = cloud_credentials_path(configured, check.directory);
    let credentials = match check.purpose {
        Purpose::Daemon => read_cloud_credentials(&path, check.problems),
        Purpose::Check => {
            // A problem with them is reported; the rest is checked with placeholders.
            check.secret(&path, read_cloud_credentials).or(Some(CloudCredentials::unread()))
        }
        Purpose::Inspect | Purpose::Discover => Some(CloudCredentials::unread()),
    };
    if matches!(credentials, Some(CloudCredentials::Token(_))) && application.is_none() {
        let fix = "copy the Application ID from Losant; only an access key includes it";
        check.problems.add("losant.application_id", "is missing, and a token needs it", fix);
    }
    let token_ttl = raw.token_ttl.is_some().then(|| {
        check.duration("losant.token_ttl", raw.token_ttl, &seconds(60..=366 * 24 * 3_600))
    });
    Some(Cloud {
        application,
        requested_scopes: scopes(raw.requested_scopes, needs_commands, check),
        token_ttl,
        keep_alive_interval: check.duration(
            "losant.keep_alive_interval",
            raw.keep_alive_interval,
            &KEEP_ALIVE_RANGE,
        ),
        connect_timeout: check.duration(
            "losant.connect_timeout",
            raw.connect_timeout,
            &seconds(1..=120),
        ),
        request_timeout: check.duration(
            "losant.request_timeout",
            raw.request_timeout,
            &seconds(1..=300),
        ),
        private_ca: raw
            .ca_file
            .and_then(|path| private_ca("losant.ca_file", &check.path(&path.0), check)),
        client_certificate: raw.client_certificate.and_then(|path| {
            let path = check.path(&path.0);
            client_certificate(&path, check)
        }),
        proxy: proxy(raw.proxy, &url, check),
        ..Cloud::new(&url, device?, credentials?)
    })
}

/// Reports an address to which the access key would be sent without encryption.
fn check_encryption(url: &str, check: &mut Check<'_>) {
    let Some(host) =
        reqwest::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned))
    else {
        return;
    };
    if ["losant.com", "www.losant.com", "app.losant.com", "broker.losant.com"].contains(&&*host) {
        let fix = "write url = \"https://api.losant.com\"";
        return check.problems.add("losant.url", format!("{host} is not the Device API"), fix);
    }
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    let is_here = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if !url.starts_with("http://") || is_here {
        return;
    }
    let fix = format!("write url = \"https://{host}\"");
    if host.ends_with(".losant.com") {
        check.problems.add("losant.url", "Losant requires https", fix);
    } else {
        let what = "sends the access key and all values without encryption";
        check.problems.warn("losant.url", what, fix);
    }
}

fn scopes(
    raw: Option<Vec<Field<String>>>,
    needs_commands: bool,
    check: &mut Check<'_>,
) -> Vec<String> {
    const KEY: &str = "losant.requested_scopes";
    let scopes: BTreeSet<_> = raw.into_iter().flatten().map(|scope| scope.0).collect();
    for scope in scopes.iter().filter(|scope| !SCOPES.contains(&scope.as_str())) {
        let what = format!("a device cannot ask for \"{scope}\"");
        check.problems.add(KEY, what, format!("choose from {}", SCOPES.join(", ")));
    }
    let is_missing = |scope: &&&str| !scopes.contains(**scope) && !scopes.contains("all.Device");
    let mut missing: Vec<_> = SCOPES_NEEDED.iter().filter(is_missing).copied().collect();
    if needs_commands && !scopes.contains("all.Device.read") {
        missing.extend(SCOPES_FOR_COMMANDS.iter().filter(is_missing));
    }
    if !scopes.is_empty() && !missing.is_empty() {
        let fix = format!("add {}", missing.join(", "));
        check.problems.add(KEY, "does not allow what tidegate does", fix);
    }
    scopes.into_iter().collect()
}
