//! `tidegate outbox export`: for sites without a network, and for gateways that are retired.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::access::OutboxAccess;
use super::queued_devices;
use crate::cli::progress::Progress;
use crate::cli::{Usage, print};
use crate::outbox_admin::{Exported, FILE_FORMAT, ListedState, QueueInfo, Request, STATES_MAX};
use tidegate_model::DeviceId;
use tidegate_outbox::Removed;

/// Consecutive states of a device that are all in the file.
struct ExportedRange {
    device: DeviceId,
    first: u64,
    last: u64,
}

/// The destination of an export.
enum Target {
    File(BufWriter<File>),
    Standard,
}

/// Exports the queued states. States without a time stay, because only their own gateway can
/// assign one.
pub(super) fn export(
    access: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
    remove: bool,
    path: &Path,
) -> anyhow::Result<()> {
    let is_standard = path == Path::new("-");
    if remove && is_standard {
        return Err(Usage::new(
            "--remove needs a file, which can be synced before states are removed",
        )
        .into());
    }
    let mut target = if is_standard { Target::Standard } else { Target::create(path)? };
    let queues: Vec<QueueInfo> = access.ask(&Request::Queues)?;
    let total = queues.iter().map(|queue| queue.states).sum();
    let mut progress = Progress::with_total("exported", total);
    target.line(FILE_FORMAT)?;
    let (mut ranges, mut untimed) = (Vec::new(), 0);
    for device in queued_devices(access, chosen)? {
        untimed += write_device(access, device, &mut target, &mut ranges, &mut progress)?;
    }
    let exported = progress.finish();
    target.finish(path)?;
    let mut removed = 0;
    for ExportedRange { device, first, last } in ranges.into_iter().filter(|_| remove) {
        let request = Request::Purge { device, first, last, is_exported: true };
        removed += access.ask::<Removed>(&request)?.states;
    }
    if is_standard {
        return Ok(());
    }
    let mut page = format!("exported {exported} states to {}", path.display());
    if remove {
        write!(page, "; removed {removed} from the outbox")?;
    }
    if untimed > 0 {
        write!(page, "; {untimed} states without a time were not exported")?;
    }
    print(&format!("{page}\n"))
}

/// Writes the states of one device. Returns the number of states without a time.
fn write_device(
    access: &OutboxAccess<'_>,
    device: DeviceId,
    target: &mut Target,
    ranges: &mut Vec<ExportedRange>,
    progress: &mut Progress,
) -> anyhow::Result<u64> {
    let (mut after, mut untimed, mut range) = (0, 0, None::<ExportedRange>);
    loop {
        let request = Request::States { device, after, limit: STATES_MAX };
        let states: Vec<ListedState> = access.ask(&request)?;
        let Some(last) = states.last() else { break };
        after = last.sequence;
        for ListedState { sequence, time, state } in states {
            if time.is_none() {
                untimed += 1;
                ranges.extend(range.take());
                continue;
            }
            target.line(&serde_json::to_string(&Exported { device, state })?)?;
            let first = range.map_or(sequence, |range| range.first);
            range = Some(ExportedRange { device, first, last: sequence });
            progress.step();
        }
    }
    ranges.extend(range);
    Ok(untimed)
}

impl Target {
    /// Creates a file that only its owner can read.
    ///
    /// # Errors
    /// When the file exists or cannot be created.
    fn create(path: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self::File(BufWriter::new(file)))
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        match self {
            Self::File(file) => Ok(writeln!(file, "{line}")?),
            Self::Standard => print(&format!("{line}\n")),
        }
    }

    /// Syncs the file and its name.
    fn finish(self, path: &Path) -> anyhow::Result<()> {
        let Self::File(file) = self else { return Ok(()) };
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        let directory = std::path::absolute(path)?;
        let directory = directory.parent().unwrap_or(Path::new("/"));
        File::open(directory)?.sync_all()?;
        Ok(())
    }
}
