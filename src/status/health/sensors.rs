//! Judges the sensors: silence, and messages that never have a value.

use std::time::Duration;

use tidegate_model::Reason;

use super::{Problem, ProblemCode};
use crate::status::{Document, SensorStatus, Since, span};

/// The messages in a row without a valid value from which a sensor counts as rejected.
const REJECTED_MIN: u64 = 5;

/// The messages without a mapped channel from which a sensor counts as unmapped. Instruments send
/// messages of several kinds in turn.
const UNMAPPED_MIN: u64 = 20;

/// How long a sensor must have received only such messages.
const UNMAPPED_TIME_MIN: Duration = Duration::from_secs(10);

/// For how long, and for how many messages, a duplicate attribute counts.
const DUPLICATE_TIME_MAX: Duration = Duration::from_secs(15 * 60);
const DUPLICATE_MESSAGES_MAX: u64 = 20;

/// Returns the problems of all sensors.
pub(super) fn problems(document: &Document) -> Vec<Problem> {
    let problems = document.sensors.iter().flat_map(|(name, sensor)| {
        [
            silent(name, sensor),
            duplicate(name, sensor),
            rejected(name, sensor),
            unmapped(name, sensor),
        ]
    });
    problems.flatten().collect()
}

fn silent(name: &str, sensor: &SensorStatus) -> Option<Problem> {
    if sensor.stale != Some(true) {
        return None;
    }
    let devices = sensor.silent.iter().map(|(device, since)| {
        format!("device {device} silent for {}", span(since.elapsed().as_secs()))
    });
    let devices: Vec<_> = devices.collect();
    Some(Problem::new(ProblemCode::SensorStale, name, &devices.join(", ")))
}

fn duplicate(name: &str, sensor: &SensorStatus) -> Option<Problem> {
    let duplicate = sensor.duplicate.as_ref()?;
    let is_over = duplicate.at.elapsed() > DUPLICATE_TIME_MAX
        && sensor.messages.saturating_sub(duplicate.messages) > DUPLICATE_MESSAGES_MAX;
    let problem = || Problem::new(ProblemCode::AttributeDuplicate, name, &duplicate.detail);
    (!is_over).then(problem)
}

/// Values that Losant would ignore, and duplicates, have problems of their own.
fn rejected(name: &str, sensor: &SensorStatus) -> Option<Problem> {
    let count = sensor.without_value.rejected;
    if count < REJECTED_MIN {
        return None;
    }
    let reason = sensor.error_reason?;
    if matches!(reason, Reason::Undeclared | Reason::WrongType | Reason::DuplicateAttribute) {
        return None;
    }
    let detail = sensor.error.as_deref().unwrap_or_default();
    let detail = format!("the last {count} messages are rejected, {reason}: {detail}");
    Some(Problem::new(ProblemCode::SensorRejected, name, &detail))
}

fn unmapped(name: &str, sensor: &SensorStatus) -> Option<Problem> {
    let counts = sensor.without_value;
    let elapsed = counts.since.map(|since| Since::from(since).elapsed())?;
    let is_unmapped = sensor.values == 0
        && counts.rejected < REJECTED_MIN
        && counts.unmapped >= UNMAPPED_MIN
        && elapsed >= UNMAPPED_TIME_MIN;
    if !is_unmapped {
        return None;
    }
    let detail = sensor.skip.as_deref().unwrap_or("another sensor reads them");
    let detail = format!("none of {} messages has a mapped channel: {detail}", counts.unmapped);
    Some(Problem::new(ProblemCode::SensorUnmapped, name, &detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Health, Names};
    use tidegate_ingest::sensor_stats::{Duplicate, SensorError, SensorStats, WithoutValue};
    use tokio::time::Instant;

    fn codes(stats: &SensorStats) -> Vec<ProblemCode> {
        let sensor = SensorStatus::of(&"bus".parse().unwrap(), stats, &Names::default());
        let sensors = [("probe".parse().unwrap(), sensor)].into();
        let health = Health::of(&Document { sensors, ..Document::default() });
        health.problems.iter().map(|problem| problem.code).collect()
    }

    fn error(reason: Reason) -> SensorError {
        SensorError { at: Instant::now().into_std(), reason, detail: "broken".to_owned() }
    }

    fn rejected(rejected: u64, reason: Reason) -> SensorStats {
        let without_value = WithoutValue { rejected, ..WithoutValue::default() };
        SensorStats { without_value, last_error: Some(error(reason)), ..SensorStats::default() }
    }

    #[test]
    fn five_rejected_messages_in_a_row_are_a_problem() {
        assert_eq!(codes(&rejected(4, Reason::OutOfRange)), []);
        assert_eq!(codes(&rejected(5, Reason::OutOfRange)), [ProblemCode::SensorRejected]);
        assert_eq!(codes(&rejected(5, Reason::WrongType)), [], "the attribute is the problem");
    }

    #[tokio::test(start_paused = true)]
    async fn sensor_without_any_value_is_a_problem() {
        let since = Some(Instant::now().into_std());
        let without_value = WithoutValue { unmapped: 20, since, ..WithoutValue::default() };
        let stats = SensorStats { without_value, ..SensorStats::default() };
        assert_eq!(codes(&stats), [], "too early");
        tokio::time::advance(UNMAPPED_TIME_MIN).await;
        assert_eq!(codes(&stats), [ProblemCode::SensorUnmapped]);
        assert_eq!(codes(&SensorStats { values: 1, ..stats }), []);
    }

    #[tokio::test(start_paused = true)]
    async fn duplicate_is_over_after_time_and_messages() {
        let duplicate = Duplicate { error: error(Reason::DuplicateAttribute), messages: 1 };
        let last_duplicate = Some(duplicate);
        let mut stats = SensorStats { last_duplicate, messages: 30, ..SensorStats::default() };
        assert_eq!(codes(&stats), [ProblemCode::AttributeDuplicate]);
        tokio::time::advance(DUPLICATE_TIME_MAX + Duration::from_secs(1)).await;
        assert_eq!(codes(&stats), []);
        stats.messages = 2;
        assert_eq!(codes(&stats), [ProblemCode::AttributeDuplicate], "only one message since");
    }
}
