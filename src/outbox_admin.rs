//! What an operator does to the outbox: looks into it, takes out, puts in.
//!
//! One request has one answer, both JSON, so that a running daemon answers over its control socket exactly what the outbox of
//! a stopped one answers to the command line.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::control::{Answer, Method, Routes, StatusCode};
use tidegate_model::{Account, DeviceId, Name, Priority, ReadingTime, Reason, WallTime};
use tidegate_outbox::{Commit, Outbox, Pending, Removed};

/// The bus under which imported states are counted. The configuration has no other of this name.
pub const IMPORT_BUS: &str = "import";

/// The first line of a file with exported states.
pub const FILE_FORMAT: &str = r#"{"format":"tidegate-outbox","version":1}"#;

/// Where the daemon's socket takes requests.
pub const PATH: &str = "/outbox";

/// The most states in one answer or one import.
pub const STATES_MAX: usize = 1_000;

/// The most bytes of states in one answer or one import; a single state may be larger.
pub const BYTES_MAX: usize = 256 << 10;

/// The most readings in one imported state, as many as a state of any sensor here can have.
const READINGS_MAX: usize = u16::MAX as usize;

/// What is asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// How much waits for each device: [`Lane`]s.
    Lanes,
    /// The oldest states of a device above a sequence number: [`Waiting`].
    States {
        /// Whose states.
        device: DeviceId,
        /// Above this one; 0 for all.
        after: u64,
        /// So many at most; never more than [`STATES_MAX`].
        limit: usize,
    },
    /// The rejects, newest first: [`tidegate_outbox::Reject`]s.
    Rejects,
    /// Let these rejects wait again: [`Removed`].
    Requeue {
        /// Their numbers.
        numbers: Vec<u64>,
    },
    /// No longer keep these rejects: [`Removed`].
    Forget {
        /// Their numbers.
        numbers: Vec<u64>,
    },
    /// Drop what waits: [`Removed`].
    Purge {
        /// Whose states.
        device: DeviceId,
        /// From this sequence number.
        first: u64,
        /// Through this one.
        through: u64,
        /// Whether they are safe in a file.
        is_exported: bool,
    },
    /// Let these states wait: [`Removed`], with how many there were.
    Import {
        /// At most [`STATES_MAX`].
        states: Vec<Exported>,
    },
}

/// What waits for one device.
#[derive(Debug, Serialize, Deserialize)]
pub struct Lane {
    /// Which.
    pub device: DeviceId,
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
    /// When the oldest was measured, where that is known.
    pub oldest: Option<WallTime>,
}

/// A state that waits.
#[derive(Debug, Serialize, Deserialize)]
pub struct Waiting {
    /// Its place among the states of its device.
    pub sequence: u64,
    /// When it was measured; none where the time of day was not known then.
    pub time: Option<WallTime>,
    /// The state as it will be sent; without a time its data alone.
    pub state: Box<RawValue>,
}

/// A state in a file: one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// Whose state it is.
    pub device: DeviceId,
    /// The state as Losant takes it.
    pub state: Box<RawValue>,
}

