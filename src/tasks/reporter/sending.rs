//! Makes the calls, and deletes, keeps or rejects their states.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use tracing::error;

use super::batch::Batch;
use super::kept::Kept;
use super::{Loaded, ReporterTask, Sent, Shared, now};
use crate::status::DeviceRefusal;
use tidegate_delivery::reporter::{Call, Disposal, FinishedCall, Reporter};
use tidegate_delivery::response::{CallOutcome, RequestKind, ResponseClass};
use tidegate_losant::Success;
use tidegate_losant::body::StatesJson;
use tidegate_model::{DeviceId, WallTime};
use tidegate_outbox::Error;
use tidegate_runtime::clock::Clock as _;
use tidegate_runtime::liveness;

impl ReporterTask {
    /// Makes a call, records its end in the file of calls, and deletes or rejects its states.
    pub(super) async fn send(&self, loaded: Loaded, shared: &Shared) -> Sent {
        let Loaded { call, mut batch, declaration, limits } = loaded;
        let is_made = batch.states > 0 && batch.failure.is_none();
        let outcome = match batch.failure.take() {
            Some(outcome) => outcome,
            None if batch.states == 0 => {
                CallOutcome::NotMade { message: "no states to send".to_owned() }
            }
            None => self.make(call.device, &batch).await,
        };
        let finished = FinishedCall {
            states: batch.states,
            last: batch.last,
            response: ResponseClass::of(RequestKind::Action, &outcome),
            may_count: is_made && outcome.may_count(),
        };
        if finished.disposal() == Disposal::Delete {
            self.count_stored(&batch);
            self.audit.record(call.device, || batch.elements(), &*self.clock);
        }
        let ended = is_made.then_some(finished.may_count);
        let done = self.settle(&finished, &batch, &call, &outcome, ended, shared).await;
        let is_kept = finished.disposal() == Disposal::Keep && batch.states > 0;
        let kept = is_kept.then(|| Kept::new(call, limits, declaration, batch));
        Sent { call, outcome, finished, kept, done }
    }

    async fn make(&self, device: DeviceId, batch: &Batch) -> CallOutcome {
        let sending = self.client.send_state(device, StatesJson::from_list(batch.body.clone()));
        match liveness::with_deadline(liveness::CALL_MAX, "sending states", sending).await {
            Ok(Success) => CallOutcome::Answer {
                status: 200,
                success: true,
                message: String::new(),
                retry_after: None,
            },
            Err(error) => error.outcome(),
        }
    }

    /// Records the end of a call in the file of calls, and deletes or rejects its states.
    ///
    /// `ended` is `None` if the call was not made, else whether Losant may count it.
    async fn settle(
        &self,
        finished: &FinishedCall,
        batch: &Batch,
        call: &Call,
        outcome: &CallOutcome,
        ended: Option<bool>,
        shared: &Shared,
    ) -> Result<(), Error> {
        let (device, disposal) = (call.device, finished.disposal());
        if ended.is_none() && disposal == Disposal::Keep {
            return Ok(());
        }
        let (first, last, ignored) = (batch.first, batch.last, batch.ignored.clone());
        let time = self.clock.wall_time().unwrap_or(WallTime::EPOCH);
        let why = outcome.message().to_owned();
        let (outbox, calls) = (Arc::clone(&self.outbox), Arc::clone(&shared.calls));
        let work = move || {
            if let Some(may_count) = ended {
                let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
                calls.end(device, may_count);
            }
            match disposal {
                Disposal::Delete => outbox.ack_except(device, first, last, &ignored).map(drop),
                Disposal::Reject => outbox.reject(device, first, &why, time),
                Disposal::Keep => Ok(()),
            }
        };
        shared.disk.run(work).await
    }

    /// Passes the result of a call to the machine and to the status.
    pub(super) fn handle_sent(&self, machine: &mut Reporter, sent: &Sent) {
        let (device, response) = (sent.call.device, &sent.finished.response);
        machine.handle_result(&sent.call, &sent.finished, now());
        match &sent.done {
            Ok(()) if sent.finished.disposal() == Disposal::Keep => {}
            Ok(()) => self.confirmed.notify_one(),
            Err(Error::TooManyRanges) => machine.handle_scattered(device, now()),
            Err(error) => {
                error!(%error, device_id = %device, "cannot update the outbox; these states are \
                    sent again");
            }
        }
        self.record_refusal(device, response, &sent.outcome);
        if sent.finished.states > 0 {
            self.status.set_cloud_link(machine.online(), sent.outcome.message());
        }
        self.status.record_throttle(device, machine.throttle(device).cloned().unwrap_or_default());
    }

    /// Records whether Losant refuses a device.
    fn record_refusal(&self, device: DeviceId, response: &ResponseClass, outcome: &CallOutcome) {
        let refusal = match response {
            ResponseClass::Blocked => {
                let status = match outcome {
                    CallOutcome::Answer { status, .. } => Some(*status),
                    CallOutcome::NoAnswer { .. } | CallOutcome::NotMade { .. } => None,
                };
                Some(DeviceRefusal { status, message: outcome.message().to_owned() })
            }
            ResponseClass::Stored | ResponseClass::TooLarge | ResponseClass::Malformed => None,
            ResponseClass::Throttled(_)
            | ResponseClass::Unauthorized
            | ResponseClass::ServerError(_)
            | ResponseClass::Offline => return,
        };
        self.status.set_device_refusal(device, refusal);
    }

    fn count_stored(&self, batch: &Batch) {
        let ignored: u64 = batch.ignored.values().flat_map(BTreeMap::values).sum();
        let readings = batch.readings.saturating_sub(ignored);
        self.status.record_delivery(batch.states as u64, readings);
    }
}
