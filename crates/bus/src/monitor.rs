//! How a bus reports its condition to the program that runs it.

use std::fmt::Debug;
use std::sync::Arc;

use tidegate_model::Name;

/// Receives the condition of buses. The status registry of the program implements it.
pub trait Monitor: Debug + Send + Sync {
    /// Records that the line or the session of a bus is open.
    fn set_connected(&self, bus: &Name);

    /// Records that the line or the session of a bus is closed, and why.
    fn set_disconnected(&self, bus: &Name, error: &str);

    /// Records a problem with one subject of a bus, such as a unit or a file; `None` when it is
    /// over.
    fn set_problem(&self, bus: &Name, subject: &str, problem: Option<&str>);

    /// Records that the broker refuses a subscription, and why; `None` when it accepts it.
    fn set_refused_subscription(&self, bus: &Name, filter: &str, why: Option<&str>);

    /// Records that another client takes the session of the bus over, and how that shows; `None`
    /// when the session has lasted.
    fn set_session_conflict(&self, bus: &Name, evidence: Option<&str>);
}

/// A monitor that tasks share.
pub type SharedMonitor = Arc<dyn Monitor>;

/// A monitor that keeps the last problem of each subject, for tests.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Recorder(std::sync::Mutex<std::collections::BTreeMap<String, String>>);

#[cfg(test)]
impl Recorder {
    /// Returns the problem of a subject.
    pub(crate) fn problem_of(&self, subject: &str) -> Option<String> {
        self.0.lock().unwrap().get(subject).cloned()
    }
}

#[cfg(test)]
impl Monitor for Recorder {
    fn set_connected(&self, _: &Name) {}

    fn set_disconnected(&self, _: &Name, _: &str) {}

    fn set_problem(&self, _: &Name, subject: &str, problem: Option<&str>) {
        let mut problems = self.0.lock().unwrap();
        match problem {
            Some(problem) => drop(problems.insert(subject.to_owned(), problem.to_owned())),
            None => drop(problems.remove(subject)),
        }
    }

    fn set_refused_subscription(&self, _: &Name, _: &str, _: Option<&str>) {}

    fn set_session_conflict(&self, _: &Name, _: Option<&str>) {}
}
