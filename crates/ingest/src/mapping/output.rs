//! The output of the pipeline, and its builder.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::rejection::Rejection;
use super::sample::Sample;
use tidegate_model::{AttributeName, DeviceId, Priority, ReadingTime, Reason, State, Value, Write};

/// The most explained rejections of one message.
const DETAILS_MAX: usize = 8;

/// The most values of one payload. Further ones are rejected.
///
/// A state counts its readings in 16 bits, and a call to Losant has room for 256,000 bytes.
const VALUES_MAX: usize = 16_384;

/// A state for the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The device.
    pub device: DeviceId,
    /// The index of the sensor that created the state; `None` for a state of the gateway.
    pub sensor: Option<usize>,
    /// The priority of the sensor.
    pub priority: Priority,
    /// The state.
    pub state: State,
}

/// A rejection in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectionDetail {
    /// The reason in the ledger.
    pub reason: Reason,
    /// The sensor, the channel and the problem.
    pub text: String,
}

/// The result for one message or one time-out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PipelineOutput {
    /// The values of the message: one state for each device, time and priority.
    pub states: Vec<Outgoing>,
    /// The values that the gateway generated, such as means.
    pub generated: Vec<Outgoing>,
    /// The number of rejected and skipped values by reason.
    pub rejected: BTreeMap<Reason, u64>,
    /// The number of filtered values by reason.
    pub filtered: BTreeMap<Reason, u64>,
    /// The first eight rejections.
    pub details: Vec<RejectionDetail>,
    /// A write to the bus: the rebirth request to a Sparkplug node.
    pub request: Option<Write>,
}

/// Collects the parts of a [`PipelineOutput`].
#[derive(Default)]
pub(super) struct OutputBuilder {
    states: BTreeMap<StateKey, StateData>,
    /// The number of values in `states`.
    values: usize,
    message: usize,
    sensor: usize,
    priority: Priority,
    request: Option<Write>,
    output: PipelineOutput,
}

/// The key of a state. Two messages of a payload with the same time are two states.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct StateKey {
    message: usize,
    device: DeviceId,
    time: ReadingTime,
    priority: Priority,
}

struct StateData {
    /// The index of the sensor that created the state.
    sensor: usize,
    data: BTreeMap<AttributeName, Value>,
}

impl OutputBuilder {
    /// Returns whether there is no state and no count. The request does not matter.
    pub(super) fn is_empty(&self) -> bool {
        self.states.is_empty() && self.output == PipelineOutput::default()
    }

    /// Sets the index of the message in the payload. Sensors that read it share its states.
    pub(super) fn set_message(&mut self, message: usize) {
        self.message = message;
    }

    /// Sets the index and the priority of the sensor for the values that follow.
    pub(super) fn set_sensor(&mut self, sensor: usize, priority: Priority) {
        (self.sensor, self.priority) = (sensor, priority);
    }

    /// Adds a value. Returns an error if the message already has a value of this attribute, or if
    /// the payload has too many values.
    pub(super) fn add_value(
        &mut self,
        device: DeviceId,
        attribute: AttributeName,
        sample: Sample,
    ) -> Result<(), Rejection> {
        if self.values >= VALUES_MAX {
            let detail = format!("the message has more than {VALUES_MAX} values");
            return Err(Rejection::new(Reason::TooLong, detail));
        }
        let Sample { time, value } = sample;
        let key = StateKey { message: self.message, device, time, priority: self.priority };
        let new = || StateData { sensor: self.sensor, data: BTreeMap::new() };
        match self.states.entry(key).or_insert_with(new).data.entry(attribute) {
            Entry::Vacant(free) => {
                free.insert(value);
                self.values += 1;
                Ok(())
            }
            Entry::Occupied(taken) => {
                let attribute = taken.key();
                let detail = format!(
                    "another value of this message is already attribute {attribute} of the same \
                     device; give each channel an attribute of its own"
                );
                Err(Rejection::new(Reason::DuplicateAttribute, detail))
            }
        }
    }

    pub(super) fn add_generated(&mut self, device: DeviceId, state: State) {
        let (sensor, priority) = (Some(self.sensor), self.priority);
        self.output.generated.push(Outgoing { device, sensor, priority, state });
    }

    pub(super) fn add_generated_value(
        &mut self,
        device: DeviceId,
        attribute: AttributeName,
        sample: Sample,
    ) {
        let Sample { time, value } = sample;
        self.add_generated(device, State { time, data: [(attribute, value)].into() });
    }

    pub(super) fn count_filtered(&mut self, reason: Reason) {
        *self.output.filtered.entry(reason).or_default() += 1;
    }

    /// Counts one rejection, with the log lines that explain it.
    pub(super) fn reject(&mut self, reason: Reason, details: impl IntoIterator<Item = String>) {
        *self.output.rejected.entry(reason).or_default() += 1;
        let free = DETAILS_MAX.saturating_sub(self.output.details.len());
        let details = details.into_iter().map(|text| RejectionDetail { reason, text });
        self.output.details.extend(details.take(free));
    }

    /// Sets the request, unless there is one.
    pub(super) fn set_request(&mut self, request: Option<Write>) {
        self.request = self.request.take().or(request);
    }

    pub(super) fn build(mut self) -> PipelineOutput {
        let outgoing = |(key, state): (StateKey, StateData)| Outgoing {
            device: key.device,
            sensor: Some(state.sensor),
            priority: key.priority,
            state: State { time: key.time, data: state.data },
        };
        self.output.states = self.states.into_iter().map(outgoing).collect();
        self.output.request = self.request;
        debug_assert!(self.output.details.len() <= DETAILS_MAX, "too many details");
        self.output
    }
}
