//! Passes writes to the task of a bus.

use tokio::sync::watch;

use super::{Driver, DriverContext, DriverError, Execution};
use tidegate_bus::{Handles, WriteError};
use tidegate_commands::actuator::Actuator;
use tidegate_model::{Name, Write};

/// The driver of an actuator on a bus.
struct BusWriter {
    bus: Name,
    buses: watch::Receiver<Handles>,
}

/// Returns the driver of an actuator that names a bus.
pub(super) fn driver(actuator: &Actuator, context: &DriverContext) -> Option<Box<dyn Driver>> {
    let bus = actuator.bus.clone()?;
    Some(Box::new(BusWriter { bus, buses: context.buses.clone() }))
}

impl Driver for BusWriter {
    fn execute(&self, write: Write) -> Execution<'_> {
        Box::pin(async move {
            let handle = self.buses.borrow().get(&self.bus).cloned();
            let handle = handle.ok_or(WriteError::NotConnected)?;
            handle.write(write).await.map_err(DriverError::from)
        })
    }
}
