//! Host names, addresses such as `host:port`, and URLs, as an operator writes them.

use std::net::{IpAddr, SocketAddr};

/// A mistake in an address, and its fix.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) what: String,
    pub(super) fix: String,
}

impl Mistake {
    fn new(what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { what: what.into(), fix: fix.into() }
    }
}

/// The parts of an address that may have a scheme, a user, a port and a path.
struct Parts<'a> {
    scheme: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
}

fn parts(text: &str) -> Parts<'_> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().ok())
        }
        Some(_) | None => (authority, None),
    };
    Parts { scheme, host: host.trim().trim_matches(['[', ']']), port }
}

/// Returns a text as it may be shown: without the user and the password of an address.
fn shown(text: &str) -> String {
    if text.contains('@') { "the address".to_owned() } else { format!("\"{text}\"") }
}

fn has_blank(text: &str) -> bool {
    text.contains(|character: char| character.is_whitespace() || character.is_control())
}

/// Checks the host of a broker: a name or an address, and nothing else. `usual_port` is the port
/// that is used without `port`.
///
/// # Errors
/// The mistake. It contains no password.
pub(super) fn check_broker_host(text: &str, usual_port: u16) -> Result<(), Mistake> {
    let Parts { scheme, host, port } = parts(text.trim());
    let host = if host.is_empty() { "127.0.0.1" } else { host };
    let mut fix = format!("write host = \"{host}\"");
    let is_other_port = |port: &u16| scheme.is_some() || *port != usual_port;
    if let Some(port) = port.filter(is_other_port) {
        fix = format!("{fix} and port = {port}");
    }
    if matches!(scheme, Some("mqtts" | "ssl" | "tls")) {
        fix = format!("{fix} and tls = true");
    }
    if let Some(scheme @ ("ws" | "wss")) = scheme {
        return Err(Mistake::new(
            format!("{} is for WebSocket ({scheme}), which is not supported", shown(text)),
            "give the host of the broker's MQTT port",
        ));
    }
    if scheme.is_some() {
        return Err(Mistake::new(format!("{} is a URL, not a host", shown(text)), fix));
    }
    if check_host(host).is_err() {
        "give its name or address alone: host = \"127.0.0.1\"".clone_into(&mut fix);
    }
    check_host(text).map_err(|what| Mistake::new(what, fix))
}

/// Checks a host: a name or an address without anything around it.
///
/// # Errors
/// The problem. It contains no password.
fn check_host(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    if has_blank(text) {
        return Err(format!("{} contains a blank", shown(text)));
    }
    let without_zone = text.split('%').next().unwrap_or_default();
    if without_zone.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    if text.contains('@') {
        return Err("contains a user; a user belongs into credentials_file".to_owned());
    }
    if text.contains(['/', '?', '#']) {
        return Err(format!("{} has a path, and a host has none", shown(text)));
    }
    if text.starts_with('[') {
        return Err(format!("{} has brackets", shown(text)));
    }
    if text.matches(':').count() == 1 {
        return Err(format!("{} has a port, and a host has none", shown(text)));
    }
    let is_number = text.chars().all(|one| one.is_ascii_digit() || one == '.');
    if is_number || text.contains(':') {
        return Err(format!("{} is not an IP address", shown(text)));
    }
    let is_label = |label: &str| {
        let is_allowed = |one: char| one.is_alphanumeric() || "-_".contains(one);
        !label.is_empty() && label.len() <= 63 && label.chars().all(is_allowed)
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > 253 || !name.split('.').all(is_label) || name.starts_with('-') {
        return Err(format!("{} is not a host name", shown(text)));
    }
    Ok(())
}

/// Splits `host:port` or a host alone, as in the option `tcp`.
///
/// # Errors
/// The mistake.
pub(super) fn host_and_port(
    option: &str,
    text: &str,
    usual_port: u16,
) -> Result<(String, u16), Mistake> {
    let Parts { scheme, host, port } = parts(text.trim());
    let named = if host.is_empty() { "192.168.1.20" } else { host };
    let bracketed = if named.contains(':') { format!("[{named}]") } else { named.to_owned() };
    let port_shown = port.filter(|port| *port != 0).unwrap_or(usual_port);
    let fix = match check_host(named) {
        Ok(()) => format!("write {option} = \"{bracketed}:{port_shown}\""),
        Err(_) => format!("write it as {option} = \"192.168.1.20:{usual_port}\""),
    };
    if scheme.is_some() {
        return Err(Mistake::new(format!("{} is a URL, not an address", shown(text)), fix));
    }
    let is_ipv6_alone = text.parse::<std::net::Ipv6Addr>().is_ok();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !is_ipv6_alone => (host, port.parse::<u16>().ok()),
        Some(_) | None => (text, Some(usual_port)),
    };
    let has_brackets = host.starts_with('[') && host.ends_with(']');
    let host = if has_brackets { host.trim_matches(['[', ']']) } else { host };
    let Some(port) = port.filter(|port| *port != 0) else {
        let what = format!("{} is not an address: its port is not 1 to 65535", shown(text));
        return Err(Mistake::new(what, fix));
    };
    check_host(host)
        .map_err(|what| Mistake::new(format!("is not an address: its host {what}"), fix))?;
    Ok((host.to_owned(), port))
}

