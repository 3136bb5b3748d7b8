//! The scenario of the demo: its phases, and the conditions between them.
//!
//! Phases last a while, so that a person can follow them. Between phases the scenario waits for
//! conditions and not for fixed times.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

use crate::command::ActuatorCommand;
use crate::report::Report;
use crate::snapshot::Snapshot;
use crate::testbed::Testbed;

/// Longest wait for a condition: a start, a reconnection, a drained outbox.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// States in the outbox during normal operation: two seconds of readings.
const IN_FLIGHT_STATES_MAX: u64 = 25;

/// Runs all phases and returns the final report.
pub(crate) async fn run(testbed: &mut Testbed, keep: bool) -> Result<Report> {
    start_up(testbed).await?;
    normal_operation(testbed).await?;
    outage(testbed).await?;
    unplugged(testbed).await?;
    commands_after_recovery(testbed).await?;
    if keep {
        testbed.display.print(&testbed.addresses());
        testbed.display.event("everything keeps running; press Ctrl-C to end the demo");
        testbed.wait_for_interrupt().await?;
    }
    shut_down(testbed).await
}

/// Waits until all parts are ready before the instruments send, so that no reading is lost.
async fn start_up(testbed: &mut Testbed) -> Result<()> {
    let is_ready = |now: &Snapshot| {
        now.status.is_some() && now.thermometer.tty_open && now.lamp_subscribed && now.streams >= 2
    };
    testbed.wait_until("the daemon is ready for commands", WAIT_MAX, is_ready).await?;
    // The broker does not report its subscribers; a second is ample for a loopback connection.
    testbed.pause(Duration::from_secs(1)).await?;
    testbed.display.event("the daemon is ready; the instruments start");
    testbed.set_sending(true);
    Ok(())
}

/// Readings arrive in batches, and commands reach the actuators.
async fn normal_operation(testbed: &mut Testbed) -> Result<()> {
    let has_readings = |now: &Snapshot| now.stored > 0;
    testbed.wait_until("the first readings reach the cloud", WAIT_MAX, has_readings).await?;
    testbed.display.event("the first readings are in the cloud");
    testbed.pause(Duration::from_secs(7)).await?;
    send_commands(testbed, &[ActuatorCommand::Fan(80), ActuatorCommand::Lamp(true)]).await?;
    testbed.pause(Duration::from_secs(2)).await.map(drop)
}

/// The cloud becomes unreachable and the outbox fills; then the outbox drains.
async fn outage(testbed: &mut Testbed) -> Result<()> {
    testbed.set_outage(true);
    testbed.display.event("the cloud is unreachable: the outbox queues the readings");
    testbed.pause(Duration::from_secs(7)).await?;
    let command = ActuatorCommand::Fan(35);
    testbed.send(command)?;
    let text = format!("an application sends {command}; the gateway cannot receive it yet");
    testbed.display.event(&text);
    let queued = testbed.pause(Duration::from_secs(3)).await?.queued_states().unwrap_or_default();
    testbed.set_outage(false);
    let end = Instant::now();
    testbed.display.event(&format!("the cloud is reachable again: {queued} states are queued"));
    let is_drained =
        |now: &Snapshot| now.queued_states().is_some_and(|states| states <= IN_FLIGHT_STATES_MAX);
    testbed.wait_until("the outbox drains", WAIT_MAX, is_drained).await?;
    let seconds = end.elapsed().as_secs_f64();
    testbed.display.event(&format!("{queued} states sent, {seconds:.1} s after the outage"));
    let is_received = Snapshot::all_commands_received;
    testbed.wait_until("the fan receives the missed command", WAIT_MAX, is_received).await?;
    testbed.display.event(&format!("the fan has received {command}, sent during the outage"));
    testbed.pause(Duration::from_secs(2)).await.map(drop)
}

/// The thermometer is unplugged in the middle of a line, and plugged in again.
async fn unplugged(testbed: &mut Testbed) -> Result<()> {
    // Bytes that the daemon has not read are lost with the tty, so it must read all lines first.
    testbed.thermometer.set_sending(false);
    let is_received = Snapshot::probe_received;
    testbed
        .wait_until("the daemon reads the thermometer's last line", WAIT_MAX, is_received)
        .await?;
    testbed.thermometer.unplug().await?;
    testbed.display.event("the thermometer is unplugged in the middle of a line");
    testbed.pause(Duration::from_secs(2)).await?;
    testbed.thermometer.plug_in()?;
    testbed.thermometer.set_sending(true);
    let lines = testbed.thermometer.activity().lines_sent;
    let has_reopened = |now: &Snapshot| now.thermometer.lines_sent > lines;
    testbed.wait_until("the daemon opens the tty again", WAIT_MAX, has_reopened).await?;
    testbed.display.event("it is plugged in again on another tty, and the daemon reads it");
    testbed.pause(Duration::from_secs(2)).await.map(drop)
}

/// Commands still reach the actuators after the outage and the unplugging.
async fn commands_after_recovery(testbed: &mut Testbed) -> Result<()> {
    send_commands(testbed, &[ActuatorCommand::Fan(0), ActuatorCommand::Lamp(false)]).await?;
    testbed.pause(Duration::from_secs(3)).await.map(drop)
}

/// Stops the instruments, waits for an empty outbox, stops the daemon, and counts.
async fn shut_down(testbed: &mut Testbed) -> Result<Report> {
    testbed.set_sending(false);
    testbed.display.event("the instruments stop");
    let is_empty = |now: &Snapshot| {
        now.probe_received() && now.house_received() && now.queued_states() == Some(0)
    };
    let watched = testbed.watch(WAIT_MAX, is_empty).await?;
    if !watched.condition_met {
        // The report counts the readings in the outbox, so this is not a failure.
        testbed.display.event("the outbox is not empty yet; the report counts its readings");
    }
    let stopped = testbed.daemon.stop().await?;
    if !stopped.status.success() {
        bail!("the daemon exited with {} after SIGTERM", stopped.status);
    }
    let seconds = stopped.duration.as_secs_f64();
    testbed.display.event(&format!("the daemon has stopped, {seconds:.1} s after SIGTERM, exit 0"));
    let remaining = testbed.daemon.outbox_status().await?;
    Ok(testbed.report(&remaining).await)
}

/// Sends commands and waits until the actuators have received them.
async fn send_commands(testbed: &mut Testbed, commands: &[ActuatorCommand]) -> Result<()> {
    let sent = Instant::now();
    for command in commands {
        testbed.send(*command)?;
        testbed.display.event(&format!("an application sends {command}"));
    }
    let are_received = Snapshot::all_commands_received;
    testbed.wait_until("the actuators receive the commands", WAIT_MAX, are_received).await?;
    let seconds = sent.elapsed().as_secs_f64();
    testbed.display.event(&format!("the actuators have received them, {seconds:.2} s later"));
    Ok(())
}
