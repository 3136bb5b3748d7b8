//! The interface of all pure machines.
//!
//! A machine decides and does nothing else: it does no IO, reads no clock and draws no random
//! number by itself. Its owner repeats three steps:
//!
//! 1. pass an input to a method named `handle_*(input, now)`, or call [`Machine::handle_timeout`];
//! 2. call [`Machine::poll_action`] until it returns `None`, and carry out each action;
//! 3. wait for the next input or for the instant that [`Machine::poll_timeout`] returns.
//!
//! A test does the same with instants of its own, so a test of hours runs in microseconds.

use std::time::Instant;

/// Decides what to do next from inputs and the time, without doing it.
pub trait Machine {
    /// The instruction that the machine gives to its owner.
    type Action;

    /// Updates the machine to `now`. Calling it early or twice has no effect.
    fn handle_timeout(&mut self, now: Instant);

    /// Returns the instant at which [`Machine::handle_timeout`] is due.
    ///
    /// `None` means that only an input can cause the next action.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Returns the next action; `None` when none is left until the next input or timeout.
    fn poll_action(&mut self) -> Option<Self::Action>;
}
