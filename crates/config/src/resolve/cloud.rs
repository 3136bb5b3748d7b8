//! The table `[losant]`: the gateway device, its credentials and the connection to Losant.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::check::{Check, Purpose, seconds};
use crate::field::Field;
use crate::pem::{client_certificate, private_ca};
use crate::secret::{cloud_credentials_path, read_cloud_credentials};
use crate::{Cloud, CloudCredentials, Proxy, raw};

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
    } else if !is_url(&url, &["http", "https"]) {
        check.problems.add(
            "losant.url",
            format!("\"{url}\" is not a web address"),
            "write url = \"https://api.losant.com\"",
        );
    }
    let configured = raw.credentials_file.map(|path| check.path(&path.0));
    let path = cloud_credentials_path(configured, check.directory);
    let credentials = match check.purpose {
        Purpose::Daemon => read_cloud_credentials(&path, check.problems),
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
        proxy: proxy(raw.proxy, check),
        ..Cloud::new(&url, device?, credentials?)
    })
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

fn proxy(raw: Option<Field<String>>, check: &mut Check<'_>) -> Proxy {
    const KEY: &str = "losant.proxy";
    let url = match raw.map(|url| url.0) {
        None => return Proxy::Environment,
        Some(url) if url == "environment" => return Proxy::Environment,
        Some(url) if url == "none" => return Proxy::None,
        Some(url) => url,
    };
    if !is_url(&url, &["http", "https"]) {
        let fix =
            "write \"environment\", \"none\" or an address such as \"http://proxy.example:3128\"";
        check.problems.add(KEY, "is not a proxy", fix);
    } else if url.contains('@') {
        let fix = "set HTTPS_PROXY in the environment, from a file that only the service can read";
        check.problems.add(KEY, "must not contain a password", fix);
    }
    Proxy::At(url)
}

fn is_url(url: &str, schemes: &[&str]) -> bool {
    reqwest::Url::parse(url).is_ok_and(|url| schemes.contains(&url.scheme()) && url.has_host())
}
