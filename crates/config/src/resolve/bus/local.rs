//! What is on this computer: the tables `[bus.exec.…]`, `[bus.file.…]`, `[bus.http.…]` and `[bus.system.…]`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{INTERVAL_RANGE, choice, span};
use crate::field::{Field, Size};
use crate::resolve::Check;
use crate::secret::read_bare_token;
use crate::{ExecBus, ExecMode, FileBus, FileMode, HttpBus, Secret, SystemBus, raw};

/// The largest file, output or body: what a Pi can hold of each bus at once.
const BYTES_RANGE: RangeInclusive<u64> = 16..=1 << 20;

/// That of a file, an output or a body without a word about it.
const BYTES_DEFAULT: u64 = 64 * 1024;

/// Where an HTTP bus listens without a word about it: reachable by nobody but this computer.
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8_440);

/// The most connections of an HTTP bus.
const CONNECTIONS_RANGE: RangeInclusive<i64> = 1..=256;

/// Paths of a file bus, disks of a system bus, words of a command.
const ENTRIES_MAX: usize = 64;

pub(super) fn exec(key: &str, raw: raw::Exec, check: &mut Check<'_>) -> ExecBus {
    let command_key = format!("{key}.command");
    let command = texts(raw.command);
    if !command.first().is_some_and(|program| Path::new(program).is_absolute()) {
        let fix =
            "give the program's path and its arguments: command = [\"/usr/bin/program\", \"-a\"]";
        check.problems.add(&command_key, "does not begin with an absolute path", fix);
    }
    bounded(&command_key, &command, check);
    let modes = [("interval", false), ("lines", true)];
    let is_lines = choice(&format!("{key}.mode"), raw.mode, check, &modes).unwrap_or_default();
    let interval_key = format!("{key}.interval");
    let mode = if is_lines {
        for (option, is_set) in
            [("interval", raw.interval.is_some()), ("timeout", raw.timeout.is_some())]
        {
            if is_set {
                let at = format!("{key}.{option}");
                check.problems.add(at, "is for mode = \"interval\"", "remove it");
            }
        }
        ExecMode::Lines
    } else {
        let timeout_range = Duration::from_millis(100)..=Duration::from_secs(3_600);
        ExecMode::Interval {
            interval: interval(&interval_key, raw.interval, Duration::from_secs(60), check),
            timeout: span(
                &format!("{key}.timeout"),
                raw.timeout,
                Duration::from_secs(10),
                &timeout_range,
                check,
            ),
        }
    };
    let environment_key = format!("{key}.environment");
    let variables = texts(raw.environment);
    bounded(&environment_key, &variables, check);
    let environment = variables.iter().filter_map(|text| {
        let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
        if pair.is_none() {
            let fix = "write each variable as \"NAME=value\"";
            check.problems.add(&environment_key, format!("\"{text}\" is no variable"), fix);
        }
        pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
    });
    ExecBus {
        command,
        mode,
        environment: environment.collect(),
        output_bytes_max: size(&format!("{key}.output_size_max"), raw.output_size_max, check),
    }
}

pub(super) fn file(key: &str, raw: raw::File, check: &mut Check<'_>) -> FileBus {
    let paths_key = format!("{key}.paths");
    let patterns: Vec<_> = texts(raw.paths)
        .iter()
        .map(|path| check.path(path).to_string_lossy().into_owned())
        .collect();
    if patterns.is_empty() {
        let fix = "say what to read: paths = [\"/sys/class/thermal/thermal_zone*/temp\"]";
        check.problems.add(&paths_key, "is missing or empty", fix);
    }
    bounded(&paths_key, &patterns, check);
    for pattern in &patterns {
        if let Err(error) = glob::Pattern::new(pattern) {
            check.problems.add(&paths_key, format!("\"{pattern}\": {error}"), "");
        }
    }
    let modes =
        [("interval", FileMode::Whole), ("change", FileMode::Change), ("tail", FileMode::Tail)];
    let mode = choice(&format!("{key}.mode"), raw.mode, check, &modes).unwrap_or(FileMode::Whole);
    let default = match mode {
        FileMode::Whole => Duration::from_secs(10),
        FileMode::Change | FileMode::Tail => Duration::from_secs(1),
    };
    FileBus {
        patterns,
        mode,
        interval: interval(&format!("{key}.interval"), raw.interval, default, check),
        bytes_max: size(&format!("{key}.size_max"), raw.size_max, check),
    }
}

pub(super) fn http(key: &str, raw: raw::Http, check: &mut Check<'_>) -> HttpBus {
    let listen_key = format!("{key}.listen");
    let listen = check.or_default(&listen_key, raw.listen, LISTEN_DEFAULT.to_string());
    let listen = check.parsed(&listen_key, &listen);
    let credentials_key = format!("{key}.credentials_file");
    let fix = "name a file that holds the token that clients must show: credentials_file = \"push-token\"";
    let path = check.required(&credentials_key, raw.credentials_file, fix);
    let token = path.and_then(|path| read_bare_token(&check.path(&path), check.problems));
    let connections_key = format!("{key}.connections_max");
    let connections_max =
        check.integer(&connections_key, raw.connections_max, 16, &CONNECTIONS_RANGE);
    HttpBus {
        listen: listen.unwrap_or(LISTEN_DEFAULT),
        token: token.unwrap_or_else(|| Secret::from(String::new())),
        body_bytes_max: size(&format!("{key}.size_max"), raw.size_max, check),
        connections_max: usize::try_from(connections_max).unwrap_or(1),
    }
}

pub(super) fn system(key: &str, raw: raw::System, check: &mut Check<'_>) -> SystemBus {
    let disks = raw.disks.map_or_else(|| vec!["/".to_owned()], |disks| texts(Some(disks)));
    bounded(&format!("{key}.disks"), &disks, check);
    SystemBus {
        interval: interval(
            &format!("{key}.interval"),
            raw.interval,
            Duration::from_secs(60),
            check,
        ),
        disks: disks.iter().map(PathBuf::from).collect(),
        gateway: check.or_default(&format!("{key}.gateway"), raw.gateway, true),
    }
}

fn texts(fields: Option<Vec<Field<String>>>) -> Vec<String> {
    fields.unwrap_or_default().into_iter().map(|field| field.0).collect()
}

fn bounded(key: &str, entries: &[String], check: &mut Check<'_>) {
    if entries.len() > ENTRIES_MAX {
        let fix = format!("give at most {ENTRIES_MAX}");
        check.problems.add(key, format!("has {} entries", entries.len()), fix);
    }
}

fn size(key: &str, field: Option<Field<Size>>, check: &mut Check<'_>) -> usize {
    usize::try_from(check.bytes(key, field, BYTES_DEFAULT, &BYTES_RANGE)).unwrap_or_default()
}

fn interval(
    key: &str,
    field: Option<Field<Duration>>,
    default: Duration,
    check: &mut Check<'_>,
) -> Duration {
    span(key, field, default, &INTERVAL_RANGE, check)
}
