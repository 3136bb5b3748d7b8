//! The queue of exports, and the finished exports that clients can download below `/exports/`.
//!
//! A device has at most one export in progress. The module `export_worker` writes the files.

mod job;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

use crate::reply::ApiError;

pub(crate) use job::{CSV_FILE, Job, Options, PATH};

/// All exports of a sandbox.
#[derive(Debug)]
pub(crate) struct Exports {
    sender: mpsc::Sender<Job>,
    /// Locked by the worker of the running server.
    pub(crate) receiver: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The ids of the devices that have an export in progress.
    active: BTreeSet<String>,
    finished: VecDeque<FinishedExport>,
}

/// The files of a finished export, by name.
#[derive(Debug)]
pub(crate) struct FinishedExport {
    pub(crate) id: String,
    pub(crate) files: BTreeMap<String, String>,
}

impl Default for Exports {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUED_MAX);
        Self { sender, receiver: receiver.into(), state: Mutex::default() }
    }
}

impl Exports {
    /// Queues an export.
    ///
    /// # Errors
    ///
    /// 429 when an export of the same device is in progress (rest-api/overview, "Throttles And
    /// Limits"), 503 when the queue is full.
    pub(crate) fn enqueue(&self, job: Job) -> Result<(), ApiError> {
        let mut state = self.state();
        if state.active.contains(&job.device_id) {
            return Err(ApiError::throttled("an export of this device is in progress"));
        }
        let device_id = job.device_id.clone();
        let full = |_| ApiError::unavailable("too many exports are queued");
        self.sender.try_send(job).map_err(full)?;
        state.active.insert(device_id);
        Ok(())
    }

    /// Returns the paths of the CSV files of all finished exports, oldest first.
    pub(crate) fn paths(&self) -> Vec<String> {
        let state = self.state();
        let finished = state.finished.iter();
        finished.map(|export| format!("{PATH}{}/{CSV_FILE}", export.id)).collect()
    }

    /// Makes a finished export available for download.
    pub(crate) fn finish(&self, export: FinishedExport) {
        let mut state = self.state();
        state.finished.push_back(export);
        if state.finished.len() > FINISHED_MAX {
            state.finished.pop_front();
        }
    }

    /// Lets the device start its next export.
    pub(crate) fn release(&self, device_id: &str) {
        self.state().active.remove(device_id);
    }

    /// Responds to `GET /exports/{id}/{file}`. The random id is the only protection, as in the
    /// download links of a cloud storage.
    pub(crate) fn respond(&self, method: &Method, path: &str) -> Response {
        if method != Method::GET {
            return ApiError::method_not_allowed(method.as_str()).into_response();
        }
        let state = self.state();
        let (id, name) = path.split_once('/').unwrap_or((path, ""));
        let export = state.finished.iter().find(|export| export.id == id);
        let Some(text) = export.and_then(|export| export.files.get(name)) else {
            return ApiError::not_found("export").into_response();
        };
        let content_type = if name == CSV_FILE { "text/csv; charset=utf-8" } else { "text/plain" };
        (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], text.clone()).into_response()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Exports that can be queued.
const QUEUED_MAX: usize = 64;
/// Finished exports that are kept for download; the oldest are removed first.
const FINISHED_MAX: usize = 16;