/// Parses the address on which a server listens.
///
/// # Errors
/// The mistake.
pub(super) fn listen_address(option: &str, text: &str) -> Result<SocketAddr, Mistake> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let Parts { host, port, .. } = parts(text.trim());
    let host = match host {
        "" | "localhost" => "127.0.0.1",
        "*" => "0.0.0.0",
        host if host.parse::<IpAddr>().is_ok() => host,
        _ => "127.0.0.1",
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let port = port.map_or_else(|| "8440".to_owned(), |port| port.to_string());
    let what = format!("{} is not an IP address with a port", shown(text));
    Err(Mistake::new(what, format!("write {option} = \"{host}:{port}\"")))
}

/// Checks a URL with one of these schemes. The first scheme is in the suggested fix.
///
/// # Errors
/// The mistake. It contains no password.
pub(super) fn check_url(option: &str, text: &str, schemes: &[&str]) -> Result<(), Mistake> {
    let usual = schemes.first().copied().unwrap_or_default();
    let Parts { scheme, host, port } = parts(text.trim());
    let host = if host.is_empty() { "api.losant.com" } else { host };
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let host = if check_host(host).is_ok() { host } else { "HOST" };
    let fix = format!("write {option} = \"{usual}://{host}{port}\"");
    let shown = shown(text);
    if has_blank(text) {
        return Err(Mistake::new(format!("{shown} contains a blank"), fix));
    }
    let Some(scheme) = scheme else {
        let what = format!("{shown} is not a web address: {usual}:// is missing");
        return Err(Mistake::new(what, fix));
    };
    if !schemes.contains(&scheme) {
        let what = format!("{shown} does not begin with {}://", schemes.join(":// or "));
        return Err(Mistake::new(what, fix));
    }
    match reqwest::Url::parse(text) {
        Ok(url) if url.has_host() && text.matches("://").count() == 1 => Ok(()),
        Ok(_) => Err(Mistake::new(format!("{shown} is not a web address"), fix)),
        Err(error) => Err(Mistake::new(format!("{shown} is not a web address: {error}"), fix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(result: Result<(), Mistake>) -> String {
        result.err().map(|Mistake { what, fix }| format!("{what}; {fix}")).unwrap_or_default()
    }

    #[test]
    fn hosts_are_names_or_addresses() {
        for host in ["127.0.0.1", "::1", "fe80::1%eth0", "broker", "my_pi.local", "a.example.", "é"]
        {
            assert_eq!(said(check_broker_host(host, 1883)), "", "{host}");
        }
        for (host, expected) in [
            ("mqtt://10.0.0.5", "is a URL, not a host; write host = \"10.0.0.5\""),
            (
                "mqtts://b.example:8883/x",
                "write host = \"b.example\" and port = 8883 and tls = true",
            ),
            ("ws://b", "is for WebSocket (ws), which is not supported"),
            ("127.0.0.1:1883", "has a port, and a host has none; write host = \"127.0.0.1\""),
            ("b:1884", "write host = \"b\" and port = 1884"),
            ("b.example/mqtt", "has a path, and a host has none; write host = \"b.example\""),
            (" b", "contains a blank; write host = \"b\""),
            ("my broker", "contains a blank; give its name or address alone: host = "),
            ("b\n", "contains a blank"),
            ("", "is empty"),
            ("[::1]", "has brackets; write host = \"::1\""),
            ("me:hunter2@b", "contains a user"),
            ("192.168.1.300", "is not an IP address"),
            ("192.168.1", "is not an IP address"),
            ("::g", "is not an IP address"),
            ("a..b", "is not a host name"),
            ("*", "is not a host name"),
        ] {
            let said = said(check_broker_host(host, 1883));
            assert!(said.contains(expected), "{host}: {said}");
            assert!(!said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        let parse = |text| host_and_port("tcp", text, 502);
        let good = |host: &str, port| Ok((host.to_owned(), port));
        assert_eq!(parse("192.168.1.20"), good("192.168.1.20", 502));
        assert_eq!(parse("meter.local:1502"), good("meter.local", 1502));
        assert_eq!(parse("[::1]:503"), good("::1", 503));
        assert_eq!(parse("::1"), good("::1", 502));
        for (text, expected) in [
            ("tcp://10.0.0.5", "is a URL, not an address; write tcp = \"10.0.0.5:502\""),
            ("10.0.0.5:", "its port is not 1 to 65535"),
            ("10.0.0.5:0", "write tcp = \"10.0.0.5:502\""),
            ("10.0.0.5:99999", "its port is not 1 to 65535"),
            ("10.0.0.5:502/1", "its port is not"),
            (":502", "its host is empty"),
            ("a b:502", "contains a blank"),
            ("10.0.0.500:502", "is not an IP address"),
        ] {
            let said = said(parse(text).map(drop));
            assert!(said.contains(expected), "{text}: {said}");
        }
        for (text, expected) in [
            ("localhost:9000", "write listen = \"127.0.0.1:9000\""),
            ("0.0.0.0", "write listen = \"0.0.0.0:8440\""),
            (":9000", "write listen = \"127.0.0.1:9000\""),
            ("http://10.0.0.5:9000", "write listen = \"10.0.0.5:9000\""),
        ] {
            let said = said(listen_address("listen", text).map(drop));
            assert!(said.contains(expected), "{text}: {said}");
        }
    }

    #[test]
    fn urls_have_a_scheme_and_a_host() {
        let check = |text| said(check_url("url", text, &["https", "http"]));
        assert_eq!(check("https://api.losant.com"), "");
        assert_eq!(check("http://127.0.0.1:8080/x"), "");
        for (text, expected) in [
            ("api.losant.com", "https:// is missing; write url = \"https://api.losant.com\""),
            ("localhost:8080", "write url = \"https://localhost:8080\""),
            ("mqtt://api.losant.com", "does not begin with https:// or http://"),
            ("HTTPS//api", "https:// is missing"),
            ("https://", "is not a web address"),
            ("https:// api.losant.com", "contains a blank"),
            ("https://https://api.losant.com", "is not a web address"),
            ("https://a:99999", "invalid port"),
        ] {
            let said = check(text);
            assert!(said.contains(expected), "{text}: {said}");
        }
        assert!(!check("ftp://me:hunter2@host").contains("hunter2"));
    }
}
