//! Judges the devices: refused calls, attributes that do not match, closed command streams.

use std::collections::BTreeMap;

use tidegate_ingest::mapping::AttributeProblem;
use tidegate_model::{AttributeName, Misfit};

use super::{Problem, ProblemCode};
use crate::status::{DeviceProblems, DeviceRefusal, Document};

/// The most attributes that one sentence names.
const ATTRIBUTES_NAMED_MAX: usize = 6;

/// The status code for a device that Losant does not know.
const NOT_FOUND: u16 = 404;

/// Returns the problems of all devices, and the misfits of all sensors.
pub(super) fn problems(document: &Document) -> Vec<Problem> {
    if !document.cloud.credentials_error.is_empty() {
        return Vec::new();
    }
    let mut problems = Vec::new();
    for (name, device) in &document.device_problems {
        problems.extend(refused(name, device));
        problems.extend(mismatches(name, device));
    }
    problems.extend(misfits(document));
    problems.extend(streams(document));
    problems
}

fn refused(name: &str, device: &DeviceProblems) -> Option<Problem> {
    let waiting = device.states_waiting;
    let code = |refusal: &DeviceRefusal| match refusal.status {
        Some(NOT_FOUND) => ProblemCode::DeviceNotFound,
        Some(_) | None => ProblemCode::DeviceRefused,
    };
    if let Some(refusal) = device.refusal.as_ref().filter(|_| waiting > 0) {
        let detail = format!("Losant refuses its states ({}), and {waiting} wait", refusal.message);
        return Some(Problem::new(code(refusal), name, &detail));
    }
    let error = device.error.as_ref()?;
    let detail = format!("Losant does not show the device ({})", error.message);
    Some(Problem::new(code(error), name, &detail))
}

/// Returns one problem for all undeclared attributes of a device, and one for all wrong types.
fn mismatches(name: &str, device: &DeviceProblems) -> Vec<Problem> {
    let mut undeclared = Vec::new();
    let mut wrong = Vec::new();
    for attribute in &device.attributes {
        match attribute {
            AttributeProblem::Undeclared { attribute, .. } => {
                undeclared.push(attribute.to_string());
            }
            AttributeProblem::WrongType { attribute, declared, produced } => {
                let (declared, produced) = (declared.as_str(), produced.as_str());
                wrong.push(format!("{attribute} is {declared} instead of {produced}"));
            }
        }
    }
    let undeclared = (!undeclared.is_empty()).then(|| {
        let detail = format!("the device declares no attribute {}", listed(&undeclared));
        Problem::new(ProblemCode::AttributeUndeclared, name, &detail)
    });
    let wrong = (!wrong.is_empty())
        .then(|| Problem::new(ProblemCode::AttributeWrongType, name, &listed(&wrong)));
    undeclared.into_iter().chain(wrong).collect()
}

/// Returns the misfits of sensors that are not yet known as mismatches of a device.
///
/// They are values of devices or attributes that templates name, and values of mappings whose type
/// is known only from the message.
fn misfits(document: &Document) -> Vec<Problem> {
    let known = document.device_problems.values().flat_map(|device| &device.attributes);
    let known: Vec<_> = known.collect();
    let is_known = |misfit: &Misfit| known.iter().any(|problem| is_same(problem, misfit));
    let mut problems = Vec::new();
    for (name, sensor) in &document.sensors {
        let mut by_code: BTreeMap<ProblemCode, Vec<(&AttributeName, &Misfit)>> = BTreeMap::new();
        for (attribute, misfit) in sensor.misfits.iter().filter(|(_, misfit)| !is_known(misfit)) {
            let code = match misfit {
                Misfit::Undeclared { .. } => ProblemCode::AttributeUndeclared,
                Misfit::WrongType { .. } => ProblemCode::AttributeWrongType,
            };
            by_code.entry(code).or_default().push((attribute, misfit));
        }
        for (code, misfits) in by_code {
            let Some((_, first)) = misfits.first() else { continue };
            let more = match misfits.len() {
                1 => String::new(),
                count => format!(" (1 of {count} attributes)"),
            };
            problems.push(Problem::new(code, &format!("sensor {name}"), &format!("{first}{more}")));
        }
    }
    problems
}

