//! A Losant-compatible Device API on loopback, for development and tests without the cloud.
//!
//! The sandbox shares no code with its clients: it checks bodies against Losant's published schemas
//! (`schemas/`) and applies the documented rules by itself, so that it can disagree with its
//! client. Where Losant documents nothing, the module that chooses says so.
//!
//! ```no_run
//! # async fn demo() -> Result<(), tidegate_sandbox::Error> {
//! let sandbox = tidegate_sandbox::Sandbox::start().await?;
//! println!("{} {}", sandbox.url(), sandbox.application_id());
//! # Ok(())
//! # }
//! ```
//!
//! | Module | Owns |
//! | --- | --- |
//! | [`sandbox`](Sandbox), `builder`, `world`, `world_file` | the handle, its settings, the devices that exist |
//! | `server`, `connection` | the thread, the listener, hanging up on a client |
//! | `route`, `call`, `reply` | path to action; the checks before an action; what is answered |
//! | `actions` | the table of Losant's actions, and one file for each |
//! | `store`, `event`, `journal` | states, commands, connection log, tokens: all behind one mutex; on disk if asked |
//! | `time`, `throttle`, `scopes`, `schema`, `value`, `gps`, `payloads` | the rules, pure |
//! | `exports` | the CSV files of export, and the calls that announce them |
//! | `stream`, `faults`, `trouble`, `control` | server-sent events; trouble on demand; `/sandbox/…` |

mod access;
mod actions;
mod builder;
mod call;
mod clock;
mod cloud;
mod connection;
mod control;
mod counters;
mod event;
mod exports;
mod faults;
mod gps;
mod journal;
mod payloads;
mod query;
mod reply;
mod route;
mod sandbox;
mod schema;
mod scopes;
mod server;
mod store;
mod stream;
mod throttle;
mod time;
mod timeline;
mod tokens;
mod trouble;
mod value;
mod world;
mod world_file;

pub use actions::{Action, UnknownAction};
pub use builder::{Builder, Error, JobAnswer, TimeForm, Undeclared};
pub use counters::Counters;
pub use faults::{Fault, Step};
pub use sandbox::Sandbox;
pub use store::{LogEntry, StoredCommand, StoredState};
pub use world::{
    API_TOKEN, APPLICATION_ID, ApplicationSpec, Attribute, DataType, Device, DeviceClass,
    DeviceSpec, GATEWAY_ID, GREENHOUSE_ID, Tag, WORKSHOP_ID, default_devices,
};
pub use world_file::{WorldError, parse_world};
