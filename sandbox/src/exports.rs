//! Exports under way and those that can be fetched, under `/exports/`.
//!
//! The columns are `ID`, `Timestamp` (milliseconds), `Date` (ISO 8601) and the attributes by name,
//! a row for each state, oldest first. A blob is a link unless its data is asked for. When a file is
//! ready, `{"jobId", "applicationId", "deviceId", "success", "url", "rows"}` is posted to the
//! callback. Losant documents neither; a client should rely on no more than the options promise.

mod callback;
mod csv;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::mpsc;

use crate::cloud::Cloud;
use crate::reply::Refusal;

/// Where the files are.
pub(crate) const PATH: &str = "/exports/";

/// An export that was asked for.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) device_id: String,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// All that the device has unless told.
    pub(crate) attributes: Option<Vec<String>>,
    pub(crate) options: Options,
    pub(crate) callback: Option<Uri>,
    /// Where the client finds the sandbox.
    pub(crate) origin: String,
}

/// The columns besides the attributes (schema `deviceDataExport`, `options`).
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Options {
    pub(crate) include_date: bool,
    #[serde(rename = "includeID")]
    pub(crate) include_id: bool,
    pub(crate) include_blob_data: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { include_date: true, include_id: true, include_blob_data: false }
    }
}

/// All exports.
#[derive(Debug)]
pub(crate) struct Exports {
    queue: mpsc::Sender<Job>,
    /// Taken by the server that is running.
    waiting: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    /// The devices that have one under way.
    busy: BTreeSet<String>,
    finished: VecDeque<Finished>,
}

/// The files of a finished export.
#[derive(Debug)]
struct Finished {
    id: String,
    files: BTreeMap<String, String>,
}

impl Default for Exports {
    fn default() -> Self {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        Self { queue, waiting: waiting.into(), shelf: Mutex::default() }
    }
}

impl Exports {
    /// Takes a job, unless its device has one (rest-api/overview, "Throttles And Limits").
    pub(crate) fn start(&self, job: Job) -> Result<(), Refusal> {
        let mut shelf = self.shelf();
        if shelf.busy.contains(&job.device_id) {
            return Err(Refusal::throttled("an export of this device is under way"));
        }
        let device_id = job.device_id.clone();
        let full = |_| Refusal::unavailable("too many exports are waiting");
        self.queue.try_send(job).map_err(full)?;
        shelf.busy.insert(device_id);
        Ok(())
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn finish(&self, finished: Finished) {
        let mut shelf = self.shelf();
        shelf.finished.push_back(finished);
        if shelf.finished.len() > FINISHED_MAX {
            shelf.finished.pop_front();
        }
    }
}

/// Does what is asked for, for as long as it is polled.
pub(crate) async fn work(cloud: &Cloud) {
    let mut waiting = cloud.exports.waiting.lock().await;
    let jobs = stream::poll_fn(|cx| waiting.poll_recv(cx));
    jobs.for_each_concurrent(AT_ONCE_MAX, |job| run(cloud, job)).await;
}

async fn run(cloud: &Cloud, job: Job) {
    // Also when this is given up because the port is closed.
    let _busy = Busy { exports: &cloud.exports, device_id: &job.device_id };
    let made = {
        let store = cloud.store();
        store
            .device(&job.device_id)
            .map(|device| (csv::write(&job, device), device.application_id.clone()))
    };
    let Some((table, application_id)) = made else { return };
    cloud.exports.finish(Finished { id: job.id.clone(), files: table.files });
    let Some(url) = &job.callback else { return };
    let announcement = json!({
        "jobId": job.id,
        "applicationId": application_id,
        "deviceId": job.device_id,
        "success": true,
        "url": format!("{}{PATH}{}/{}", job.origin, job.id, csv::FILE),
        "rows": table.rows,
    });
    let called = callback::post(url, &announcement.to_string()).await;
    let counters = &mut cloud.store().counters;
    match called {
        Ok(()) => counters.callbacks_made += 1,
        Err(error) => {
            counters.callbacks_failed += 1;
            counters.callback_error = Some(format!("{url}: {error}"));
        }
    }
}

/// Lets a device have its next export when it is dropped.
struct Busy<'a> {
    exports: &'a Exports,
    device_id: &'a str,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.exports.shelf().busy.remove(self.device_id);
    }
}

/// Answers `GET /exports/{id}/{file}`; the id is the secret, as in the links of a cloud's storage.
pub(crate) fn answer(cloud: &Cloud, method: &Method, path: &str) -> Response {
    if method != Method::GET {
        return Refusal::method_not_allowed(method.as_str()).into_response();
    }
    let shelf = cloud.exports.shelf();
    let (id, name) = path.split_once('/').unwrap_or((path, ""));
    let export = shelf.finished.iter().find(|finished| finished.id == id);
    let Some(text) = export.and_then(|finished| finished.files.get(name)) else {
        return Refusal::not_found("export").into_response();
    };
    let content_type = if name == csv::FILE { "text/csv; charset=utf-8" } else { "text/plain" };
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], text.clone()).into_response()
}

/// Exports that may wait to be made.
const WAITING_MAX: usize = 64;
/// Exports that are made, or whose callbacks are made, at the same time.
const AT_ONCE_MAX: usize = 8;
/// Exports that can be fetched; the oldest go first.
const FINISHED_MAX: usize = 16;
