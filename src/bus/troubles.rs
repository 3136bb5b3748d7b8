//! What is wrong on a bus: one log line when it begins or changes, one when it is over.

use std::collections::BTreeMap;

use tracing::{info, warn};

use crate::model::Name;

/// Subjects, such as paths or slaves, of which troubles are remembered. Those of more are told each time.
const SUBJECTS_MAX: usize = 1_024;

/// The troubles of one bus that were told.
#[derive(Debug)]
pub(super) struct Troubles {
    bus: Name,
    told: BTreeMap<String, String>,
}

impl Troubles {
    pub(super) fn new(bus: Name) -> Self {
        Self { bus, told: BTreeMap::new() }
    }

    /// Something is wrong with the subject.
    pub(super) fn begin(&mut self, subject: &str, trouble: &str) {
        if self.told.get(subject).is_some_and(|told| told == trouble) {
            return;
        }
        warn!(bus = %self.bus, subject, error = trouble, "cannot read; trying again");
        if self.told.len() < SUBJECTS_MAX {
            self.told.insert(subject.to_owned(), trouble.to_owned());
        }
    }

    /// All is well with the subject.
    pub(super) fn end(&mut self, subject: &str) {
        if self.told.remove(subject).is_some() {
            info!(bus = %self.bus, subject, "reads again");
        }
    }
}
