//! The worker that writes exports and calls their callbacks.
//!
//! The columns are `ID`, `Timestamp` (milliseconds), `Date` (ISO 8601) and the attributes by name;
//! each state is a row, oldest first. A blob becomes a link unless the client asks for its data.
//! When the file is ready, the worker posts `{"jobId", "applicationId", "deviceId", "success",
//! "url", "rows"}` to the callback URL. Losant documents neither the columns nor the callback body,
//! so a client must not rely on them.

mod callback;
mod csv;

use axum::http::Uri;
use futures_util::{StreamExt, stream};
use serde_json::json;

use crate::cloud::Cloud;
use crate::exports::{CSV_FILE, Exports, FinishedExport, Job};

/// Runs queued exports for as long as the future is polled.
pub(crate) async fn run(cloud: &Cloud) {
    let mut receiver = cloud.exports.receiver.lock().await;
    let jobs = stream::poll_fn(|cx| receiver.poll_recv(cx));
    jobs.for_each_concurrent(CONCURRENT_MAX, |job| run_job(cloud, job)).await;
}

async fn run_job(cloud: &Cloud, job: Job) {
    // The guard also releases the device when the server closes during the callback.
    let _active = ActiveExport { exports: &cloud.exports, device_id: &job.device_id };
    let written = {
        let store = cloud.store();
        store
            .device(&job.device_id)
            .map(|device| (csv::write(&job, device), device.application_id.clone()))
    };
    let Some((export, application_id)) = written else { return };
    cloud.exports.finish(FinishedExport { id: job.id.clone(), files: export.files });
    let Some(url) = &job.callback else { return };
    let body = json!({
        "jobId": job.id,
        "applicationId": application_id,
        "deviceId": job.device_id,
        "success": true,
        "url": job.url(CSV_FILE),
        "rows": export.rows,
    });
    call_back(cloud, url, &body.to_string()).await;
}

/// Posts to the callback URL and counts the outcome.
async fn call_back(cloud: &Cloud, url: &Uri, body: &str) {
    let outcome = callback::post(url, body).await;
    let counters = &mut cloud.store().counters;
    match outcome {
        Ok(()) => counters.callbacks_made += 1,
        Err(error) => {
            counters.callbacks_failed += 1;
            counters.callback_error = Some(format!("{url}: {error}"));
        }
    }
}

/// Marks a device as having an export in progress, until it is dropped.
struct ActiveExport<'a> {
    exports: &'a Exports,
    device_id: &'a str,
}

impl Drop for ActiveExport<'_> {
    fn drop(&mut self) {
        self.exports.release(self.device_id);
    }
}

/// Exports and callbacks that run at the same time.
const CONCURRENT_MAX: usize = 8;
