//! The proxy between the gateway and Losant, in the configuration and in the environment.

use crate::Proxy;
use crate::address::check_url;
use crate::check::Check;
use crate::field::Field;

/// The variables that name a proxy for `https` and for `http`, in the order in which they count.
const HTTPS_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
const HTTP_VARIABLES: [&str; 4] = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];

pub(super) fn proxy(raw: Option<Field<String>>, url: &str, check: &mut Check<'_>) -> Proxy {
    const KEY: &str = "losant.proxy";
    let proxy = match raw.map(|url| url.0) {
        Some(word) if word == "none" => return Proxy::None,
        Some(proxy) if proxy != "environment" => proxy,
        Some(_) | None => {
            let read =
                |name: &str| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
            check_environment(url, read, check);
            return Proxy::Environment;
        }
    };
    if proxy.starts_with("socks") {
        let what = "is a SOCKS proxy, which is not supported";
        check.problems.add(KEY, what, "give an HTTP proxy: proxy = \"http://proxy.example:3128\"");
    } else if check_url("proxy", &proxy, &["http", "https"]).is_err() {
        let fix =
            "write \"environment\", \"none\" or an address such as \"http://proxy.example:3128\"";
        check.problems.add(KEY, "is not a proxy", fix);
    } else if proxy.contains('@') {
        let fix = "set HTTPS_PROXY in the environment, from a file that only the service can read";
        check.problems.add(KEY, "must not contain a password", fix);
    }
    Proxy::At(proxy)
}

/// Reports the proxies of the environment that would be ignored in silence. The messages contain no
/// value, because it can contain a password.
fn check_environment(url: &str, read: impl Fn(&str) -> Option<String>, check: &mut Check<'_>) {
    let (used, others) = if url.starts_with("http://") {
        (HTTP_VARIABLES, HTTPS_VARIABLES)
    } else {
        (HTTPS_VARIABLES, HTTP_VARIABLES)
    };
    // An exception can be for Losant, and then the proxy does not matter.
    let has_exceptions =
        ["NO_PROXY", "no_proxy"].iter().any(|name| read(name).is_some_and(|text| !text.is_empty()));
    let is_set = |name: &&str| read(name).is_some_and(|value| !value.is_empty());
    let in_use = used.iter().copied().find(is_set);
    for name in used.iter().chain(&others).copied().filter(is_set) {
        let Some(what) = mistake(&read(name).unwrap_or_default()) else { continue };
        let at = format!("{name} in the environment");
        let fix = format!(
            "write {name}=http://proxy.example:3128, remove it, or set losant.proxy = \"none\""
        );
        if Some(name) == in_use && !has_exceptions {
            check.problems.add(at, what, fix);
        } else {
            check.problems.warn(at, what, fix);
        }
    }
}

/// Returns what is wrong with a proxy of the environment. It may lack its scheme.
fn mistake(value: &str) -> Option<&'static str> {
    if value.starts_with("socks") {
        return Some("is a SOCKS proxy, which is not supported");
    }
    let url = if value.contains("://") { value.to_owned() } else { format!("http://{value}") };
    check_url("", &url, &["http", "https"]).is_err().then_some("is not the address of a proxy")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::Problems;
    use crate::check::Purpose;
    use crate::option_info::OptionInfos;

    fn said(url: &str, variables: &[(&str, &str)]) -> (bool, String) {
        let (mut problems, mut options) = (Problems::default(), OptionInfos::default());
        let mut check = Check {
            problems: &mut problems,
            options: &mut options,
            purpose: Purpose::Daemon,
            directory: Path::new("/"),
        };
        let read = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        check_environment(url, read, &mut check);
        (problems.has_errors(), problems.to_string())
    }

    #[test]
    fn invalid_proxies_of_the_environment_are_reported() {
        let https = "https://api.losant.com";
        for good in ["", "http://proxy.example:3128", "proxy.example:3128", "http://me:pw@p:1"] {
            assert_eq!(said(https, &[("HTTPS_PROXY", good)]), (false, String::new()), "{good}");
        }
        for bad in ["socks5://p:1080", "socks5h://p", "http://", "http://me:hunter2@p:port", "p q"]
        {
            for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
                let (is_error, text) = said(https, &[(name, bad)]);
                assert!(is_error && text.contains(name), "{bad}: {text}");
                assert!(!text.contains("hunter2"), "{text}");
            }
            let (is_error, text) = said(https, &[("HTTP_PROXY", bad)]);
            assert!(!is_error && text.starts_with("warning: HTTP_PROXY"), "{text}");
            let (is_error, _) = said("http://10.0.0.5", &[("HTTP_PROXY", bad)]);
            assert!(is_error);
            let (is_error, text) = said(https, &[("HTTPS_PROXY", bad), ("NO_PROXY", "losant.com")]);
            assert!(!is_error && text.starts_with("warning: "), "{text}");
        }
    }
}
