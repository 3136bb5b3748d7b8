//! The computer itself: temperature, load, memory, disks, power supply, Wi-Fi, wear of the SD card
//! and the gateway's health. Each message is one JSON object.

mod probe;

use std::path::Path;
use std::sync::Arc;

use tokio::time::MissedTickBehavior;
use tracing::info;

use crate::{BusContext, BusDriver, BusTask, WriteQueue};
use tidegate_config::SystemBus;
use tidegate_model::io_problem;

impl BusDriver for SystemBus {
    fn describe(&self) -> String {
        format!("this computer, every {}", humantime::format_duration(self.interval))
    }

    fn task(&self, context: BusContext, _: WriteQueue) -> BusTask {
        Box::pin(run(self.clone(), context))
    }
}

async fn run(settings: SystemBus, context: BusContext) {
    info!(bus = %context.bus, "reading the state of this computer");
    let mut problems = context.problems();
    let mut ticks = tokio::time::interval(settings.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = context.stopped() => return,
            _ = ticks.tick() => {}
        }
        let paths = settings.disks.clone();
        let gateway = settings.gateway.then(|| Arc::clone(&context.gateway_channels));
        let read = move || {
            let disks = probe::disks(&paths);
            let mut channels = probe::probe(Path::new("/"), &disks);
            if let (Some(gateway), Some(channels)) = (gateway, channels.as_object_mut()) {
                channels.insert("gateway".to_owned(), gateway());
            }
            (channels, disks)
        };
        let Some((channels, disks)) = context.read_blocking(read, &mut problems).await else {
            return;
        };
        for disk in disks {
            match disk.space {
                Ok(_) => problems.end(&disk.path),
                Err(error) => {
                    problems.begin(&disk.path, &format!("{}; see disks", io_problem(&error)));
                }
            }
        }
        context.offer("", channels.to_string().into());
    }
}
