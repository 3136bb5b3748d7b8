//! The computer under measurement, as the kernel describes it.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::figures;
use crate::limits;
use crate::peer::output;

/// The bytes of a synced append.
const SYNC_BYTES: usize = 4096;

/// The time of the measurement of the disk.
const SYNC_TIME: Duration = Duration::from_secs(3);

/// Returns the date, the computer, and how often its disk syncs, as one line.
///
/// # Errors
///
/// A file cannot be written to the directory.
pub(crate) fn describe(directory: &Path) -> anyhow::Result<String> {
    let date = jiff::Timestamp::now().strftime("%-d %B %Y");
    let syncs = limits::append(directory, SYNC_BYTES, SYNC_TIME)?.rate;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(format!(
        "Measured on {date}: {}, {} cores, {} GB of memory, Linux {}. The disk makes {} \
         `fdatasync` a second.",
        processor(),
        std::thread::available_parallelism().map_or(1, usize::from),
        memory_gb(),
        // The third number and what follows name a build.
        kernel.trim().splitn(3, '.').take(2).collect::<Vec<_>>().join("."),
        figures::text(syncs.round()),
    ))
}

/// Returns the version of mosquitto.
pub(crate) fn broker_version() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("sh");
    command.env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin"));
    // The help text begins with the version, and ends with a failure.
    command.args(["-c", "mosquitto -h | head -n 1"]);
    let line = output(&mut command).unwrap_or_default();
    line.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |key: &str| {
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    // Arm's kernels name the model of the board instead.
    value("model name").or_else(|| value("Model")).unwrap_or_else(|| "unknown processor".to_owned())
}

fn memory_gb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    let kilobytes: u64 =
        line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0);
    kilobytes.div_ceil(1_000_000)
}
