//! `tidegate run`: the daemon.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::{App, Config, logging};

/// Threads for the tasks: they wait more than they work, and a Pi has other things to do.
const WORKER_THREADS: usize = 2;

/// Runs the daemon until a signal asks it to stop.
pub(super) fn run(config: Config) -> anyhow::Result<()> {
    logging::start(&config.log_level)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        // The handlers are in place before anything runs, so that an early signal is not the end.
        let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
        info!(version = env!("CARGO_PKG_VERSION"), device_id = %config.cloud.device, "tidegate starting");
        let app = App::build(config)?;
        let running = app.run(stop.clone());
        tokio::pin!(running);
        let asked = async {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        tokio::select! {
            ended = &mut running => ended,
            name = asked => {
                info!(signal = name, "asked to stop");
                stop.cancel();
                running.await
            }
        }
    })
}
