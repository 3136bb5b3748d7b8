//! The play: what happens, in which order, and what must have happened before the next act.
//!
//! Acts have a length, so that there is something to see; between them the script waits for facts,
//! never for luck.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

use crate::figures::Figures;
use crate::order::Order;
use crate::stage::Stage;
use crate::tally::Tally;

/// Longest wait for one thing to happen: a start, a reconnection, a drained outbox.
const PATIENCE: Duration = Duration::from_secs(10);
/// States that are in the outbox at any moment while all is well: two seconds of readings.
const IN_FLIGHT_STATES: u64 = 25;

/// Plays all acts; returns the final count.
pub(crate) async fn play(stage: &mut Stage, keep: bool) -> Result<Tally> {
    curtain(stage).await?;
    calm(stage).await?;
    darkness(stage).await?;
    unplugged(stage).await?;
    encore(stage).await?;
    if keep {
        stage.display.print(&stage.addresses());
        stage.display.event("all stays up: press Ctrl-C to end it");
        stage.linger().await?;
    }
    finale(stage).await
}

/// Everybody is there before the first reading is sent, so that none is lost for want of a reader.
async fn curtain(stage: &mut Stage) -> Result<()> {
    let all_there = |now: &Figures| {
        now.status.is_some() && now.probe.attached && now.lamp_listens && now.streams >= 2
    };
    stage.until("the daemon is up and listens for commands", PATIENCE, all_there).await?;
    // The broker does not tell who has subscribed; a moment is ample for a loopback connection.
    stage.pause(Duration::from_secs(1)).await?;
    stage.display.event("the daemon is up; the instruments begin");
    stage.talk(true);
    Ok(())
}

/// All is well: readings arrive in batches, and orders reach the actuators.
async fn calm(stage: &mut Stage) -> Result<()> {
    stage.until("the first readings reach the cloud", PATIENCE, |now| now.stored > 0).await?;
    stage.display.event("the first readings are in the cloud");
    stage.pause(Duration::from_secs(7)).await?;
    orders(stage, &[Order::Fan(80), Order::Lamp(true)]).await?;
    stage.pause(Duration::from_secs(2)).await.map(drop)
}

/// The cloud goes away; the outbox fills. It comes back; the outbox drains.
async fn darkness(stage: &mut Stage) -> Result<()> {
    stage.go_dark(true);
    stage.display.event("the cloud goes dark: readings gather in the outbox");
    stage.pause(Duration::from_secs(7)).await?;
    let order = Order::Fan(35);
    stage.order(order)?;
    stage.display.event(&format!("an application sends {order}, but the gateway cannot hear it"));
    let waiting = stage.pause(Duration::from_secs(3)).await?.backlog().unwrap_or_default();
    stage.go_dark(false);
    let back = Instant::now();
    stage.display.event(&format!("the cloud is back: {waiting} states wait"));
    let drained = |now: &Figures| now.backlog().is_some_and(|states| states <= IN_FLIGHT_STATES);
    stage.until("the outbox drains", PATIENCE, drained).await?;
    let seconds = back.elapsed().as_secs_f64();
    stage.display.event(&format!("{waiting} states drained, {seconds:.1} s after the return"));
    stage.until("the order given in the dark is executed", PATIENCE, Figures::all_executed).await?;
    stage.display.event(&format!("{order}, given in the dark, has reached the fan"));
    stage.pause(Duration::from_secs(2)).await.map(drop)
}

/// The thermometer's plug is pulled in the middle of a line, and put back.
async fn unplugged(stage: &mut Stage) -> Result<()> {
    // Only what was read before counts; what a reader had not yet fetched is lost with the tty.
    stage.thermometer.talk(false);
    stage.until("the thermometer's last line is read", PATIENCE, Figures::probe_is_read).await?;
    stage.thermometer.unplug().await?;
    stage.display.event("the thermometer is unplugged, in the middle of a line");
    stage.pause(Duration::from_secs(2)).await?;
    stage.thermometer.plug()?;
    stage.thermometer.talk(true);
    let lines = stage.thermometer.record().lines;
    let heard = |now: &Figures| now.probe.lines > lines;
    stage.until("the daemon opens the tty again", PATIENCE, heard).await?;
    stage.display.event("it is plugged in again, on another tty, and is heard");
    stage.pause(Duration::from_secs(2)).await.map(drop)
}

/// The actuators obey as before.
async fn encore(stage: &mut Stage) -> Result<()> {
    orders(stage, &[Order::Fan(0), Order::Lamp(false)]).await?;
    stage.pause(Duration::from_secs(3)).await.map(drop)
}

/// Silence, an empty outbox, an orderly end, and the count.
async fn finale(stage: &mut Stage) -> Result<Tally> {
    stage.talk(false);
    stage.display.event("the instruments stop");
    let empty =
        |now: &Figures| now.probe_is_read() && now.house_is_read() && now.backlog() == Some(0);
    let (_, emptied) = stage.watch(PATIENCE, empty).await?;
    if !emptied {
        // Not the end: what is left is counted.
        stage.display.event("the outbox is not empty yet; the count will tell");
    }
    let (status, took) = stage.daemon.stop().await?;
    if !status.success() {
        bail!("the daemon ended with {status} after SIGTERM");
    }
    let seconds = took.as_secs_f64();
    stage.display.event(&format!("the daemon has stopped, {seconds:.1} s after SIGTERM, exit 0"));
    let remains = stage.daemon.outbox().await?;
    Ok(stage.tally(&remains).await)
}

/// Sends orders and waits until the actuators have seen them.
async fn orders(stage: &mut Stage, orders: &[Order]) -> Result<()> {
    let sent = Instant::now();
    for order in orders {
        stage.order(*order)?;
        stage.display.event(&format!("an application sends {order}"));
    }
    stage.until("the actuators act", PATIENCE, Figures::all_executed).await?;
    let seconds = sent.elapsed().as_secs_f64();
    stage.display.event(&format!("the actuators have acted, {seconds:.2} s later"));
    Ok(())
}
