//! `tidegate run`: runs the daemon.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::app::Reloads;
use crate::{App, logging};
use tidegate_config::{Config, Entry};

/// Worker threads of the runtime. Tasks mostly wait, and a Pi has other work to do.
const WORKER_THREADS: usize = 2;

/// Threads for work that blocks, at most: the outbox, and one for each bus that reads files. A file
/// system that never answers holds one for ever. The unit's `TasksMax` is larger.
const BLOCKING_THREADS_MAX: usize = 96;

/// The longest wait for blocking threads after all tasks have ended.
const BLOCKING_THREADS_TIMEOUT: Duration = Duration::from_secs(1);

/// Disables transparent huge pages. sled reserves tables of 34 MB and uses few of their pages; with
/// huge pages each touched byte would cost 2 MB.
fn disable_huge_pages() {
    // A kernel without huge pages returns an error and needs no change.
    rustix::thread::disable_transparent_huge_pages(true).unwrap_or_default();
}

/// Runs the daemon until SIGTERM or SIGINT.
pub(super) fn run(file: &Path, config: Config, entries: Vec<Entry>) -> anyhow::Result<()> {
    let log = logging::start(&config.log_level)?;
    disable_huge_pages();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        // Handlers come first, so that an early signal stops the daemon in order.
        let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
        let mut hangup = signal(SignalKind::hangup()).context("cannot handle SIGHUP")?;
        let (sender, requests) = mpsc::channel(1);
        let reloads =
            Reloads { file: file.to_owned(), log: log.clone(), sender: sender.clone(), requests };
        let (version, device_id) = (env!("CARGO_PKG_VERSION"), config.cloud.device);
        info!(version, %device_id, "tidegate starting");
        logging::log_warnings(&config.warnings);
        let app = App::build(config, entries, log.clone())?;
        let running = app.run(stop.clone(), reloads);
        let forward = async {
            while hangup.recv().await.is_some() {
                // A reload that already waits covers this request, too.
                sender.try_send(()).unwrap_or_default();
            }
        };
        tokio::pin!(running, forward);
        let stop_signal = async {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
                () = &mut forward => "SIGHUP stream closed",
            }
        };
        tokio::select! {
            ended = &mut running => ended,
            name = stop_signal => {
                info!(signal = name, "received signal; stopping");
                stop.cancel();
                running.await
            }
        }
    });
    // A file or a tty that never answers blocks its thread for ever; the process must still end.
    runtime.shutdown_timeout(BLOCKING_THREADS_TIMEOUT);
    ended
}
