//! The computer itself, as a sensor: temperature, load, memory, disks, power supply, Wi-Fi, wear of its card, and the
//! gateway's own health. One JSON document each time.

mod probe;

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use tokio::time::MissedTickBehavior;
use tracing::info;

use super::Feed;
use tidegate_config::SystemBus;

/// Tells the gateway's own health, as channels below `gateway`.
pub type Health = Arc<dyn Fn() -> Value + Send + Sync>;

/// The task that looks at the computer.
pub struct SystemTask {
    /// What to look at, and how often.
    pub settings: SystemBus,
    /// To the collector.
    pub feed: Feed,
    /// The gateway's own health.
    pub health: Health,
}

impl SystemTask {
    /// Runs until it is stopped.
    pub async fn run(self) {
        let Self { settings, feed, health } = self;
        info!(bus = %feed.bus(), "looking at this computer");
        let mut troubles = feed.troubles();
        let mut ticks = tokio::time::interval(settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = feed.stopped() => return,
                _ = ticks.tick() => {}
            }
            let (paths, health) =
                (settings.disks.clone(), settings.gateway.then(|| Arc::clone(&health)));
            let look = move || {
                let disks = probe::disks(&paths);
                let mut channels = probe::probe(Path::new("/"), &disks);
                if let (Some(health), Some(channels)) = (health, channels.as_object_mut()) {
                    channels.insert("gateway".to_owned(), health());
                }
                (channels, disks)
            };
            let Some((channels, disks)) = feed.look(look, &mut troubles).await else { return };
            for (path, space) in disks {
                match space {
                    Ok(_) => troubles.end(&path),
                    Err(error) => troubles.begin(&path, &format!("{error}; see disks")),
                }
            }
            feed.offer("", channels.to_string().into());
        }
    }
}
