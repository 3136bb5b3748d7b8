//! Administration of the outbox: lists, exports, imports, requeues and purges states.
//!
//! Each request has one answer, both in JSON. A running daemon answers over its control socket; the
//! command line answers the same requests itself when the daemon is stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::control::{Answer, Method, Routes, StatusCode};
use tidegate_model::{Account, DeviceId, Name, Priority, ReadingTime, Reason, WallTime};
use tidegate_outbox::{Commit, NewState, Outbox, Removed};

/// The bus in the ledger that counts imported states. The configuration reserves this name.
pub const IMPORT_BUS: &str = "import";

/// The first line of an export file.
pub const FILE_FORMAT: &str = r#"{"format":"tidegate-outbox","version":1}"#;

/// The path of the requests on the control socket.
pub const PATH: &str = "/outbox";

/// The most states in one answer or one import.
pub const STATES_MAX: usize = 1_000;

/// The most bytes of states in one answer or one import; a single state may be larger.
pub const BYTES_MAX: usize = 256 << 10;

/// The most readings in one imported state, the limit of any state in the outbox.
const READINGS_MAX: usize = u16::MAX as usize;

/// A request to the outbox.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Lists the queues that are not empty. Answer: [`QueueInfo`]s.
    Queues,
    /// Lists the oldest states of a device. Answer: [`ListedState`]s.
    States {
        /// The device of the states.
        device: DeviceId,
        /// Only states with a larger sequence number; 0 for all.
        after: u64,
        /// The most states; at most [`STATES_MAX`].
        limit: usize,
    },
    /// Lists the rejects, newest first. Answer: [`tidegate_outbox::Reject`]s.
    Rejects,
    /// Appends rejects to their queues again. Answer: [`Removed`].
    Requeue {
        /// The numbers of the rejects.
        numbers: Vec<u64>,
    },
    /// Deletes rejects. Answer: [`Removed`].
    DeleteRejects {
        /// The numbers of the rejects.
        numbers: Vec<u64>,
    },
    /// Drops queued states. Answer: [`Removed`].
    Purge {
        /// The device of the states.
        device: DeviceId,
        /// The first sequence number.
        first: u64,
        /// The last sequence number.
        last: u64,
        /// Whether the states are in a synced export file; the ledger counts them as such.
        is_exported: bool,
    },
    /// Queues states. Answer: [`Removed`], with the number of imported states.
    Import {
        /// At most [`STATES_MAX`].
        states: Vec<Exported>,
    },
}

/// The size and the age of the queue of one device.
#[derive(Debug, Serialize, Deserialize)]
pub struct QueueInfo {
    /// The device.
    pub device: DeviceId,
    /// States.
    pub states: u64,
    /// Readings in them.
    pub readings: u64,
    /// Bytes of their JSON.
    pub bytes: u64,
    /// The time of the oldest state, if it has a time of day.
    pub oldest: Option<WallTime>,
}

/// A queued state in a list.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListedState {
    /// The sequence number of the state within its device.
    pub sequence: u64,
    /// The time of the measurement; none if the time of day was not known then.
    pub time: Option<WallTime>,
    /// The state as it will be sent; its `data` object alone if it has no time.
    pub state: Box<RawValue>,
}

/// A state in an export file, as one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exported {
    /// The device of the state.
    pub device: DeviceId,
    /// The state in the form of Losant's API.
    pub state: Box<RawValue>,
}

