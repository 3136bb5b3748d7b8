//! `removeData`: removes the states of a period before it responds. Losant removes them later.

use crate::call::Call;
use crate::event::Event;
use crate::query::{BEGINNING, Period};
use crate::reply::{ApiError, Reply};
use crate::tokens;

pub(super) fn execute(call: &Call<'_>) -> Result<Reply, ApiError> {
    let Period { start_ms, end_ms } = call.query.period(call.now_ms, BEGINNING)?;
    let job_id = tokens::random_id().ok_or_else(ApiError::no_randomness)?;
    let device_id = call.device_id.to_owned();
    call.cloud.store().commit(Event::DataRemoved { device_id, start_ms, end_ms });
    Ok(Reply::job(call.cloud.settings.job_response, job_id))
}
