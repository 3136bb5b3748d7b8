//! Modbus registers: batches reads into requests, decodes responses and encodes writes.
//!
//! The crate does no IO. A bus sends each [`Request`] of [`plan_requests`], passes the
//! [`ResponseData`] to [`decode()`], and writes the result of [`encode()`].

mod encode;
mod plan;
mod register;
mod value;

pub use encode::{EncodeError, encode, parse_bool};
pub use plan::{Request, plan_requests};
pub use register::{Kind, Order, Register, Table};
pub use value::{ResponseData, decode};
