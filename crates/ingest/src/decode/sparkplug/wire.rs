//! The protobuf messages of Sparkplug B, as far as the gateway reads and writes them.
//!
//! The field numbers are from `sparkplug_b.proto` in Eclipse Tahu.

use prost::{Message, Oneof};

/// Data types of metrics (Sparkplug 3.0, section 6.4.16).
pub(super) mod datatype {
    /// A signed integer of 8 bits.
    pub(crate) const INT8: u32 = 1;
    /// A signed integer of 16 bits.
    pub(crate) const INT16: u32 = 2;
    /// A signed integer of 32 bits.
    pub(crate) const INT32: u32 = 3;
    /// A signed integer of 64 bits.
    pub(crate) const INT64: u32 = 4;
    /// A boolean.
    pub(crate) const BOOLEAN: u32 = 11;
}

/// The payload of a message.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Payload {
    /// The time of sending, in ms since 1970.
    #[prost(uint64, optional, tag = "1")]
    pub(super) timestamp: Option<u64>,
    /// Encoded [`Metric`]s. The decoder decodes them one by one, to need less memory.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) metrics: Vec<Vec<u8>>,
}

/// A named value.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Metric {
    #[prost(string, optional, tag = "1")]
    pub(super) name: Option<String>,
    #[prost(uint64, optional, tag = "2")]
    pub(super) alias: Option<u64>,
    /// The time of the measurement, in ms since 1970.
    #[prost(uint64, optional, tag = "3")]
    pub(super) timestamp: Option<u64>,
    #[prost(uint32, optional, tag = "4")]
    pub(super) datatype: Option<u32>,
    #[prost(bool, optional, tag = "7")]
    pub(super) is_null: Option<bool>,
    #[prost(oneof = "Content", tags = "10, 11, 12, 13, 14, 15, 16, 17, 18, 19")]
    pub(super) content: Option<Content>,
}

impl Metric {
    /// Returns whether the value is an integer, whose sign depends on the data type.
    pub(super) fn is_integer(&self) -> bool {
        matches!(self.content, Some(Content::Int(_) | Content::Long(_)))
    }
}

/// The value of a metric.
#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Content {
    #[prost(uint32, tag = "10")]
    Int(u32),
    #[prost(uint64, tag = "11")]
    Long(u64),
    #[prost(float, tag = "12")]
    Float(f32),
    #[prost(double, tag = "13")]
    Double(f64),
    #[prost(bool, tag = "14")]
    Boolean(bool),
    #[prost(string, tag = "15")]
    Text(String),
    #[prost(bytes, tag = "16")]
    Bytes(Vec<u8>),
    #[prost(bytes, tag = "17")]
    DataSet(Vec<u8>),
    #[prost(bytes, tag = "18")]
    Template(Vec<u8>),
    #[prost(bytes, tag = "19")]
    Extension(Vec<u8>),
}

/// Returns the payload of a rebirth request (Sparkplug 3.0, "Node Control/Rebirth").
///
/// `time_ms` is the time of sending, in ms since 1970.
pub(super) fn rebirth_request(time_ms: u64) -> Vec<u8> {
    let metric = Metric {
        name: Some("Node Control/Rebirth".to_owned()),
        alias: None,
        timestamp: Some(time_ms),
        datatype: Some(datatype::BOOLEAN),
        is_null: None,
        content: Some(Content::Boolean(true)),
    };
    Payload { timestamp: Some(time_ms), metrics: vec![metric.encode_to_vec()] }.encode_to_vec()
}
