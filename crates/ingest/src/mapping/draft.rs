//! What becomes of one reading, in the making.

use std::collections::BTreeMap;

use tidegate_model::{AttributeName, DeviceId, Priority, ReadingTime, Reason, State, Value, Write};

/// How many rejections of one reading are explained.
const DETAILS_MAX: usize = 8;

/// A state on its way to the outbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Whose.
    pub device: DeviceId,
    /// The sensor that began it, by its place in its plan; `None` for what no sensor said.
    pub sensor: Option<usize>,
    /// That of the sensor.
    pub priority: Priority,
    /// The state.
    pub state: State,
}

/// What became of one reading, or of what was due.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapped {
    /// Values of the reading: one state for each device, time and priority.
    pub states: Vec<Outgoing>,
    /// Values that the gateway made, such as means; they count as generated.
    pub made: Vec<Outgoing>,
    /// What could not be sent, by the reason.
    pub rejected: BTreeMap<Reason, u64>,
    /// What is not sent because the configuration asks for less, by the reason.
    pub filtered: BTreeMap<Reason, u64>,
    /// One line for a log for each rejection: sensor, channel, why. The first eight of a reading.
    pub details: Vec<String>,
    /// What is to be written to the bus: the question to a node of Sparkplug B for its births.
    pub request: Option<Write>,
}

/// The values of a state.
type Data = BTreeMap<AttributeName, Value>;

/// A [`Mapped`] in the making.
#[derive(Default)]
pub(super) struct Draft {
    /// By the message of the payload, too: two messages of one time are two states. Each with the sensor that began it.
    data: BTreeMap<(usize, DeviceId, ReadingTime, Priority), (usize, Data)>,
    message: usize,
    sensor: usize,
    priority: Priority,
    request: Option<Write>,
    mapped: Mapped,
}

impl Draft {
    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.mapped == Mapped::default()
    }

    /// Begins the message of this number in the payload. Sensors that read the same one share its states.
    pub(super) fn begin(&mut self, message: usize) {
        self.message = message;
    }

    /// What comes now is of this sensor, by its place in its plan.
    pub(super) fn speak_for(&mut self, sensor: usize, priority: Priority) {
        (self.sensor, self.priority) = (sensor, priority);
    }

    pub(super) fn put(
        &mut self,
        device: DeviceId,
        time: ReadingTime,
        attribute: AttributeName,
        value: Value,
    ) {
        let key = (self.message, device, time, self.priority);
        let begun = || (self.sensor, Data::new());
        self.data.entry(key).or_insert_with(begun).1.insert(attribute, value);
    }

    pub(super) fn make(&mut self, device: DeviceId, state: State) {
        let (sensor, priority) = (Some(self.sensor), self.priority);
        self.mapped.made.push(Outgoing { device, sensor, priority, state });
    }

    pub(super) fn make_value(
        &mut self,
        device: DeviceId,
        time: ReadingTime,
        attribute: AttributeName,
        value: Value,
    ) {
        self.make(device, State { time, data: [(attribute, value)].into() });
    }

    pub(super) fn filter_out(&mut self, reason: Reason) {
        *self.mapped.filtered.entry(reason).or_default() += 1;
    }

    /// Counts one rejection, with one or more lines that explain it.
    pub(super) fn reject(&mut self, reason: Reason, details: impl IntoIterator<Item = String>) {
        *self.mapped.rejected.entry(reason).or_default() += 1;
        let room = DETAILS_MAX.saturating_sub(self.mapped.details.len());
        self.mapped.details.extend(details.into_iter().take(room));
    }

    /// Asks for something beside what becomes of the reading.
    pub(super) fn request(&mut self, request: Option<Write>) {
        self.request = self.request.take().or(request);
    }

    pub(super) fn finish(mut self) -> Mapped {
        let state = |((_, device, time, priority), (sensor, data))| Outgoing {
            device,
            sensor: Some(sensor),
            priority,
            state: State { time, data },
        };
        self.mapped.states = self.data.into_iter().map(state).collect();
        self.mapped.request = self.request;
        self.mapped
    }
}
