//! The report of a command to Losant: a state with the result.

use std::collections::BTreeMap;

use crate::history::Record;
use tidegate_model::{AttributeName, CommandResult, DeviceId, State, Value};

/// The attributes of a report.
///
/// Losant accepts an attribute only if it is declared there, so each one is off by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReportRules {
    /// The gateway, if it reports in place of the device that the command was for.
    pub by_gateway: Option<DeviceId>,
    /// The name of the command, a text.
    pub command: Option<AttributeName>,
    /// The id in the payload, a text; omitted if there is none.
    pub id: Option<AttributeName>,
    /// The result, a text: executed, failed, refused or interrupted.
    pub result: Option<AttributeName>,
    /// The reason, or the answer of the actuator; a text that may be empty.
    pub message: Option<AttributeName>,
    /// How long the actuator took, in milliseconds; omitted if the command did not run.
    pub duration_ms: Option<AttributeName>,
}

impl ReportRules {
    /// Returns the device and the state that report a result.
    ///
    /// Returns `None` if the command has no result or if no attribute is configured.
    pub fn report(&self, record: &Record) -> Option<(DeviceId, State)> {
        if record.result == CommandResult::Started {
            return None;
        }
        let text = |text: &str| Value::text(text).ok();
        let duration = record.duration_ms.and_then(|ms| i64::try_from(ms).ok());
        let values = [
            (&self.command, text(&record.name)),
            (&self.id, record.id.as_deref().and_then(text)),
            (&self.result, text(record.result.as_str())),
            (&self.message, text(&record.message)),
            (&self.duration_ms, duration.map(Value::Integer)),
        ];
        let data: BTreeMap<_, _> = values
            .into_iter()
            .filter_map(|(attribute, value)| Some((attribute.clone()?, value?)))
            .collect();
        let time = record.finished?;
        let device = self.by_gateway.unwrap_or(record.target);
        (!data.is_empty()).then_some((device, State { time, data }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use tidegate_model::{Command, Source, WallTime};

    #[test]
    fn reports_only_configured_attributes() {
        let device = DeviceId::from([1; 12]);
        let time = WallTime::from_millis(1_777_629_600_000);
        let command = Command {
            device,
            name: "fan".to_owned(),
            time: Some(time),
            payload: json!({}),
            unread: None,
        };
        let mut record = Record::new(&command, Source::Live, None, time.into());
        let name = |name: &str| name.parse().ok();
        let mut rules =
            ReportRules { command: name("last"), id: name("lastId"), ..ReportRules::default() };
        assert_eq!(rules.report(&record), None, "it has no result yet");
        record.result = CommandResult::Executed;
        record.finished = Some(WallTime::from_millis(1_777_629_600_005).into());
        record.duration_ms = Some(5);
        let reported = |rules: &ReportRules| {
            let (device, state) = rules.report(&record)?;
            Some(format!("{device} {}", serde_json::to_string(&state).unwrap()))
        };
        assert_eq!(
            reported(&rules).unwrap(),
            r#"010101010101010101010101 {"time":"2026-05-01T10:00:00.005Z","data":{"last":"fan"}}"#
        );
        rules.result = name("result");
        rules.message = name("message");
        rules.duration_ms = name("took");
        rules.by_gateway = Some(DeviceId::from([2; 12]));
        assert_eq!(
            reported(&rules).unwrap(),
            concat!(
                r#"020202020202020202020202 {"time":"2026-05-01T10:00:00.005Z","#,
                r#""data":{"last":"fan","message":"","result":"executed","took":5}}"#
            )
        );
        assert_eq!(reported(&ReportRules::default()), None);
    }
}
