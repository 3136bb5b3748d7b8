//! Brings each command that the gate lets through to its actuator, and counts the others with their reasons.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use crate::bus::Handles;
use crate::clock::SharedClock;
use crate::config::Commands;
use crate::logic::actuator::{Actuator, Router};
use crate::logic::gate::{Admission, Gate};
use crate::model::Command;
use crate::status::Board;

/// Commands that may wait for the dispatcher, from all listeners together.
pub const COMMANDS_MAX: usize = 64;

/// Where commands go.
#[derive(Debug)]
pub struct Routes {
    /// What is known about actuators.
    pub router: Router,
    /// The buses.
    pub handles: Handles,
}

/// The dispatcher's task.
pub struct DispatcherTask {
    /// Where commands go, now and when it changes.
    pub routes: watch::Receiver<Arc<Routes>>,
    /// Ages and time-outs.
    pub settings: Commands,
    /// Judges the age of a command.
    pub clock: SharedClock,
    /// Told about outcomes.
    pub board: Board,
}

impl DispatcherTask {
    /// Runs until all listeners have let go of the queue.
    pub async fn run(self, mut commands: mpsc::Receiver<Command>) {
        let mut gate = Gate::new(self.settings.age_max);
        while let Some(command) = commands.recv().await {
            let routes = Arc::clone(&self.routes.borrow());
            let actuator = routes.router.find(command.device, &command.name);
            let admission = gate.admit(&command, actuator.is_some(), self.clock.now());
            if admission == Admission::Duplicate {
                // The history is read with some overlap, so this is nothing to tell anybody.
                debug!(command = command.name, device_id = %command.device, "command known already");
                self.board.notes().commands.duplicates += 1;
                continue;
            }
            self.board.notes().commands.received += 1;
            match (admission, actuator) {
                (Admission::Run, Some(actuator)) => {
                    self.act(actuator, &routes.handles, &command).await;
                }
                _ => self.refuse(&command, admission),
            }
        }
    }

    fn refuse(&self, command: &Command, admission: Admission) {
        let reason = admission.as_str();
        *self.board.notes().commands.refused.entry(reason).or_default() += 1;
        let age_ms = match admission {
            Admission::Stale(age) => Some(age.as_millis()),
            Admission::Run | Admission::Duplicate | Admission::Unknown => None,
        };
        warn!(command = command.name, device_id = %command.device, reason, age_ms, "command refused");
    }

    async fn act(&self, actuator: &Actuator, handles: &Handles, command: &Command) {
        let outcome = match actuator.write_for(command) {
            Ok(write) => match handles.get(&actuator.bus) {
                Some(handle) => {
                    match tokio::time::timeout(self.settings.timeout, handle.write(write)).await {
                        Ok(written) => written.map_err(|error| error.to_string()),
                        Err(_) => {
                            Err(format!("no outcome within {} s", self.settings.timeout.as_secs()))
                        }
                    }
                }
                None => Err(format!("there is no bus {}", actuator.bus)),
            },
            Err(error) => Err(error.to_string()),
        };
        let mut notes = self.board.notes();
        match outcome {
            Ok(()) => {
                notes.commands.executed += 1;
                info!(command = command.name, actuator = %actuator.name, bus = %actuator.bus, "command executed");
            }
            Err(error) => {
                notes.commands.failed += 1;
                warn!(command = command.name, actuator = %actuator.name, bus = %actuator.bus, error, "command failed");
            }
        }
    }
}
