//! Reads samples of confirmed states back from Losant, and reports what differs.
//!
//! `sendState` answers 200 also for values that Losant ignores, so only a reading shows what is
//! stored. The task also keeps the samples in a table of the outbox, from which `tidegate audit`
//! and the next run can compare.

mod records;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::control::{Answer, Method, Routes, StatusCode};
use crate::declarations::DeclarationReader;
use crate::status::StatusRegistry;
use records::Records;
use tidegate_delivery::audit::{
    Action, Auditor, DifferenceReason, Failure, READ_STATES_MAX, Read, ReadRange, ReadState,
    Report, Sample, Settings,
};
use tidegate_losant::query::{History, SortDirection};
use tidegate_losant::{Client, Error};
use tidegate_model::{AttributeName, DeviceId, WallTime};
use tidegate_outbox::Outbox;
use tidegate_runtime::clock::{Clock, TrustedClock};
use tidegate_runtime::liveness;
use tidegate_runtime::wait::{self, blocking};
use tidegate_timing::log_limit::LogLimit;
use tidegate_timing::machine::Machine as _;

pub use records::{TABLE, stored};

/// The path of the samples on the control socket.
pub const PATH: &str = "/audit";

/// Takes the states that Losant confirmed. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AuditRecorder(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    auditor: Mutex<Auditor>,
    changed: Notify,
}

impl AuditRecorder {
    /// Creates a recorder without samples.
    pub fn new(settings: Settings) -> Self {
        let auditor = Mutex::new(Auditor::new(settings, now()));
        Self(Arc::new(Shared { auditor, changed: Notify::new() }))
    }

    /// Records the elements of a call that Losant confirmed, if the audit wants them.
    pub fn record(
        &self,
        device: DeviceId,
        elements: impl FnOnce() -> Vec<Bytes>,
        clock: &dyn Clock,
    ) {
        let mut auditor = self.auditor();
        if auditor.is_sampling(device, now())
            && let Some(confirmed) = clock.cloud_time().or_else(|| clock.wall_time())
        {
            auditor.handle_confirmed(device, &elements(), confirmed, now());
            self.0.changed.notify_one();
        }
    }

    /// Changes the settings.
    pub fn set(&self, settings: Settings) {
        self.auditor().handle_settings(settings, now());
        self.0.changed.notify_one();
    }

    fn auditor(&self) -> MutexGuard<'_, Auditor> {
        self.0.auditor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The samples that a running daemon has, in memory and on disk: the answer of [`PATH`].
#[derive(Debug, Serialize, Deserialize)]
pub struct Recorded {
    /// The records of the samples.
    pub samples: Vec<Box<RawValue>>,
}

impl Recorded {
    /// Decodes the samples.
    pub fn decode(&self) -> Vec<Sample> {
        self.samples.iter().filter_map(|one| Sample::decode(one.get().as_bytes())).collect()
    }
}

/// Registers the path of the samples. Only the socket serves it: the samples contain values.
pub fn register(recorder: &AuditRecorder, outbox: &Arc<Outbox>, routes: &mut Routes) {
    let (recorder, outbox) = (recorder.clone(), Arc::clone(outbox));
    routes.put(Method::GET, PATH, move |_| {
        let (recorder, outbox) = (recorder.clone(), Arc::clone(&outbox));
        async move {
            let rows = match blocking(move || outbox.rows(TABLE)).await {
                Ok(rows) => rows,
                Err(error) => return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error),
            };
            let open: Vec<_> = recorder.auditor().open_samples().map(Sample::encode).collect();
            let records = rows.into_iter().map(|(_, record)| record).chain(open);
            let text = records.filter_map(|record| String::from_utf8(record).ok());
            let samples = text.filter_map(|text| RawValue::from_string(text).ok()).collect();
            Answer::json(&Recorded { samples })
        }
    });
}

/// Returns the query of a call, oldest state first.
pub fn query(range: ReadRange) -> History {
    let limit = u32::try_from(READ_STATES_MAX).ok().and_then(NonZeroU32::new);
    History {
        limit,
        sort_direction: Some(SortDirection::Asc),
        start: Some(range.start),
        end: Some(range.end),
        ..History::default()
    }
}

/// Calls `getState` and parses its states.
///
/// # Errors
/// If the call fails.
pub async fn read_states(
    client: &Client,
    device: DeviceId,
    range: ReadRange,
) -> Result<Vec<ReadState>, Error> {
    let states = client.get_state(device, &query(range)).await?;
    Ok(states.iter().filter_map(ReadState::parse).collect())
}

/// The task of the audit.
pub struct AuditTask {
    /// The connection to Losant.
    pub client: Arc<Client>,
    /// Reads the attributes that devices declare.
    pub reader: Arc<DeclarationReader>,
    /// Keeps the samples.
    pub outbox: Arc<Outbox>,
    /// The time of day.
    pub clock: Arc<TrustedClock>,
    /// Receives the confirmed states.
    pub recorder: AuditRecorder,
    /// Receives the results.
    pub status: StatusRegistry,
    /// Stops all readings.
    pub stop: CancellationToken,
    /// Cancelled when the reporter has ended. No more states are confirmed then.
    pub reported: CancellationToken,
}

