//! The sources of the status document, and the paths of the control server.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::control::Routes;
use crate::declarations::DeclarationReader;
use crate::outbox_admin;
use crate::status::{Sources, StatusRegistry};
use tidegate_config::Config;
use tidegate_outbox::Outbox;
use tidegate_runtime::liveness::Liveness;

/// Returns the sources of the status document.
pub(super) fn sources(
    config: &Config,
    status: &StatusRegistry,
    outbox: &Arc<Outbox>,
    liveness: Liveness,
) -> Arc<Sources> {
    Arc::new(Sources {
        status: status.clone(),
        outbox: Arc::clone(outbox),
        bytes_max: config.outbox.bytes_max,
        path: config.outbox.path.clone(),
        liveness,
        started: Instant::now(),
        disk_query: Arc::default(),
        problems: std::sync::Mutex::default(),
    })
}

/// Registers the paths of the control server.
pub(super) fn routes(
    sources: Arc<Sources>,
    outbox: &Arc<Outbox>,
    reader: &Arc<DeclarationReader>,
    commits: watch::Sender<u64>,
) -> Routes {
    let mut routes = Routes::default();
    sources.register(&mut routes);
    let wake_reporter = move || commits.send_modify(|commits| *commits += 1);
    let (reader, queues) = (Arc::clone(reader), Arc::clone(outbox));
    let prepare = move || reader.mark_unchecked(&queues.queue_sizes().last);
    outbox_admin::register(Arc::clone(outbox), prepare, wake_reporter, &mut routes);
    routes
}
