//! `tidegate outbox export`: for sites that are never online, and for gateways that go out of service.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::access::OutboxAccess;
use super::waiting_devices;
use crate::cli::progress::Progress;
use crate::cli::{Usage, print};
use crate::outbox_admin::{Exported, FILE_FORMAT, Lane, Request, STATES_MAX, Waiting};
use tidegate_model::DeviceId;
use tidegate_outbox::Removed;

/// Sequence numbers of a device that are in the file, without one between them that is not.
type Run = (DeviceId, u64, u64);

/// Where it goes.
enum Target {
    File(BufWriter<File>),
    Standard,
}

/// Writes what waits. What has no time yet is left, as nobody else could give it one.
pub(super) fn export(
    way: &OutboxAccess<'_>,
    chosen: Option<DeviceId>,
    remove: bool,
    path: &Path,
) -> anyhow::Result<()> {
    let is_standard = path == Path::new("-");
    if remove && is_standard {
        return Err(
            Usage::new("--remove needs a file: only that can be brought to the disk").into()
        );
    }
    let mut target = if is_standard { Target::Standard } else { Target::create(path)? };
    let lanes: Vec<Lane> = way.ask(&Request::Lanes)?;
    let mut progress = Progress::of("exported", lanes.iter().map(|lane| lane.states).sum());
    target.line(FILE_FORMAT)?;
    let (mut runs, mut untimed) = (Vec::new(), 0);
    for device in waiting_devices(way, chosen)? {
        untimed += write_device(way, device, &mut target, &mut runs, &mut progress)?;
    }
    let exported = progress.finish();
    target.finish(path)?;
    let mut removed = 0;
    for (device, first, through) in runs.iter().copied().filter(|_| remove) {
        let request = Request::Purge { device, first, through, is_exported: true };
        removed += way.ask::<Removed>(&request)?.states;
    }
    if is_standard {
        return Ok(());
    }
    let mut page = format!("{exported} states are in {}", path.display());
    if remove {
        write!(page, ", and {removed} of them no longer wait here")?;
    }
    if untimed > 0 {
        write!(page, "; {untimed} wait for the time of day and are not in it")?;
    }
    print(&format!("{page}\n"))
}

/// Writes the states of one device. Returns how many have no time.
fn write_device(
    way: &OutboxAccess<'_>,
    device: DeviceId,
    target: &mut Target,
    runs: &mut Vec<Run>,
    progress: &mut Progress,
) -> anyhow::Result<u64> {
    let (mut after, mut untimed, mut run) = (0, 0, None::<Run>);
    loop {
        let request = Request::States { device, after, limit: STATES_MAX };
        let states: Vec<Waiting> = way.ask(&request)?;
        let Some(last) = states.last() else { break };
        after = last.sequence;
        for Waiting { sequence, time, state } in states {
            if time.is_none() {
                untimed += 1;
                runs.extend(run.take());
                continue;
            }
            target.line(&serde_json::to_string(&Exported { device, state })?)?;
            run = Some((device, run.map_or(sequence, |(_, first, _)| first), sequence));
            progress.step();
        }
    }
    runs.extend(run);
    Ok(untimed)
}

impl Target {
    /// A new file, which only its owner can read. It replaces none.
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

    /// Brings it to the disk, with its name.
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