/// Why a line cannot be imported.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// The line does not have the form of an export.
    #[error("not of the form {{\"device\": \"…\", \"state\": {{…}}}}: {0}")]
    Form(#[from] serde_json::Error),
    /// The state has no time.
    #[error(
        "the state's time is neither a text such as \"2026-05-01T10:00:00.000Z\" \
         nor milliseconds since 1970"
    )]
    Time,
    /// The state has no value, or too many.
    #[error("the state has {0} values; it must have 1 to {READINGS_MAX}")]
    Readings(usize),
    /// The state is larger than a request may be.
    #[error("the state has {0} bytes; it may have at most {BYTES_MAX}")]
    TooLarge(usize),
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is malformed.
    #[error("malformed request: {0}")]
    Request(#[from] serde_json::Error),
    /// A state of an import is invalid.
    #[error("state {number} of the import: {error}")]
    State {
        /// The position of the state in the request, from 1.
        number: usize,
        /// The reason.
        error: LineError,
    },
    /// Too many states in one import.
    #[error("at most {STATES_MAX} states can be imported at once")]
    TooMany,
    /// The outbox failed.
    #[error(transparent)]
    Outbox(#[from] tidegate_outbox::Error),
}

/// The members of an imported state that are checked. Other members are kept unchecked.
#[derive(Deserialize)]
struct CheckedMembers {
    time: serde_json::Value,
    data: BTreeMap<String, serde_json::Value>,
}

impl Exported {
    /// Parses a line of an export file.
    ///
    /// # Errors
    /// When the line cannot be imported.
    pub fn parse(line: &str) -> Result<Self, LineError> {
        let exported: Self = serde_json::from_str(line)?;
        exported.new_state().map(|_| exported)
    }

    /// Converts the state to one that the outbox can queue.
    fn new_state(&self) -> Result<NewState, LineError> {
        let text = self.state.get();
        if text.len() > BYTES_MAX {
            return Err(LineError::TooLarge(text.len()));
        }
        let checked: CheckedMembers = serde_json::from_str(text)?;
        let millis = checked.time.as_i64().map(WallTime::from_millis);
        let time = millis.or_else(|| WallTime::parse(checked.time.as_str()?));
        let readings = checked.data.len();
        let fitting = u16::try_from(readings).ok().filter(|readings| *readings > 0);
        Ok(NewState {
            device: self.device,
            bus: import_bus(),
            moment: ReadingTime::Wall(time.ok_or(LineError::Time)?),
            priority: Priority::Normal,
            readings: fitting.ok_or(LineError::Readings(readings))?,
            json: text.to_owned().into(),
        })
    }
}

/// Answers a request in JSON.
///
/// # Errors
/// When the request is invalid or the outbox fails; then nothing is changed.
pub fn answer(outbox: &Outbox, request: &[u8]) -> Result<String, Error> {
    perform(outbox, &serde_json::from_slice(request)?)
}

/// Executes a request and returns the answer as JSON.
///
/// # Errors
/// As [`answer`].
pub fn perform(outbox: &Outbox, request: &Request) -> Result<String, Error> {
    let json = match request {
        Request::Queues => serde_json::to_string(&queues(outbox)?),
        Request::States { device, after, limit } => {
            serde_json::to_string(&states(outbox, *device, *after, *limit)?)
        }
        Request::Rejects => serde_json::to_string(&outbox.rejects(usize::MAX)?),
        Request::Requeue { numbers } => serde_json::to_string(&outbox.requeue(numbers)?),
        Request::DeleteRejects { numbers } => {
            serde_json::to_string(&outbox.delete_rejects(numbers)?)
        }
        Request::Purge { device, first, last, is_exported } => {
            let reason = if *is_exported { Reason::Exported } else { Reason::Purged };
            serde_json::to_string(&outbox.purge(*device, *first, *last, reason)?)
        }
        Request::Import { states } => serde_json::to_string(&import(outbox, states)?),
    };
    Ok(json?)
}

/// Serves requests to the outbox at `POST /outbox`. A request may queue states: calls `prepare`
/// before it, and `changed` after it.
pub fn register(
    outbox: Arc<Outbox>,
    prepare: impl Fn() + Send + Sync + 'static,
    changed: impl Fn() + Send + Sync + 'static,
    routes: &mut Routes,
) {
    let (prepare, changed) = (Arc::new(prepare), Arc::new(changed));
    routes.put(Method::POST, PATH, move |request| {
        let (outbox, changed) = (Arc::clone(&outbox), Arc::clone(&changed));
        prepare();
        async move {
            let answering = tokio::task::spawn_blocking(move || answer(&outbox, &request.body));
            match answering.await {
                Ok(Ok(json)) => {
                    changed();
                    Answer::text("application/json", json)
                }
                Ok(Err(error @ (Error::Request(_) | Error::State { .. } | Error::TooMany))) => {
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

fn queues(outbox: &Outbox) -> Result<Vec<QueueInfo>, Error> {
    let queues = outbox.queue_sizes().devices.into_iter().filter(|(_, amount)| amount.states > 0);
    let info = |(device, amount): (DeviceId, tidegate_outbox::Amount)| {
        let oldest = outbox.peek(device, 0, 1, 0)?;
        let oldest = oldest.first().and_then(|entry| entry.moment.wall());
        let tidegate_outbox::Amount { states, readings, bytes } = amount;
        Ok(QueueInfo { device, states, readings, bytes, oldest })
    };
    queues.map(info).collect()
}

fn states(
    outbox: &Outbox,
    device: DeviceId,
    after: u64,
    limit: usize,
) -> Result<Vec<ListedState>, Error> {
    let states = outbox.peek(device, after, limit.min(STATES_MAX), BYTES_MAX)?;
    let listed = |state: tidegate_outbox::QueuedState| {
        let text = String::from_utf8_lossy(&state.json).into_owned();
        let (sequence, time) = (state.sequence, state.moment.wall());
        Ok(ListedState { sequence, time, state: RawValue::from_string(text)? })
    };
    states.into_iter().map(listed).collect()
}

fn import(outbox: &Outbox, states: &[Exported]) -> Result<Removed, Error> {
    if states.len() > STATES_MAX {
        return Err(Error::TooMany);
    }
    let new_state = |(place, state): (usize, &Exported)| {
        state.new_state().map_err(|error| Error::State { number: place + 1, error })
    };
    let states: Vec<_> = states.iter().enumerate().map(new_state).collect::<Result<_, _>>()?;
    let readings = states.iter().map(|state| u64::from(state.readings)).sum();
    let imported = Removed { states: states.len() as u64, readings };
    let account = Account { received: readings, outbox_in: readings, ..Account::default() };
    let ledger = BTreeMap::from([(import_bus(), account)]);
    outbox.append(&Commit { states, ledger, ..Commit::default() })?;
    Ok(imported)
}

fn import_bus() -> Name {
    #[expect(clippy::unwrap_used, reason = "a constant that the tests parse")]
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

    fn ask(outbox: &Outbox, request: &Value) -> Result<Value, Error> {
        let answer = answer(outbox, request.to_string().as_bytes())?;
        Ok(serde_json::from_str(&answer).unwrap())
    }

    fn line(second: u32) -> Value {
        let time = format!("2026-05-01T10:00:{second:02}.000Z");
        json!({"device": DEVICE, "state": {"time": time, "data": {"t": second, "u": true}}})
    }

    #[test]
    fn imported_states_are_listed_and_purged() {
        let (_directory, outbox) = open();
        let import = json!({"import": {"states": [line(1), line(2), line(3)]}});
        assert_eq!(ask(&outbox, &import).unwrap(), json!({"states": 3, "readings": 6}));
        let queues = ask(&outbox, &json!("queues")).unwrap();
        assert_eq!(queues[0]["states"], 3);
        assert_eq!(queues[0]["oldest"], "2026-05-01T10:00:01.000Z");
        let states = json!({"states": {"device": DEVICE, "after": 1, "limit": 1}});
        let states = ask(&outbox, &states).unwrap();
        assert_eq!(states[0]["sequence"], 2);
        assert_eq!(states[0]["state"], line(2)["state"]);
        assert_eq!(states.as_array().unwrap().len(), 1);
        let purge = |number, is_exported| {
            json!({"purge": {
                "device": DEVICE, "first": number, "last": number, "is_exported": is_exported,
            }})
        };
        ask(&outbox, &purge(1, true)).unwrap();
        ask(&outbox, &purge(3, false)).unwrap();
        let account = &outbox.ledger()[&import_bus()];
        let dropped = BTreeMap::from([(Reason::Purged, 2), (Reason::Exported, 2)]);
        assert_eq!((account.received, &account.dropped, account.waiting()), (6, &dropped, 2));
    }

    #[test]
    fn reject_is_listed_and_requeued() {
        let (_directory, outbox) = open();
        ask(&outbox, &json!({"import": {"states": [line(1)]}})).unwrap();
        outbox.reject(DEVICE.parse().unwrap(), 1, "no", WallTime::from_millis(0)).unwrap();
        let rejects = ask(&outbox, &json!("rejects")).unwrap();
        assert_eq!((&rejects[0]["number"], &rejects[0]["why"]), (&json!(1), &json!("no")));
        ask(&outbox, &json!({"requeue": {"numbers": [1]}})).unwrap();
        assert_eq!(outbox.queue_sizes().total.states, 1);
        assert_eq!(ask(&outbox, &json!("rejects")).unwrap(), json!([]));
    }

    #[test]
    fn invalid_line_rejects_the_whole_import() {
        let (_directory, outbox) = open();
        let refused = |change: &dyn Fn(&mut Value)| {
            let (mut line, line_two) = (line(1), line(2));
            change(&mut line);
            let import = json!({"import": {"states": [line_two, line]}});
            ask(&outbox, &import).unwrap_err().to_string()
        };
        let error = refused(&|line| line["state"]["time"] = "yesterday".into());
        assert!(error.starts_with("state 2 of the import: the state's time is neither"), "{error}");
        let error = refused(&|line| line["state"]["data"] = json!({}));
        assert!(error.contains("has 0 values"), "{error}");
        let error = refused(&|line| line["device"] = "mine".into());
        assert!(error.contains("\"mine\" is not a Losant id"), "{error}");
        assert_eq!(outbox.queue_sizes().total.states, 0);
    }
}
