//! The measures of one program: each starts a world of its own and returns its figures.

use std::path::Path;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use tokio::time::Instant;

use crate::figures::float;
use crate::generator::{Load, MESSAGE_BYTES};
use crate::limits::{self, GROUP, Subscriber};
use crate::peer::{Peer, Tools};
use crate::row::Row;
use crate::world::{Broker, World};

/// The messages in flight between the broker and a client, where a measure sets no other number.
const INFLIGHT: u16 = 1_000;

/// The most messages between the generator and the sink, in a measure of throughput.
const LEAD: u64 = 100_000;

/// The most messages of a measure of throughput.
const MESSAGES_MAX: u64 = 10_000_000;

/// The time before a throughput counts.
const START_TIME: Duration = Duration::from_secs(3);

/// The messages per second of a calm plant.
const CALM_RATE: f64 = 50.0;

/// The messages per second while the program is killed.
const KILL_RATE: u32 = 5_000;

/// The back-off of tidegate in an outage. Its default grows to 5 minutes, and would show less.
const SHORT_RETRY: &str = "2 s";

/// The default back-off of tidegate.
pub(crate) const DEFAULT_RETRY: &str = "5 min";

/// The longest time without an arrival at the sink, after which a measure gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// The longest wait until a program has taken in all messages of the broker.
const INTAKE_TIME: Duration = Duration::from_secs(180);

const MB: f64 = 1e6;

/// What is measured together.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Measure {
    /// As many messages as pass.
    Load,
    /// 50 messages a second.
    Calm,
    /// The cloud answers 503 while messages come in, and then while none come in.
    Outage,
    /// The cloud accepts calls again.
    Drain,
    /// The program is killed and started again.
    Kill,
    /// The broker sends one message at a time.
    Serial,
}

/// How long and how much the measures measure.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    /// The time of a throughput.
    pub(crate) time: Duration,
    /// The time of a calm plant, and of an outage without messages.
    pub(crate) calm: Duration,
    /// The messages of an outage.
    pub(crate) messages: u64,
}

/// A row of the table with its figure.
pub(crate) type Figure = (Row, f64);

/// Measures a program once.
///
/// # Errors
///
/// A part of the world does not start, or breaks.
pub(crate) fn peer(
    measure: Measure,
    peer: Peer,
    tools: &Tools,
    directory: &Path,
    extent: Extent,
) -> anyhow::Result<Vec<Figure>> {
    let world = |inflight, retry| World::start(peer, tools, directory, inflight, retry);
    match measure {
        Measure::Load => load(&world(INFLIGHT, DEFAULT_RETRY)?, extent),
        Measure::Calm => calm(&world(INFLIGHT, DEFAULT_RETRY)?, extent),
        Measure::Outage => outage(&world(INFLIGHT, SHORT_RETRY)?, extent),
        Measure::Drain => drain(&world(INFLIGHT, DEFAULT_RETRY)?, extent),
        Measure::Kill => kill(&mut world(INFLIGHT, DEFAULT_RETRY)?, extent),
        Measure::Serial => serial(&world(1, DEFAULT_RETRY)?, extent),
    }
}

/// Measures a bare subscriber once.
pub(crate) fn subscriber(
    measure: Measure,
    directory: &Path,
    extent: Extent,
) -> anyhow::Result<Vec<Figure>> {
    let (row, inflight, unit) = match measure {
        Measure::Load => (Row::Throughput, INFLIGHT, 1e3),
        Measure::Serial => (Row::Serial, 1, 1.0),
        Measure::Calm | Measure::Outage | Measure::Drain | Measure::Kill => return Ok(Vec::new()),
    };
    let broker = Broker::start(directory, inflight)?;
    let subscriber = Subscriber::start(broker.port)?;
    let progress = subscriber.progress();
    let count = || progress.load(std::sync::atomic::Ordering::Relaxed);
    let load = endless(extent.time);
    let generator = crate::generator::Generator::start(broker.port, load, subscriber.progress())?;
    let rate = rate(extent.time, count);
    generator.finish()?;
    subscriber.finish()?;
    Ok(vec![(row, rate / unit)])
}

/// Measures appends with a sync once.
pub(crate) fn appends(
    measure: Measure,
    directory: &Path,
    extent: Extent,
) -> anyhow::Result<Vec<Figure>> {
    let bytes = MESSAGE_BYTES;
    Ok(match measure {
        Measure::Load => {
            let many = limits::append(directory, GROUP * bytes, extent.time)?;
            let messages = float(u64::try_from(GROUP)?);
            let written = many.amplification * float(u64::try_from(bytes)?);
            vec![(Row::Throughput, many.rate * messages / 1e3), (Row::Written, written)]
        }
        Measure::Serial => {
            vec![(Row::Serial, limits::append(directory, bytes, extent.time)?.rate)]
        }
        Measure::Calm | Measure::Outage | Measure::Drain | Measure::Kill => Vec::new(),
    })
}

