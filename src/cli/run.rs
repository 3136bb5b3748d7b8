//! `tidegate run`: the daemon.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::app::Reloads;
use crate::{App, logging};
use tidegate_config::Config;
use tidegate_config::Entry;

/// Threads for the tasks: they wait more than they work, and a Pi has other things to do.
const WORKER_THREADS: usize = 2;

/// How long threads that wait for a device may still take when all tasks have ended.
const HUNG_THREADS_TIMEOUT: Duration = Duration::from_secs(1);

/// Memory comes in pages of the usual size, also where the kernel would give 2 MB to whoever touches a byte: of the tables
/// that sled lays out, 34 MB, hardly any page is used.
fn keep_pages_small() {
    // A kernel without huge pages refuses, and needs nothing.
    rustix::thread::disable_transparent_huge_pages(true).unwrap_or_default();
}

/// Runs the daemon until a signal asks it to stop.
pub(super) fn run(file: &Path, (config, entries): (Config, Vec<Entry>)) -> anyhow::Result<()> {
    let log = logging::start(&config.log_level)?;
    keep_pages_small();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        // The handlers are in place before anything runs, so that an early signal is not the end.
        let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
        let (ask, asked) = mpsc::channel(1);
        let reloads = Reloads { file: file.to_owned(), log: log.clone(), ask: ask.clone(), asked };
        info!(version = env!("CARGO_PKG_VERSION"), device_id = %config.cloud.device, "tidegate starting");
        let app = App::build(config, entries, log.clone())?;
        let running = app.run(stop.clone(), reloads);
        let forward = async {
            while hangup.recv().await.is_some() {
                // One that waits already does for both.
                ask.try_send(()).unwrap_or_default();
            }
        };
        tokio::pin!(running, forward);
        let asked = async {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                () = &mut forward => "an end of signals",
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
    });
    // A file or a tty that never answers holds its thread for ever, and must not hold us.
    runtime.shutdown_timeout(HUNG_THREADS_TIMEOUT);
    ended
}
