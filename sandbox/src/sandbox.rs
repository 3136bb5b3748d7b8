//! The handle of a running sandbox.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::actions::Action;
use crate::builder::{Builder, Error, Settings};
use crate::cloud::Cloud;
use crate::counters::Counters;
use crate::event::Event;
use crate::faults::Fault;
use crate::server::Server;
use crate::store::{LogEntry, StoredCommand, StoredState};
use crate::world::{ApplicationSpec, Device};

/// A running sandbox; dropping it stops the server and frees its port before it returns.
///
/// A device id that does not exist answers as a device to which nothing happened.
#[derive(Debug)]
pub struct Sandbox {
    cloud: Arc<Cloud>,
    address: SocketAddr,
    url: String,
    devices: Vec<Device>,
    /// None while it is closed.
    server: Mutex<Option<Server>>,
}

impl Sandbox {
    /// A builder with the default world.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Starts a sandbox with the default world on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// As [`Builder::start`].
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    pub(crate) async fn from_settings(settings: Settings) -> Result<Self, Error> {
        let cloud = Arc::new(Cloud::new(settings)?);
        let devices = devices(&cloud);
        let server = Server::start(Arc::clone(&cloud), cloud.settings.listen).await?;
        let address = server.address();
        let url = format!("http://{address}");
        Ok(Self { cloud, address, url, devices, server: Mutex::new(Some(server)) })
    }

    /// Where to send calls, without a slash at the end: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The applications, in the order in which they were given.
    pub fn applications(&self) -> &[ApplicationSpec] {
        &self.cloud.settings.applications
    }

    /// The id of the first application.
    pub fn application_id(&self) -> &str {
        self.applications().first().map_or("", |application| &application.application_id)
    }

    /// A token of the first application that may do everything in it.
    pub fn api_token(&self) -> &str {
        self.applications().first().map_or("", |application| &application.api_token)
    }

    /// The devices that existed at the start, in the order in which they were given.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Makes the cloud unreachable (`true`) or reachable again.
    ///
    /// While it is dark, connections are accepted and dropped without an answer; calls under way
    /// and streams are cut off at once.
    pub fn set_dark(&self, dark: bool) {
        self.cloud.faults.set_dark(dark);
    }

    /// Closes the port, so that connections are refused; nothing is forgotten.
    pub fn close(&self) {
        self.replace_server(None);
    }

    /// Listens again, at the same address, after [`Sandbox::close`].
    ///
    /// # Errors
    ///
    /// When the port is taken: by somebody else meanwhile, or because it was not closed.
    pub async fn reopen(&self) -> Result<(), Error> {
        let server = Server::start(Arc::clone(&self.cloud), self.address).await?;
        self.replace_server(Some(server));
        Ok(())
    }

    fn replace_server(&self, server: Option<Server>) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// Ends all open streams properly, as the service does now and then.
    pub fn end_streams(&self) {
        self.cloud.faults.end_streams();
    }

    /// Breaks all open streams off; their readers may come back at once.
    pub fn cut_streams(&self) {
        self.cloud.faults.cut_streams();
    }

    /// Lets all open streams stay open and say nothing any more, not even keepalives, until they are
    /// ended or cut.
    pub fn silence_streams(&self) {
        self.cloud.faults.silence_streams();
    }

    /// Lets one call in `one_in` on average, of any action, meet one of `faults`, for as long as
    /// [`Sandbox::clear_faults`] does not end it. The same calls in the same order fail in the same
    /// way for the same `seed`.
    pub fn fail_by_chance(&self, seed: u64, one_in: u32, faults: Vec<Fault>) {
        self.cloud.faults.set_chance(seed, one_in, faults);
    }

    /// Lets the next `calls` calls of `action` meet `fault`, after those planned before.
    pub fn fail_next(&self, action: Action, calls: usize, fault: Fault) {
        self.cloud.faults.plan(action, calls, fault);
    }

    /// Sets the service's clock ahead of this machine's, or back with a negative number.
    pub fn set_clock_offset(&self, offset_ms: i64) {
        self.cloud.set_clock_offset(offset_ms);
    }

    /// Forgets all faults that were planned and have not happened, and those by chance.
    pub fn clear_faults(&self) {
        self.cloud.faults.clear();
    }

    /// Lets all device tokens expire, so that the next call with one is answered 401.
    pub fn expire_tokens(&self) {
        self.cloud.store().commit(Event::DeviceTokensExpired);
    }

    /// What is stored of a device's states, in the order of their times.
    pub fn states(&self, device_id: &str) -> Vec<StoredState> {
        self.cloud
            .store()
            .device(device_id)
            .map(|device| device.states.to_vec())
            .unwrap_or_default()
    }

    /// The commands that were sent to a device, in the order of their times.
    pub fn commands(&self, device_id: &str) -> Vec<StoredCommand> {
        let store = self.cloud.store();
        store.device(device_id).map(|device| device.commands.to_vec()).unwrap_or_default()
    }

    /// A device's connection log, in the order of its times.
    pub fn log(&self, device_id: &str) -> Vec<LogEntry> {
        self.cloud.store().device(device_id).map(|device| device.log.to_vec()).unwrap_or_default()
    }

    /// What happened so far, in figures.
    pub fn counters(&self) -> Counters {
        self.cloud.store().counters.clone()
    }

    /// Sends a command at the present time, as an application would.
    pub fn send_command(&self, device_id: &str, name: &str, payload: Value) {
        let time_ms = self.cloud.now_ms();
        let command = StoredCommand { time_ms, name: name.to_owned(), payload: Some(payload) };
        let (device_id, at_ms) = (device_id.to_owned(), Some(time_ms));
        self.cloud.store().commit(Event::Command { device_id, at_ms, command });
    }

    /// How many readers are attached to a device's command stream.
    pub fn streams_open(&self, device_id: &str) -> usize {
        self.cloud
            .store()
            .device(device_id)
            .map_or(0, |device| device.command_feed.receiver_count())
    }
}

fn devices(cloud: &Cloud) -> Vec<Device> {
    let store = cloud.store();
    let applications = cloud.settings.applications.iter();
    let given = applications.flat_map(|application| &application.devices);
    let existing = given.filter_map(|spec| store.device(&spec.device_id));
    existing.map(|device| Device::new(&device.application_id, &device.spec)).collect()
}