/// As many messages as the lead allows, for a little longer than a rate is measured.
fn endless(time: Duration) -> Load {
    let time = START_TIME + time + Duration::from_secs(1);
    Load { first: 0, count: MESSAGES_MAX, rate: None, lead: LEAD, time }
}

/// Returns the growth of a count per second, after the start.
fn rate(time: Duration, count: impl Fn() -> u64) -> f64 {
    thread::sleep(START_TIME);
    let (started, before) = (Instant::now(), count());
    thread::sleep(time);
    float(count() - before) / started.elapsed().as_secs_f64()
}

fn load(world: &World, extent: Extent) -> anyhow::Result<Vec<Figure>> {
    let before = world.usage();
    let generator = world.publish(endless(extent.time))?;
    let rate = rate(extent.time, || world.sink.unique());
    let published = generator.finish()?;
    world.sink.wait_for(published, PATIENCE);
    let (after, arrived) = (world.usage(), float(world.sink.unique()).max(1.0));
    let cpu = after.cpu() - before.cpu();
    Ok(vec![
        (Row::Throughput, rate / 1e3),
        (Row::Cpu, cpu / arrived * 1e6),
        (Row::KernelShare, (after.kernel - before.kernel) / cpu.max(0.01) * 100.0),
        (Row::Peak, after.peak / MB),
        (Row::Written, (after.written - before.written) / arrived),
    ])
}

fn calm(world: &World, extent: Extent) -> anyhow::Result<Vec<Figure>> {
    let time = START_TIME + extent.calm;
    let load = Load { first: 0, count: MESSAGES_MAX, rate: Some(CALM_RATE), lead: u64::MAX, time };
    let generator = world.publish(load)?;
    thread::sleep(START_TIME);
    let (started, before) = (Instant::now(), world.usage());
    thread::sleep(extent.calm);
    let (seconds, after) = (started.elapsed().as_secs_f64(), world.usage());
    generator.finish()?;
    Ok(vec![
        (Row::CalmResident, after.resident / MB),
        (Row::CalmCpu, (after.cpu() - before.cpu()) / seconds * 1e3),
        (Row::CalmWritten, (after.written - before.written) / seconds / 1e3),
    ])
}

/// Publishes the messages of an outage, and waits until the program has them all.
fn take_in(world: &World, extent: Extent) -> anyhow::Result<u64> {
    world.sink.set_away(true);
    let time = INTAKE_TIME;
    let load = Load { first: 0, count: extent.messages, rate: None, lead: u64::MAX, time };
    let published = world.publish(load)?.finish()?;
    world.broker.wait_until_idle(INTAKE_TIME);
    Ok(published)
}

fn outage(world: &World, extent: Extent) -> anyhow::Result<Vec<Figure>> {
    let start = world.usage();
    take_in(world, extent)?;
    let before = world.usage();
    thread::sleep(extent.calm);
    let after = world.usage();
    Ok(vec![
        (Row::OutageWritten, (before.written - start.written) / MB),
        (Row::DarkWritten, (after.written - before.written) / MB),
        (Row::DarkCpu, after.cpu() - before.cpu()),
        (Row::DarkResident, after.resident / MB),
    ])
}

fn drain(world: &World, extent: Extent) -> anyhow::Result<Vec<Figure>> {
    let published = take_in(world, extent)?;
    world.sink.set_away(false);
    let started = Instant::now();
    world.sink.wait_for(published, Duration::from_secs(90));
    let seconds = started.elapsed().as_secs_f64();
    let missing = world.sink.missing(0..published);
    Ok(vec![(Row::Drain, seconds), (Row::DrainMissing, float(missing))])
}

fn kill(world: &mut World, extent: Extent) -> anyhow::Result<Vec<Figure>> {
    let seconds = extent.time.as_secs();
    let load = Load {
        first: 0,
        count: u64::from(KILL_RATE) * seconds,
        rate: Some(f64::from(KILL_RATE)),
        lead: u64::MAX,
        time: extent.time * 4,
    };
    let generator = world.publish(load)?;
    thread::sleep(extent.time / 3);
    world.kill_and_restart()?;
    let published = generator.finish()?;
    world.sink.wait_for(published, PATIENCE);
    let lost = world.sink.missing(0..published);
    Ok(vec![(Row::Lost, float(lost)), (Row::Twice, float(world.sink.twice()))])
}

fn serial(world: &World, extent: Extent) -> anyhow::Result<Vec<Figure>> {
    let generator = world.publish(endless(extent.time))?;
    let rate = rate(extent.time, || world.sink.unique());
    generator.finish()?;
    Ok(vec![(Row::Serial, rate)])
}
