//! The mapping of messages to states: device, attribute, value, and whether to send it.
//!
//! The [`Pipeline`] accounts for all values: each value becomes a part of a state, or is counted
//! with a [`Reason`](tidegate_model::Reason). A message without any value counts as one.

mod attribute_check;
mod attribute_filter;
mod conversion;
mod counter_record;
mod declared_types;
mod derive;
mod filter_table;
mod message_context;
mod message_time;
mod output;
mod pipeline;
mod production;
mod rebirth_requests;
mod rejection;
mod sample;
mod sensor_plan;
mod settings;
mod silence;
mod stats_table;
mod timers;
mod topic_index;
mod window;
mod window_clock;

pub use attribute_check::{AttributeProblem, ProducedAttributes, check_attributes};
pub use attribute_filter::{Deadband, FilterSettings};
pub use conversion::{Conversion, Range};
pub use derive::{Derive, DeriveSettings};
pub use filter_table::CounterRow;
pub use message_time::{TimeNotation, TimePatternError, TimeSource};
pub use output::{Outgoing, PipelineOutput, RejectionDetail};
pub use pipeline::Pipeline;
pub use production::{
    BusSensors, DeviceProduction, KnownChannel, KnownMessage, Produced, Production, RecordedMessage,
};
pub use settings::{AttributeSelector, DeviceSelector, Mapping, Sensor, Source};
pub use silence::StaleSettings;
pub use window::{Aggregate, WindowSettings};
pub use window_clock::WindowStart;

#[cfg(test)]
mod tests;
