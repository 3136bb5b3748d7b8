//! Secrets stay out of core dumps.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// From now on a crash leaves no core dump, and no debugger of the same user may attach.
///
/// Not before files are read: it also takes away `/dev/stdin` and `/dev/fd/…`, as a shell's `<(…)` gives them.
pub(super) fn keep_out_of_core_dumps() {
    // The kernel refuses nothing here; were it to, a daemon that runs would still be better than one that does not.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
}
