//! The simulated Losant service: settings, schemas, faults, exports, and the store.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock;
use crate::error::Error;
use crate::exports::Exports;
use crate::faults::Faults;
use crate::schema::Schemas;
use crate::settings::Settings;
use crate::silent_loss::SilentLosses;
use crate::store::Store;

/// The state that all calls and the [`Sandbox`](crate::Sandbox) share.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) settings: Settings,
    pub(crate) schemas: Schemas,
    pub(crate) faults: Faults,
    pub(crate) silent_losses: SilentLosses,
    pub(crate) exports: Exports,
    store: Mutex<Store>,
    /// The offset from this host's clock to the service's clock.
    clock_offset_ms: AtomicI64,
}

impl Cloud {
    /// Checks the settings and opens the store.
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        check_ids(&settings)?;
        let silent_losses = SilentLosses::default();
        if let Some(loss) = settings.silent_loss {
            silent_losses.plan(loss.seed, loss.one_in, loss.unit);
        }
        Ok(Self {
            schemas: Schemas::compile()?,
            faults: Faults::default(),
            silent_losses,
            exports: Exports::default(),
            store: Mutex::new(Store::open(&settings, clock::now_ms())?),
            clock_offset_ms: AtomicI64::new(0),
            settings,
        })
    }

    /// Returns the service's time in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        clock::now_ms().saturating_add(self.clock_offset_ms.load(Ordering::Relaxed))
    }

    /// Sets the offset of the service's clock; a negative offset sets it back.
    pub(crate) fn set_clock_offset(&self, offset_ms: i64) {
        self.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Returns whether the service's clock differs from this host's.
    pub(crate) fn has_clock_offset(&self) -> bool {
        self.clock_offset_ms.load(Ordering::Relaxed) != 0
    }

    /// Locks the store. Hold the guard as briefly as possible, and never across an await.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        // A panic under the lock can leave counters behind, but no broken structure.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_ids(settings: &Settings) -> Result<(), Error> {
    if settings.applications.is_empty() {
        return Err(Error::NoApplication);
    }
    let applications = settings.applications.iter();
    let devices = applications.clone().flat_map(|application| &application.devices);
    let ids = applications
        .map(|application| &application.application_id)
        .chain(devices.map(|device| &device.device_id));
    let mut seen = BTreeSet::new();
    for id in ids {
        if !is_id(id) {
            return Err(Error::InvalidId(id.clone()));
        }
        if !seen.insert(id.to_ascii_lowercase()) {
            return Err(Error::DuplicateId(id.clone()));
        }
    }
    Ok(())
}

/// Returns whether `text` has the syntax of a Losant id: 24 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