/// Why a line cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not what an export writes.
    #[error("is not {{\"device\": \"…\", \"state\": {{…}}}}: {0}")]
    Form(#[from] serde_json::Error),
    /// The state has no time.
    #[error(
        "the state's time is neither a text such as \"2026-05-01T10:00:00.000Z\" nor milliseconds since 1970"
    )]
    Time,
    /// The state has no value, or too many.
    #[error("the state has {0} values; it must have 1 to {READINGS_MAX}")]
    Readings(usize),
    /// The state is larger than a request may be.
    #[error("the state has {0} bytes; at most {BYTES_MAX} are taken")]
    TooLarge(usize),
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("the request cannot be read: {0}")]
    Request(#[from] serde_json::Error),
    /// A state of an import.
    #[error("state {0} of the import: {1}")]
    State(usize, LineError),
    /// Too many states in one import.
    #[error("at most {STATES_MAX} states can be imported at once")]
    TooMany,
    /// The outbox failed.
    #[error(transparent)]
    Outbox(#[from] tidegate_outbox::Error),
}

/// What the parts of an imported state are read as; more in it is as it may be.
#[derive(Deserialize)]
struct Parts {
    time: serde_json::Value,
    data: BTreeMap<String, serde_json::Value>,
}

impl Exported {
    /// Reads a line of a file.
    ///
    /// # Errors
    /// When it is none that can be imported.
    pub fn parse(line: &str) -> Result<Self, LineError> {
        let exported: Self = serde_json::from_str(line)?;
        exported.pending().map(|_| exported)
    }

    /// The state as the outbox takes it.
    fn pending(&self) -> Result<Pending, LineError> {
        let text = self.state.get();
        if text.len() > BYTES_MAX {
            return Err(LineError::TooLarge(text.len()));
        }
        let parts: Parts = serde_json::from_str(text)?;
        let millis = parts.time.as_i64().map(WallTime::from_millis);
        let time = millis.or_else(|| WallTime::parse(parts.time.as_str()?));
        let readings = parts.data.len();
        let fitting = u16::try_from(readings).ok().filter(|readings| *readings > 0);
        Ok(Pending {
            device: self.device,
            bus: import_bus(),
            moment: ReadingTime::Wall(time.ok_or(LineError::Time)?),
            priority: Priority::Normal,
            readings: fitting.ok_or(LineError::Readings(readings))?,
            json: text.to_owned().into(),
        })
    }
}

/// Answers a request, both in JSON.
///
/// # Errors
/// When the request cannot be read or the outbox fails; nothing is changed then.
pub fn answer(outbox: &Outbox, request: &[u8]) -> Result<String, Error> {
    perform(outbox, &serde_json::from_slice(request)?)
}

/// Does what is asked for, and tells as JSON what came of it.
///
/// # Errors
/// As [`answer`].
pub fn perform(outbox: &Outbox, request: &Request) -> Result<String, Error> {
    let json = match request {
        Request::Lanes => serde_json::to_string(&lanes(outbox)?),
        Request::States { device, after, limit } => {
            serde_json::to_string(&states(outbox, *device, *after, *limit)?)
        }
        Request::Rejects => serde_json::to_string(&outbox.rejects(usize::MAX)?),
        Request::Requeue { numbers } => serde_json::to_string(&outbox.requeue(numbers)?),
        Request::Forget { numbers } => serde_json::to_string(&outbox.forget(numbers)?),
        Request::Purge { device, first, through, is_exported } => {
            let reason = if *is_exported { Reason::Exported } else { Reason::Purged };
            serde_json::to_string(&outbox.purge(*device, (*first, *through), reason)?)
        }
        Request::Import { states } => serde_json::to_string(&import(outbox, states)?),
    };
    Ok(json?)
}

/// Puts the outbox behind `POST /outbox`. `changed` is called when states may wait that did not wait before.
pub fn register(
    outbox: Arc<Outbox>,
    changed: impl Fn() + Send + Sync + 'static,
    routes: &mut Routes,
) {
    let changed = Arc::new(changed);
    routes.put(Method::POST, PATH, move |request| {
        let (outbox, changed) = (Arc::clone(&outbox), Arc::clone(&changed));
        async move {
            let answering = tokio::task::spawn_blocking(move || answer(&outbox, &request.body));
            match answering.await {
                Ok(Ok(json)) => {
                    changed();
                    Answer::text("application/json", json)
                }
                Ok(Err(error @ (Error::Request(_) | Error::State(..) | Error::TooMany))) => {
                    Answer::error(StatusCode::BAD_REQUEST, &error)
                }
                Ok(Err(error @ Error::Outbox(_))) => {
                    Answer::error(StatusCode::SERVICE_UNAVAILABLE, &error)
                }
                Err(error) => Answer::error(StatusCode::INTERNAL_SERVER_ERROR, &error),
            }
        }
    });
}

fn lanes(outbox: &Outbox) -> Result<Vec<Lane>, Error> {
    let waiting = outbox.backlog().devices.into_iter().filter(|(_, amount)| amount.states > 0);
    let lane = |(device, amount): (DeviceId, tidegate_outbox::Amount)| {
        let oldest = outbox.peek(device, 0, 1, 0)?;
        let oldest = oldest.first().and_then(|entry| entry.moment.wall());
        let tidegate_outbox::Amount { states, readings, bytes } = amount;
        Ok(Lane { device, states, readings, bytes, oldest })
    };
    waiting.map(lane).collect()
}

fn states(
    outbox: &Outbox,
    device: DeviceId,
    after: u64,
    limit: usize,
) -> Result<Vec<Waiting>, Error> {
    let entries = outbox.peek(device, after, limit.min(STATES_MAX), BYTES_MAX)?;
    let waiting = |entry: tidegate_outbox::Entry| {
        let text = String::from_utf8_lossy(&entry.json).into_owned();
        let (sequence, time) = (entry.sequence, entry.moment.wall());
        Ok(Waiting { sequence, time, state: RawValue::from_string(text)? })
    };
    entries.into_iter().map(waiting).collect()
}

fn import(outbox: &Outbox, states: &[Exported]) -> Result<Removed, Error> {
    if states.len() > STATES_MAX {
        return Err(Error::TooMany);
    }
    let pending = |(place, state): (usize, &Exported)| {
        state.pending().map_err(|error| Error::State(place + 1, error))
    };
    let states: Vec<_> = states.iter().enumerate().map(pending).collect::<Result<_, _>>()?;
    let readings = states.iter().map(|state| u64::from(state.readings)).sum();
    let imported = Removed { states: states.len() as u64, readings };
    let account = Account { received: readings, outbox_in: readings, ..Account::default() };
    let ledger = BTreeMap::from([(import_bus(), account)]);
    outbox.append(&Commit { states, ledger, ..Commit::default() })?;
    Ok(imported)
}

fn import_bus() -> Name {
    #[expect(clippy::unwrap_used, reason = "a constant that a test reads")]
    IMPORT_BUS.parse().unwrap()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tempfile::TempDir;

    use super::*;
    use tidegate_outbox::Options;

    const DEVICE: &str = "575ecf887ae143cd83dc4aa2";

    fn open() -> (TempDir, Outbox) {
        let directory = TempDir::new().unwrap();
        let options = Options { bytes_max: 1 << 20, ..Options::default() };
        let outbox = Outbox::open(directory.path(), options).unwrap();
        (directory, outbox)
    }

    fn ask(outbox: &Outbox, request: &Value) -> Result<Value, String> {
        let answer = answer(outbox, request.to_string().as_bytes());
        answer.map(|text| serde_json::from_str(&text).unwrap()).map_err(|error| error.to_string())
    }

    fn line(second: u32) -> Value {
        let time = format!("2026-05-01T10:00:{second:02}.000Z");
        json!({"device": DEVICE, "state": {"time": time, "data": {"t": second, "u": true}}})
    }

    #[test]
    fn what_is_imported_waits_is_shown_and_can_be_taken_out() {
        let (_directory, outbox) = open();
        let import = json!({"import": {"states": [line(1), line(2), line(3)]}});
        assert_eq!(ask(&outbox, &import).unwrap(), json!({"states": 3, "readings": 6}));
        let lanes = ask(&outbox, &json!("lanes")).unwrap();
        assert_eq!(lanes[0]["states"], 3);
        assert_eq!(lanes[0]["oldest"], "2026-05-01T10:00:01.000Z");
        let states = json!({"states": {"device": DEVICE, "after": 1, "limit": 1}});
        let states = ask(&outbox, &states).unwrap();
        assert_eq!(states[0]["sequence"], 2);
        assert_eq!(states[0]["state"], line(2)["state"]);
        assert_eq!(states.as_array().unwrap().len(), 1);
        let purge = |first, is_exported| json!({"purge": {"device": DEVICE, "first": first, "through": first, "is_exported": is_exported}});
        ask(&outbox, &purge(1, true)).unwrap();
        ask(&outbox, &purge(3, false)).unwrap();
        let account = &outbox.ledger()[&import_bus()];
        let dropped = BTreeMap::from([(Reason::Purged, 2), (Reason::Exported, 2)]);
        assert_eq!((account.received, &account.dropped, account.waiting()), (6, &dropped, 2));
    }

    #[test]
    fn a_reject_is_shown_with_its_number_and_waits_again() {
        let (_directory, outbox) = open();
        ask(&outbox, &json!({"import": {"states": [line(1)]}})).unwrap();
        outbox.reject(DEVICE.parse().unwrap(), 1, "no", WallTime::from_millis(0)).unwrap();
        let rejects = ask(&outbox, &json!("rejects")).unwrap();
        assert_eq!((&rejects[0]["number"], &rejects[0]["why"]), (&json!(1), &json!("no")));
        ask(&outbox, &json!({"requeue": {"numbers": [1]}})).unwrap();
        assert_eq!(outbox.backlog().total.states, 1);
        assert_eq!(ask(&outbox, &json!("rejects")).unwrap(), json!([]));
    }

    #[test]
    fn a_line_that_is_none_is_refused_with_its_reason_and_nothing_is_imported() {
        let (_directory, outbox) = open();
        let refused = |change: &dyn Fn(&mut Value)| {
            let (mut line, line_two) = (line(1), line(2));
            change(&mut line);
            let import = json!({"import": {"states": [line_two, line]}});
            ask(&outbox, &import).unwrap_err()
        };
        let error = refused(&|line| line["state"]["time"] = "yesterday".into());
        assert!(error.starts_with("state 2 of the import: the state's time is neither"), "{error}");
        let error = refused(&|line| line["state"]["data"] = json!({}));
        assert!(error.contains("has 0 values"), "{error}");
        let error = refused(&|line| line["device"] = "mine".into());
        assert!(error.contains("\"mine\" is not a Losant id"), "{error}");
        assert_eq!(outbox.backlog().total.states, 0);
    }
}
