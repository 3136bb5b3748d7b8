//! What every call and the handle share: settings, schemas, faults, and the store.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::builder::{Error, Settings};
use crate::clock;
use crate::exports::Exports;
use crate::faults::Faults;
use crate::schema::Schemas;
use crate::store::Store;

/// One pretended Losant.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) settings: Settings,
    pub(crate) schemas: Schemas,
    pub(crate) faults: Faults,
    pub(crate) exports: Exports,
    store: Mutex<Store>,
    /// What the service's clock is ahead of this machine's.
    clock_offset_ms: AtomicI64,
}

impl Cloud {
    /// Checks the settings and makes a store, with what was kept of an earlier one.
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        check_ids(&settings)?;
        Ok(Self {
            schemas: Schemas::compile()?,
            faults: Faults::default(),
            exports: Exports::default(),
            store: Mutex::new(Store::open(&settings, clock::now_ms())?),
            clock_offset_ms: AtomicI64::new(0),
            settings,
        })
    }

    /// The service's time, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        clock::now_ms().saturating_add(self.clock_offset_ms.load(Ordering::Relaxed))
    }

    /// Sets the service's clock ahead of this machine's, or back when negative.
    pub(crate) fn set_clock_offset(&self, offset_ms: i64) {
        self.clock_offset_ms.store(offset_ms, Ordering::Relaxed);
    }

    /// Whether the service's clock differs from this machine's.
    pub(crate) fn has_clock_offset(&self) -> bool {
        self.clock_offset_ms.load(Ordering::Relaxed) != 0
    }

    /// The store, for as short a time as possible; never across an await.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        // A panic under the lock leaves counts behind, not broken structures.
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
        if !is_id(id) || !seen.insert(id.to_ascii_lowercase()) {
            return Err(Error::Id(id.clone()));
        }
    }
    Ok(())
}

/// Whether `text` has the syntax of a Losant id: 24 hexadecimal digits.
fn is_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
