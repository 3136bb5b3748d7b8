//! `removeData`: the states of a period are gone when it answers; Losant takes its time.

use crate::call::Call;
use crate::event::Event;
use crate::query::BEGINNING;
use crate::reply::{Refusal, Reply};
use crate::tokens;

pub(super) fn perform(call: &Call<'_>) -> Result<Reply, Refusal> {
    let (start_ms, end_ms) = call.query.period(call.now_ms, BEGINNING)?;
    let job_id = tokens::random_id().ok_or_else(Refusal::no_randomness)?;
    let device_id = call.device_id.to_owned();
    call.cloud.store().commit(Event::DataRemoved { device_id, start_ms, end_ms });
    Ok(Reply::started(call.cloud.settings.job_answer, job_id))
}
