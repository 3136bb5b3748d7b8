//! The tables `[commands]` and `[commands.report]`.

use super::names::GATEWAY;
use crate::check::{Check, seconds};
use crate::field::Field;
use crate::{Commands, raw};
use tidegate_commands::admission::Rules;
use tidegate_commands::report::ReportRules;
use tidegate_model::{AttributeName, DeviceId};

/// Resolves which commands run, and which results are reported.
pub(super) fn commands(
    raw: raw::Commands,
    gateway: Option<DeviceId>,
    check: &mut Check<'_>,
) -> Commands {
    // The default of actuators; checked here, because there may be no actuator.
    check.duration("commands.timeout", raw.timeout, &seconds(1..=300));
    let catch_up_key = "commands.catch_up_age_max";
    let rules = Rules {
        age_max: check.duration("commands.age_max", raw.age_max, &seconds(1..=86_400)),
        catch_up_age_max: check.duration(catch_up_key, raw.catch_up_age_max, &seconds(0..=604_800)),
        id: member("commands.id", raw.id, check),
        target: member("commands.target", raw.target, check),
    };
    Commands { rules, report: report(raw.report, gateway, check) }
}

/// Resolves the name of a member of the payload.
fn member(key: &str, field: Option<Field<String>>, check: &mut Check<'_>) -> Option<String> {
    let name = field?.0;
    if name.is_empty() {
        let fix = "name a member of the payload, such as \"requestId\"";
        check.problems.add(key, "is empty", fix);
    }
    Some(name)
}

fn report(
    raw: raw::CommandReport,
    gateway: Option<DeviceId>,
    check: &mut Check<'_>,
) -> ReportRules {
    let mut attribute = |name: &str, field: Option<Field<String>>| -> Option<AttributeName> {
        check.parsed(&format!("commands.report.{name}"), &field?.0)
    };
    let mut rules = ReportRules {
        by_gateway: None,
        command: attribute("command", raw.command),
        id: attribute("id", raw.id),
        result: attribute("result", raw.result),
        message: attribute("message", raw.message),
        duration_ms: attribute("duration_ms", raw.duration_ms),
    };
    match raw.device.as_ref().map(|field| field.0.as_str()) {
        None | Some("target") => {}
        Some(GATEWAY) => rules.by_gateway = gateway,
        Some(other) => {
            let fix = "use \"target\", the device that the command was for, or \"gateway\"";
            check.problems.add("commands.report.device", format!("\"{other}\" is not known"), fix);
        }
    }
    rules
}
