//! Keeps secrets out of core dumps.

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

/// Disables core dumps and debuggers of the same user for this process.
///
/// Call it after all files are read: it also makes `/dev/stdin` and `/dev/fd/…` inaccessible, which
/// a shell's `<(…)` uses.
pub(super) fn keep_out_of_core_dumps() {
    // This call cannot fail with this argument. If it did, running would still be better than
    // stopping.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).unwrap_or_default();
}
