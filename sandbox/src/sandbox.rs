//! The handle of a running sandbox.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::action::Action;
use crate::cloud::Cloud;
use crate::counters::Counters;
use crate::devices::{ApplicationSpec, Device};
use crate::error::Error;
use crate::event::Event;
use crate::faults::Fault;
use crate::records::{LogEntry, StoredCommand, StoredState};
use crate::server::Server;
use crate::settings::Settings;
use crate::silent_loss::{LossUnit, LostValue};

/// A running sandbox. Dropping it stops the server and frees its port.
///
/// For an unknown device id, the methods return the same as for a device without histories.
#[derive(Debug)]
pub struct Sandbox {
    cloud: Arc<Cloud>,
    address: SocketAddr,
    url: String,
    devices: Vec<Device>,
    /// `None` while the port is closed.
    server: Mutex<Option<Server>>,
}

impl Sandbox {
    pub(crate) async fn from_settings(settings: Settings) -> Result<Self, Error> {
        let cloud = Arc::new(Cloud::new(settings)?);
        let devices = devices(&cloud);
        let server = Server::start(Arc::clone(&cloud), cloud.settings.listen).await?;
        let address = server.address();
        let url = format!("http://{address}");
        Ok(Self { cloud, address, url, devices, server: Mutex::new(Some(server)) })
    }

    /// Returns the base URL of the API, without a slash at the end: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the applications in the order of the settings.
    pub fn applications(&self) -> &[ApplicationSpec] {
        &self.cloud.settings.applications
    }

    /// Returns the id of the first application.
    pub fn application_id(&self) -> &str {
        self.applications().first().map_or("", |application| &application.application_id)
    }

    /// Returns the token of the first application, which allows all actions in it.
    pub fn api_token(&self) -> &str {
        self.applications().first().map_or("", |application| &application.api_token)
    }

    /// Returns the devices that existed at the start, in the order of the settings.
    pub fn devices(&self) -> &[Device] {
        &self.devices
    }

    /// Starts (`true`) or ends an outage.
    ///
    /// At the start, all calls in progress and streams break off. During the outage, the server
    /// accepts connections and drops them without a response.
    pub fn set_offline(&self, is_offline: bool) {
        self.cloud.faults.set_offline(is_offline);
    }

    /// Closes the port, so that connections are refused. The store is kept.
    pub fn close(&self) {
        self.replace_server(None);
    }

    /// Listens on the same address again, after [`Sandbox::close`].
    ///
    /// # Errors
    ///
    /// When the port is in use: by another program, or because it was not closed.
    pub async fn reopen(&self) -> Result<(), Error> {
        let server = Server::start(Arc::clone(&self.cloud), self.address).await?;
        self.replace_server(Some(server));
        Ok(())
    }

    fn replace_server(&self, server: Option<Server>) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// Ends all open streams properly, as the live service sometimes does.
    pub fn end_streams(&self) {
        self.cloud.faults.end_streams();
    }

    /// Breaks all open streams off. Clients can open new ones at once.
    pub fn cut_streams(&self) {
        self.cloud.faults.cut_streams();
    }

    /// Keeps all open streams open, but sends nothing more on them, not even keepalives, until they
    /// are ended or cut.
    pub fn silence_streams(&self) {
        self.cloud.faults.silence_streams();
    }

    /// Makes one call in `one_in` on average, of any action, meet one of `faults`, until
    /// [`Sandbox::clear_faults`]. For the same `seed`, the same sequence of calls meets the same
    /// faults.
    pub fn fail_randomly(&self, seed: u64, one_in: u32, faults: Vec<Fault>) {
        self.cloud.faults.plan_random(seed, one_in, faults);
    }

    /// Loses one in `one_in` of the states or values that it would store, on average, until
    /// [`Sandbox::clear_faults`]. The response is still 200. For the same `seed`, the same sequence
    /// of states loses the same ones.
    pub fn lose_silently(&self, seed: u64, one_in: u32, unit: LossUnit) {
        self.cloud.silent_losses.plan(seed, one_in, unit);
    }

    /// Returns the values of a device that were silently lost, in the order of their calls.
    pub fn lost_values(&self, device_id: &str) -> Vec<LostValue> {
        self.cloud.silent_losses.lost(device_id)
    }

    /// Makes the next `calls` calls of `action` meet `fault`, after the faults planned earlier.
    pub fn fail_next(&self, action: Action, calls: usize, fault: Fault) {
        self.cloud.faults.plan(action, calls, fault);
    }

    /// Sets the offset of the service's clock from this host's; a negative offset sets it back.
    pub fn set_clock_offset(&self, offset_ms: i64) {
        self.cloud.set_clock_offset(offset_ms);
    }

    /// Removes all planned and random faults, and ends silent losses.
    pub fn clear_faults(&self) {
        self.cloud.faults.clear();
        self.cloud.silent_losses.clear();
    }

    /// Expires all device tokens; the response to the next call with one is 401.
    pub fn expire_tokens(&self) {
        self.cloud.store().commit(Event::DeviceTokensExpired);
    }

    /// Returns the stored states of a device in the order of their times.
    pub fn states(&self, device_id: &str) -> Vec<StoredState> {
        self.cloud
            .store()
            .device(device_id)
            .map(|device| device.states.to_vec())
            .unwrap_or_default()
    }

    /// Returns the commands that were sent to a device, in the order of their times.
    pub fn commands(&self, device_id: &str) -> Vec<StoredCommand> {
        let store = self.cloud.store();
        store.device(device_id).map(|device| device.commands.to_vec()).unwrap_or_default()
    }

    /// Returns the connection log of a device in the order of its times.
    pub fn log(&self, device_id: &str) -> Vec<LogEntry> {
        self.cloud.store().device(device_id).map(|device| device.log.to_vec()).unwrap_or_default()
    }

    /// Returns the counters.
    pub fn counters(&self) -> Counters {
        self.cloud.store().counters.clone()
    }

    /// Returns a function that returns the counters, for a thread of its own.
    pub fn counter_reader(&self) -> impl Fn() -> Counters + Send + Sync + 'static {
        let cloud = Arc::clone(&self.cloud);
        move || cloud.store().counters.clone()
    }

    /// Sends a command with the current time, as an application does.
    pub fn send_command(&self, device_id: &str, name: &str, payload: Value) {
        let time_ms = self.cloud.now_ms();
        let command = StoredCommand { time_ms, name: name.to_owned(), payload: Some(payload) };
        let (device_id, at_ms) = (device_id.to_owned(), Some(time_ms));
        self.cloud.store().commit(Event::Command { device_id, at_ms, command });
    }

    /// Returns the number of open command streams of a device.
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
