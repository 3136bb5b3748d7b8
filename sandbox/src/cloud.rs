//! What every call and the handle share: settings, schemas, faults, and the store.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::builder::{Error, Settings};
use crate::clock;
use crate::faults::Faults;
use crate::schema::Schemas;
use crate::store::Store;

/// One pretended Losant, with one application in it.
#[derive(Debug)]
pub(crate) struct Cloud {
    pub(crate) settings: Settings,
    pub(crate) schemas: Schemas,
    pub(crate) faults: Faults,
    store: Mutex<Store>,
}

impl Cloud {
    /// Checks the settings and makes an empty store.
    pub(crate) fn new(settings: Settings) -> Result<Self, Error> {
        let mut seen = BTreeSet::new();
        for device in &settings.devices {
            if !is_id(&device.device_id) || !seen.insert(&device.device_id) {
                return Err(Error::DeviceId(device.device_id.clone()));
            }
        }
        let store = Mutex::new(Store::new(&settings, clock::now_ms()));
        Ok(Self { settings, schemas: Schemas::compile()?, faults: Faults::default(), store })
    }

    /// The store, for as short a time as possible; never across an await.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        // A panic under the lock leaves counts behind, not broken structures.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `text` has the syntax of a Losant id: 24 hexadecimal digits.
pub(crate) fn is_id(text: &str) -> bool {
    text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