/// The differences that are logged as one.
type Subject = (DeviceId, AttributeName, DifferenceReason);

impl AuditTask {
    /// Runs until the reporter has ended, and saves the open samples.
    pub async fn run(self) {
        let mut records = self.load().await;
        let mut logged = LogLimit::default();
        while !self.stop.is_cancelled() {
            let (action, timeout) = self.poll();
            if let Some(action) = action {
                self.act(action, &mut records, &mut logged).await;
                continue;
            }
            tokio::select! {
                () = self.recorder.0.changed.notified() => {}
                () = wait::sleep_until(timeout) => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.reported.cancelled().await;
        self.recorder.auditor().handle_stop(now());
        while let (Some(action), _) = self.poll() {
            if let Action::Save(sample) = action {
                self.save(&sample, &mut records).await;
            }
        }
    }

    /// Reads the table, and continues with the last sample of each device.
    async fn load(&self) -> Records {
        let outbox = Arc::clone(&self.outbox);
        let rows = blocking(move || outbox.rows(TABLE)).await;
        let rows = rows.inspect_err(|error| warn!(%error, "cannot read the samples of the audit"));
        let rows = rows.unwrap_or_default();
        let records = Records::new(&rows);
        let configured: BTreeSet<_> = self.status.device_ids();
        let mut last = BTreeMap::<DeviceId, Sample>::new();
        for sample in stored(rows) {
            let device = sample.device();
            let is_newer =
                last.get(&device).is_none_or(|other| other.confirmed() <= sample.confirmed());
            if configured.contains(&device) && is_newer {
                last.insert(device, sample);
            }
        }
        let mut auditor = self.recorder.auditor();
        for sample in last.into_values() {
            auditor.resume(sample, now());
        }
        records
    }

    /// Returns the next action, or else the instant of the next one.
    fn poll(&self) -> (Option<Action>, Option<Instant>) {
        let mut auditor = self.recorder.auditor();
        auditor.handle_timeout(now());
        (auditor.poll_action(), auditor.poll_timeout().map(Instant::from_std))
    }

    async fn act(&self, action: Action, records: &mut Records, logged: &mut LogLimit<Subject>) {
        match action {
            Action::Save(sample) => self.save(&sample, records).await,
            Action::Read(read) => {
                self.stop.run_until_cancelled(self.read(&read)).await;
            }
            Action::Report(report) => {
                self.status.record_audit(&report);
                log(&report, logged);
            }
        }
    }

    /// Writes a sample without a sync: a power cut costs at most a sample.
    async fn save(&self, sample: &Sample, records: &mut Records) {
        let commit = records.add(sample);
        let outbox = Arc::clone(&self.outbox);
        let saving = blocking(move || outbox.append_unsynced(&commit));
        let saving = liveness::with_deadline(liveness::DISK_MAX, "keeping a sample", saving);
        if let Err(error) = saving.await {
            debug!(%error, "cannot keep a sample of the audit");
        }
    }

    async fn read(&self, read: &Read) {
        let device = read.device;
        let reading = read_states(&self.client, device, read.range);
        let reading = liveness::with_deadline(liveness::CALL_MAX, "reading states back", reading);
        match reading.await {
            Ok(states) => {
                let declared = if read.is_second {
                    // The attributes may have changed since the last comparison.
                    self.reader.read(device).await.ok()
                } else {
                    self.reader.declaration(device).map(|known| known.attributes)
                };
                let time = self.clock.wall_time().unwrap_or(WallTime::EPOCH);
                let mut auditor = self.recorder.auditor();
                auditor.handle_states(read, states, declared.as_deref(), time, now());
            }
            Err(error) => {
                debug!(%error, device_id = %device, "cannot read states back");
                let failure = failure(&error);
                if failure == Failure::Permanent {
                    self.status.record_audit_error(device, &error);
                }
                self.recorder.auditor().handle_failure(read, failure, now());
            }
        }
    }
}

fn failure(error: &Error) -> Failure {
    if error.response_class().is_temporary() { Failure::Temporary } else { Failure::Permanent }
}

/// Logs the differences of a sample by attribute and reason.
fn log(report: &Report, logged: &mut LogLimit<Subject>) {
    let (device, findings) = (report.device, &report.findings);
    debug!(
        device_id = %device,
        states = findings.states,
        values = findings.values,
        differences = findings.differences.len(),
        "states read back"
    );
    if findings.unchecked_states > 0 {
        info!(device_id = %device, states = findings.unchecked_states, "others write too many \
            states between those of the sample; the audit compared a part");
    }
    let mut subjects = BTreeMap::<_, (u64, WallTime)>::new();
    for one in &findings.differences {
        let subject = subjects.entry((&one.attribute, one.reason)).or_insert((0, one.time));
        subject.0 += 1;
    }
    for ((attribute, reason), (values, time)) in subjects {
        if logged.admit((device, attribute.clone(), reason), now()) {
            warn!(
                device_id = %device, %attribute, %reason, values, first = %time,
                advice = reason.advice(),
                "Losant does not have values that it confirmed"
            );
        }
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
