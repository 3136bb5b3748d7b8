//! A Losant-compatible Device API on loopback, for development and tests without the cloud.
//!
//! The sandbox shares no code with its clients: it validates bodies against Losant's published
//! schemas (`schemas/`) and implements the documented rules on its own, so that tests find a client
//! that violates them. Where Losant documents nothing, the module documents its choice.
//!
//! ```no_run
//! # async fn example() -> Result<(), tidegate_sandbox::Error> {
//! let sandbox = tidegate_sandbox::Sandbox::start().await?;
//! println!("{} {}", sandbox.url(), sandbox.application_id());
//! # Ok(())
//! # }
//! ```
//!
//! | Module | Owns |
//! | --- | --- |
//! | `sandbox`, `builder`, `settings`, `error` | the handle, its settings and its start |
//! | `devices`, `devices_file` | applications, devices and attributes |
//! | `server`, `connection` | the server thread, the listener, aborting a connection |
//! | `service`, `route`, `access`, `call`, `query`, `reply` | from request to response |
//! | `action`, `handlers`, `shapes` | Losant's actions: table, implementation, JSON |
//! | `cloud`, `store`, `records`, `timeline`, `counters` | the state, behind one mutex |
//! | `event`, `journal` | the state on disk, with a data directory |
//! | `time`, `throttle`, `scopes`, `tokens` | Losant's rules for calls |
//! | `schema`, `value`, `gps`, `payloads` | Losant's rules for data |
//! | `exports`, `export_worker` | CSV exports and their callbacks |
//! | `stream` | server-sent events |
//! | `faults`, `fault_response`, `silent_loss` | fault injection |
//! | `control` | the control interface |

mod access;
mod action;
mod builder;
mod call;
mod clock;
mod cloud;
mod connection;
mod control;
mod counters;
mod devices;
mod devices_file;
mod error;
mod event;
mod export_worker;
mod exports;
mod fault_response;
mod faults;
mod gps;
mod handlers;
mod journal;
mod payloads;
mod query;
mod records;
mod reply;
mod route;
mod sandbox;
mod schema;
mod scopes;
mod server;
mod service;
mod settings;
mod shapes;
mod silent_loss;
mod store;
mod stream;
mod throttle;
mod time;
mod timeline;
mod tokens;
mod value;

pub use action::{Action, UnknownAction};
pub use builder::Builder;
pub use counters::Counters;
pub use devices::{
    API_TOKEN, APPLICATION_ID, ApplicationSpec, Attribute, DataType, Device, DeviceClass,
    DeviceSpec, GATEWAY_ID, GREENHOUSE_ID, Tag, WORKSHOP_ID, default_devices,
};
pub use devices_file::{DevicesFileError, parse_devices_file};
pub use error::Error;
pub use faults::{Fault, Step};
pub use records::{LogEntry, StoredCommand, StoredState};
pub use sandbox::Sandbox;
pub use settings::{JobResponse, TimeForm, UnfitValues};
pub use silent_loss::{LossUnit, LostValue};
