//! Waits until the first state of the gateway or of a peripheral arrives in Losant.

use std::num::NonZeroU32;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::cli::check::device_name;
use crate::cli::print;
use tidegate_config::Config;
use tidegate_losant::Client;
use tidegate_losant::query::History;
use tidegate_model::{DeviceId, WallTime};
use tidegate_runtime::clock::SystemClock;

/// The longest wait for a state.
const STATE_TIMEOUT: Duration = Duration::from_secs(120);

/// How often Losant is asked: below its limit of calls, with many devices.
const ASK_INTERVAL: Duration = Duration::from_secs(2);

/// The most devices that are asked.
const DEVICES_MAX: usize = 20;

/// A daemon that runs for the time of the wait.
pub(super) struct TrialRun(Child);

impl TrialRun {
    /// Starts the daemon.
    pub(super) fn start(config: &Path) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find the program")?;
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(config).env_remove("JOURNAL_STREAM");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self(command.spawn().context("cannot start the gateway")?))
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().is_ok_and(|status| status.is_some())
    }
}

impl Drop for TrialRun {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.0);
        // A daemon that has ended needs no signal.
        if kill_process(pid, Signal::TERM).is_ok() {
            self.0.wait().map(drop).unwrap_or_default();
        }
    }
}

/// Prints the first state that arrives after `since`, or why none did.
pub(super) async fn wait(
    config: &Config,
    since: WallTime,
    mut trial: Option<TrialRun>,
) -> anyhow::Result<()> {
    let client = Client::new(config.cloud.clone())?;
    // Only messages may name the device, so all devices are asked.
    let devices: Vec<_> = config.devices.values().take(DEVICES_MAX).collect();
    print("Waiting for the first state in Losant …\n")?;
    let end = Instant::now() + STATE_TIMEOUT;
    while Instant::now() < end {
        for device in devices.iter().copied() {
            if let Some(state) = newest(&client, *device, since).await {
                let name = device_name(*device, config);
                return print(&format!("Losant has the first state of {name}: {state}\n"));
            }
        }
        if trial.as_mut().is_some_and(TrialRun::has_ended) {
            return print("The gateway ended; `tidegate run` shows why.\n");
        }
        tokio::time::sleep(ASK_INTERVAL).await;
    }
    print(&format!(
        "No state arrived within {} s. Does the sensor send? `tidegate status` and \
         `tidegate sensor test` show what arrives.\n",
        STATE_TIMEOUT.as_secs()
    ))
}

/// Returns the data of the newest state since a time, as JSON.
async fn newest(client: &Client, device: DeviceId, since: WallTime) -> Option<String> {
    let (start, end) = (Some(since), Some(SystemClock.read()));
    let history = History { limit: Some(NonZeroU32::MIN), start, end, ..History::default() };
    // A failed call is repeated.
    let states = client.get_state(device, &history).await.ok()?;
    let data = states.first()?.get("data")?;
    Some(
        data.to_string()
            .chars()
            .flat_map(char::escape_debug)
            .collect::<String>()
            .replace("\\\"", "\""),
    )
}