fn is_same(problem: &AttributeProblem, misfit: &Misfit) -> bool {
    match (problem, misfit) {
        (
            AttributeProblem::Undeclared { attribute, .. },
            Misfit::Undeclared { attribute: other },
        )
        | (
            AttributeProblem::WrongType { attribute, .. },
            Misfit::WrongType { attribute: other, .. },
        ) => attribute == other,
        (AttributeProblem::Undeclared { .. }, Misfit::WrongType { .. })
        | (AttributeProblem::WrongType { .. }, Misfit::Undeclared { .. }) => false,
    }
}

/// Returns the command streams that are closed although Losant can be reached.
fn streams(document: &Document) -> Vec<Problem> {
    if document.cloud.online != Some(true) {
        return Vec::new();
    }
    let closed = document.streams.iter().filter(|(_, is_open)| !**is_open);
    let has_cause = |name: &str| {
        document.device_problems.get(name).is_some_and(|device| refused(name, device).is_some())
    };
    let closed = closed.filter(|(name, _)| !has_cause(name));
    let problem = |name: &str| {
        let error = document.stream_errors.get(name).map_or("it ended", String::as_str);
        let detail = format!("commands do not arrive: {error}");
        Problem::new(ProblemCode::CommandStreamClosed, name, &detail)
    };
    closed.map(|(name, _)| problem(name)).collect()
}

/// Lists names in a sentence.
fn listed(names: &[String]) -> String {
    let shown: Vec<_> = names.iter().take(ATTRIBUTES_NAMED_MAX).map(String::as_str).collect();
    match names.len().saturating_sub(ATTRIBUTES_NAMED_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{Health, Names, SensorStatus};
    use tidegate_ingest::sensor_stats::SensorStats;

    fn sentences(document: &Document) -> Vec<String> {
        Health::of(document).problems.into_iter().map(|problem| problem.sentence).collect()
    }

    fn undeclared(number: usize) -> AttributeProblem {
        let attribute = format!("a{number}").parse().unwrap();
        AttributeProblem::Undeclared { attribute, produced: None }
    }

    #[test]
    fn one_problem_names_all_undeclared_attributes() {
        let attributes = (0..8).map(undeclared).collect();
        let device = DeviceProblems { attributes, ..DeviceProblems::default() };
        let document = Document {
            device_problems: [("attic".to_owned(), device)].into(),
            ..Document::default()
        };
        let expected = "attribute undeclared: attic: the device declares no attribute a0, a1, a2, \
                        a3, a4, a5 and 2 more";
        assert_eq!(sentences(&document), [expected]);
    }

    #[test]
    fn misfit_of_known_attribute_is_reported_once() {
        let device =
            DeviceProblems { attributes: vec![undeclared(1)], ..DeviceProblems::default() };
        let mut stats = SensorStats::default();
        for number in [1, 2] {
            let attribute = format!("a{number}").parse().unwrap();
            let misfit = Misfit::Undeclared { attribute };
            stats.misfits.insert(misfit.attribute().clone(), misfit);
        }
        let sensor = SensorStatus::of(&"bus".parse().unwrap(), &stats, &Names::default());
        let document = Document {
            device_problems: [("attic".to_owned(), device)].into(),
            sensors: [("probe".parse().unwrap(), sensor)].into(),
            ..Document::default()
        };
        let sentences = sentences(&document);
        assert_eq!(sentences.len(), 2, "{sentences:?}");
        assert!(sentences[1].starts_with("attribute undeclared: sensor probe: the device has no"));
        assert!(sentences[1].contains("attribute a2"), "{sentences:?}");
    }

    #[test]
    fn refusal_counts_while_states_wait() {
        let refusal = DeviceRefusal { status: Some(404), message: "404 NotFound".to_owned() };
        let mut device = DeviceProblems {
            refusal: Some(refusal),
            states_waiting: 8,
            ..DeviceProblems::default()
        };
        let of = |device: &DeviceProblems| {
            let device_problems = [("attic".to_owned(), device.clone())].into();
            sentences(&Document { device_problems, ..Document::default() })
        };
        let expected =
            "device not found: attic: Losant refuses its states (404 NotFound), and 8 wait";
        assert_eq!(of(&device), [expected]);
        device.states_waiting = 0;
        assert_eq!(of(&device), [""; 0]);
    }
}
