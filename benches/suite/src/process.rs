//! Child processes: starts them, reads what they use from `/proc`, and kills them.

use std::fs::{self, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::figures::float;

/// The unit of processor time in `/proc/PID/stat`, in ticks per second (proc(5)).
const TICKS: f64 = 100.0;

/// What a process and its children use.
#[derive(Default, Clone, Copy)]
pub(crate) struct Usage {
    /// The processor time in user mode, in seconds.
    pub(crate) user: f64,
    /// The processor time in the kernel, in seconds.
    pub(crate) kernel: f64,
    /// The resident memory, in bytes.
    pub(crate) resident: f64,
    /// The largest resident memory so far, in bytes.
    pub(crate) peak: f64,
    /// The bytes that were written to a disk.
    pub(crate) written: f64,
}

impl Usage {
    /// Returns the processor time, in seconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.kernel
    }
}

/// A program that is killed, with its children, when it is dropped.
pub(crate) struct Program {
    child: Child,
}

impl Program {
    /// Starts a program. Its output is appended to a file.
    ///
    /// # Errors
    ///
    /// The program cannot be executed.
    pub(crate) fn start(command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file).process_group(0);
        let name = command.get_program().to_string_lossy().into_owned();
        let child = command.spawn().with_context(|| format!("cannot execute {name}"))?;
        Ok(Self { child })
    }

    /// Returns what the program and its children use.
    pub(crate) fn usage(&self) -> Usage {
        self.pids().into_iter().map(usage).fold(Usage::default(), |sum, one| Usage {
            user: sum.user + one.user,
            kernel: sum.kernel + one.kernel,
            resident: sum.resident + one.resident,
            peak: sum.peak + one.peak,
            written: sum.written + one.written,
        })
    }

    /// Returns the bytes that the program, without its children, wrote to files and sockets.
    pub(crate) fn output(&self) -> u64 {
        field(&format!("/proc/{}/io", self.child.id()), "wchar:")
    }

    /// Kills the program and its children at once, and waits for the end of the program.
    pub(crate) fn kill(&mut self) {
        for pid in self.pids() {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // A process that ended meanwhile needs no signal.
                kill_process(pid, Signal::KILL).ok();
            }
        }
        self.child.wait().ok();
    }

    /// Waits for the end of the program.
    pub(crate) fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Asks the program to stop, and waits for its end.
    pub(crate) fn stop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).ok();
        }
        self.child.wait().ok();
    }

    /// Returns the ids of the program and of its children.
    fn pids(&self) -> Vec<u32> {
        let mut pids = vec![self.child.id()];
        let mut at = 0;
        while let Some(pid) = pids.get(at).copied() {
            pids.extend(children(pid));
            at += 1;
        }
        pids
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the bytes that this process wrote to a disk, as the kernel counts them.
pub(crate) fn own_writes() -> u64 {
    field("/proc/self/io", "write_bytes:")
}

/// Returns the processor time of this process, in seconds.
pub(crate) fn own_cpu() -> f64 {
    usage(std::process::id()).cpu()
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<_>>())
        .collect()
}

fn usage(pid: u32) -> Usage {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name of the program is in parentheses and may have spaces.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    let mut seconds =
        fields.map(|ticks| ticks.parse().map_or(0.0, |ticks: u64| float(ticks) / TICKS));
    let status = format!("/proc/{pid}/status");
    Usage {
        user: seconds.next().unwrap_or_default(),
        kernel: seconds.next().unwrap_or_default(),
        resident: float(field(&status, "VmRSS:")) * 1024.0,
        peak: float(field(&status, "VmHWM:")) * 1024.0,
        written: float(field(&format!("/proc/{pid}/io"), "write_bytes:")),
    }
}

fn field(file: &str, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_kills_the_children_of_a_program() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 100 & wait"]);
        let mut program = Program::start(&mut command, &directory.path().join("log")).unwrap();
        while program.pids().len() < 2 {
            std::thread::yield_now();
        }
        let sleeper = program.pids()[1];
        assert!(program.usage().resident > usage(sleeper).resident);
        program.kill();
        let is_alive = || {
            let stat = fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
            !stat.is_empty() && !stat.contains(") Z ")
        };
        let killed = tokio::time::Instant::now();
        while is_alive() {
            assert!(killed.elapsed().as_secs() < 10, "the child survived");
            std::thread::yield_now();
        }
    }
}
