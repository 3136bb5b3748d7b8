//! The timers of many parts: which part is due next, without asking each part.

use std::collections::BTreeSet;
use std::time::Instant;

/// The instants at which parts are due, at most one for each part.
///
/// A part may be registered for an earlier instant than it is due. So a part whose instant moves
/// with each message, such as the end of a silence, costs nothing then: when its old instant has
/// come, its owner asks it and registers it again.
#[derive(Debug)]
pub(super) struct Timers<K>(BTreeSet<(Instant, K)>);

/// The instant for which a part is registered. Its owner keeps it.
#[derive(Debug, Default)]
pub(super) struct Registration(Option<Instant>);

impl<K: Ord> Default for Timers<K> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

impl<K: Ord + Copy> Timers<K> {
    /// Registers a part that is due at `due`, unless it is registered for that time or earlier.
    pub(super) fn register(
        &mut self,
        part: K,
        registration: &mut Registration,
        due: Option<Instant>,
    ) {
        let Some(due) = due else { return };
        if registration.0.is_some_and(|registered| registered <= due) {
            return;
        }
        if let Some(registered) = registration.0.replace(due) {
            self.0.remove(&(registered, part));
        }
        self.0.insert((due, part));
    }

    /// Takes the next part that is registered for `now` or earlier. Its owner calls
    /// [`Registration::clear`].
    pub(super) fn take_due(&mut self, now: Instant) -> Option<K> {
        let (due, _) = self.0.first()?;
        if *due > now {
            return None;
        }
        self.0.pop_first().map(|(_, part)| part)
    }

    /// Returns the first instant for which a part is registered.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.first().map(|(due, _)| *due)
    }

    /// Returns the number of registered parts.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Registration {
    /// Records that the part was taken.
    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keeps_one_instant_for_each_part() {
        let start = tokio::time::Instant::now().into_std();
        let at = |seconds| start + Duration::from_secs(seconds);
        let (mut timers, mut one) = (Timers::default(), Registration::default());
        for seconds in [5, 7, 3, 4] {
            timers.register(1, &mut one, Some(at(seconds)));
        }
        timers.register(1, &mut one, None);
        timers.register(2, &mut Registration::default(), Some(at(4)));
        assert_eq!((timers.len(), timers.next()), (2, Some(at(3))));
        assert_eq!(timers.take_due(at(2)), None);
        assert_eq!([timers.take_due(at(3)), timers.take_due(at(3))], [Some(1), None]);
        one.clear();
        timers.register(1, &mut one, Some(at(9)));
        assert_eq!(timers.take_due(at(9)), Some(2));
        assert_eq!(timers.take_due(at(9)), Some(1));
    }
}
