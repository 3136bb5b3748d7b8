//! `tidegate audit`: reads the recorded states back from Losant and compares them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::check::DeviceNames;
use super::outbox::{DeviceChoice, OutboxAccess};
use super::{ConfigArgs, EXIT_FAILURE, Unavailable, print};
use crate::tasks::audit::read_states;
use tidegate_config::Config;
use tidegate_delivery::audit::{
    Difference, DifferenceReason, Findings, READ_CALLS_MAX, ReadBack, Sample,
};
use tidegate_losant::query::Shape;
use tidegate_losant::{Client, Error};
use tidegate_model::{DeclaredAttributes, DeviceId};
use tidegate_runtime::clock::SystemClock;

/// The most differences that the text lists for each device.
const LISTED_MAX: usize = 20;

/// The pause between two calls.
const CALL_PAUSE: Duration = Duration::from_millis(200);

/// Options of `tidegate audit`.
#[derive(Debug, Args)]
#[command(after_help = "\
The daemon records up to 100 states of each device in each audit.interval, and keeps 8 such samples.
Exit codes: 0 Losant has all of them, 1 there are differences, 69 nothing is recorded or no answer,
77 permission denied, 78 the configuration cannot be read.")]
pub(super) struct AuditArgs {
    #[command(flatten)]
    config: ConfigArgs,
    #[command(flatten)]
    choice: DeviceChoice,
    /// Compare only states of the last time, such as 1h; default: all that are recorded
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    window: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The result for one device.
#[derive(Debug, Default, Serialize)]
struct DeviceResult {
    /// The name in the configuration, or the id.
    name: String,
    samples: u64,
    states: u64,
    values: u64,
    unchecked_states: u64,
    differences: Vec<Difference>,
    /// Why the states cannot be read.
    error: Option<String>,
}

/// Compares, prints the result, and returns it as an exit code.
pub(super) fn audit(args: &AuditArgs) -> anyhow::Result<ExitCode> {
    let config = args.config.load()?;
    let chosen = args.choice.id(&config)?;
    let samples = OutboxAccess::open(&config)?.samples()?;
    let samples = selected(samples, chosen, args.window);
    if samples.is_empty() {
        let text = "nothing to compare: no confirmed states are recorded for this choice; see \
                    audit.enabled and audit.interval";
        return Err(Unavailable(text.to_owned()).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let (results, error) = runtime.block_on(compare_all(&config, samples))?;
    let names = DeviceNames::of(&config);
    let results: Vec<_> = results
        .into_iter()
        .map(|(id, one)| (id, DeviceResult { name: names.name(id), ..one }))
        .collect();
    if args.json {
        let devices: BTreeMap<_, _> =
            results.iter().map(|(id, one)| (id.to_string(), one)).collect();
        let document = serde_json::json!({ "devices": devices });
        print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
    } else {
        let mut page = String::new();
        for (_, result) in &results {
            describe(&mut page, result)?;
        }
        print(&page)?;
    }
    match error {
        _ if results.iter().any(|(_, one)| !one.differences.is_empty()) => {
            Ok(ExitCode::from(EXIT_FAILURE))
        }
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Returns the samples of the chosen device with the states of the window.
fn selected(
    samples: Vec<Sample>,
    chosen: Option<DeviceId>,
    window: Option<Duration>,
) -> Vec<Sample> {
    let start = window.map(|window| SystemClock.read().minus(window));
    let samples = samples.into_iter();
    let samples = samples.filter(|sample| chosen.is_none_or(|one| one == sample.device()));
    let cut = samples.map(|mut sample| {
        if let Some(start) = start {
            sample.remove_before(start);
        }
        sample
    });
    cut.filter(|sample| !sample.is_empty()).collect()
}

/// Compares all samples. Returns also the first error that concerns a device.
async fn compare_all(
    config: &Config,
    samples: Vec<Sample>,
) -> anyhow::Result<(BTreeMap<DeviceId, DeviceResult>, Option<Error>)> {
    let client = Client::new(config.cloud.clone())?;
    client.application().await?;
    let mut results = BTreeMap::<DeviceId, DeviceResult>::new();
    let mut first_error = None;
    for sample in samples {
        let result = results.entry(sample.device()).or_default();
        if result.error.is_some() {
            continue;
        }
        match compare(&client, Arc::new(sample), config.audit.delay).await {
            Ok(findings) => {
                result.samples += 1;
                result.states += findings.states;
                result.values += findings.values;
                result.unchecked_states += findings.unchecked_states;
                result.differences.extend(findings.differences);
            }
            Err(error) => {
                result.error = Some(error.to_string());
                first_error = first_error.or(Some(error));
            }
        }
    }
    Ok((results, first_error))
}

/// Compares a sample. A difference is read again once `delay` has passed since the confirmation,
/// because Losant documents no time within which a state can be read.
async fn compare(client: &Client, sample: Arc<Sample>, delay: Duration) -> Result<Findings, Error> {
    let findings = read_back(client, &sample, None).await?;
    if findings.differences.is_empty() {
        return Ok(findings);
    }
    let settled = sample.confirmed().plus(delay);
    tokio::time::sleep(settled.since(SystemClock.read()).min(delay)).await;
    // A device that Losant does not show has its differences without their reasons.
    let declared = declared(client, sample.device()).await.ok();
    read_back(client, &sample, declared.as_ref()).await
}

async fn read_back(
    client: &Client,
    sample: &Arc<Sample>,
    declared: Option<&DeclaredAttributes>,
) -> Result<Findings, Error> {
    let mut read = ReadBack::new(Arc::clone(sample));
    for _ in 0..READ_CALLS_MAX {
        let Some(range) = read.next_range() else { break };
        let states = read_states(client, sample.device(), range).await?;
        if read.add(states).is_err() {
            break;
        }
        tokio::time::sleep(CALL_PAUSE).await;
    }
    Ok(read.compare(declared, SystemClock.read()))
}

async fn declared(client: &Client, device: DeviceId) -> Result<DeclaredAttributes, Error> {
    let shape = Shape { exclude_connection_info: true, ..Shape::default() };
    Ok(client.get(device, shape).await?.declared_attributes())
}

fn describe(page: &mut String, result: &DeviceResult) -> std::fmt::Result {
    let DeviceResult { name, states, values, differences, unchecked_states, .. } = result;
    if let Some(error) = &result.error {
        writeln!(page, "{name}: cannot read its states: {error}")?;
    }
    if *states > 0 {
        let verdict = match differences.len() {
            0 => "Losant has all of them".to_owned(),
            count => format!("{count} differ"),
        };
        writeln!(page, "{name}: {states} states with {values} values: {verdict}")?;
    }
    if *unchecked_states > 0 {
        writeln!(
            page,
            "  {unchecked_states} states not compared: others write too many in between"
        )?;
    }
    let mut subjects = BTreeMap::<_, usize>::new();
    for one in differences {
        *subjects.entry((&one.attribute, one.reason)).or_default() += 1;
    }
    for ((attribute, reason), count) in subjects {
        let advice = DifferenceReason::advice(reason);
        writeln!(page, "  {attribute}: {count} {reason}: {advice}")?;
    }
    for one in differences.iter().take(LISTED_MAX) {
        let has = one.read.as_deref().unwrap_or("nothing");
        let Difference { time, attribute, sent, .. } = one;
        writeln!(page, "    {time} {attribute}: sent {sent}, Losant has {has}")?;
    }
    let more = differences.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        writeln!(page, "    … and {more} more; --json lists all")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_model::WallTime;

    #[test]
    fn window_selects_recent_states() {
        let now = SystemClock.read();
        let mut sample = Sample::new(DeviceId::from([1; 12]));
        for minutes in [5, 90] {
            let time = now.minus(Duration::from_secs(60 * minutes));
            let element = format!(r#"{{"time":"{time}","data":{{"a":1}}}}"#);
            sample.add(element.as_bytes(), now, usize::MAX);
        }
        let states = |device: u8, window: Option<u64>| {
            let chosen = Some(DeviceId::from([device; 12]));
            let window = window.map(|minutes| Duration::from_secs(60 * minutes));
            let selected = selected(vec![sample.clone()], chosen, window);
            selected.iter().map(|sample| sample.times().count()).sum::<usize>()
        };
        assert_eq!((states(1, None), states(1, Some(60)), states(1, Some(1))), (2, 1, 0));
        assert_eq!(states(2, None), 0);
    }

    #[test]
    fn page_lists_differences_by_attribute_and_reason() {
        let difference = |n: i64| Difference {
            time: WallTime::from_millis(1_777_629_600_000 + n),
            attribute: "t".parse().unwrap(),
            kind: tidegate_delivery::audit::DifferenceKind::MissingValue,
            reason: DifferenceReason::Lost,
            sent: n.to_string(),
            read: None,
        };
        let mut result = DeviceResult {
            name: "gateway".to_owned(),
            states: 40,
            values: 40,
            differences: (0..22).map(difference).collect(),
            ..DeviceResult::default()
        };
        let page = |result: &DeviceResult| {
            let mut page = String::new();
            describe(&mut page, result).unwrap();
            page
        };
        let text = page(&result);
        assert!(text.starts_with("gateway: 40 states with 40 values: 22 differ\n  t: 22 lost: "));
        assert!(text.contains("    2026-05-01T10:00:00.000Z t: sent 0, Losant has nothing\n"));
        assert!(text.ends_with("… and 2 more; --json lists all\n"), "{text}");
        result.differences.clear();
        assert_eq!(page(&result), "gateway: 40 states with 40 values: Losant has all of them\n");
    }
}
