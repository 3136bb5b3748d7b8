//! Bad disks: a small file system that can be filled, and system calls that fail on request.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use super::skip::{SKIPPED, print, skip};
use super::wait_until;

/// An environment variable that is set in processes whose mounts no other process sees.
const OWN_MOUNTS: &str = "OWN_MOUNTS";

/// Returns a command that runs a program in a mount namespace of its own, or `None` if this user
/// may not mount file systems there. Tries it once.
pub(crate) fn with_own_mounts() -> Option<Command> {
    static FLAGS: OnceLock<Option<&str>> = OnceLock::new();
    let unshare = |flags: &str| {
        let mut command = Command::new("unshare");
        command.arg(flags);
        command
    };
    let may_mount = |flags: &&str| {
        let mount = ["mount", "-t", "tmpfs", "tmpfs", env!("CARGO_TARGET_TMPDIR")];
        unshare(flags).args(mount).output().is_ok_and(|output| output.status.success())
    };
    // Root needs no user namespace. An ordinary user is root in a user namespace of its own.
    FLAGS.get_or_init(|| ["-m", "-Urm"].into_iter().find(may_mount)).map(unshare)
}

/// Returns whether this process may mount file systems that no other process sees.
///
/// If not, runs `test`, which is named by its path, again in a process that may, or skips it. The
/// caller then returns.
pub(crate) fn has_own_mounts(test: &str) -> bool {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return true;
    }
    let Some(mut command) = with_own_mounts() else {
        skip(test, "this user may not mount file systems");
        return false;
    };
    let output = command
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(OWN_MOUNTS, "1")
        .output()
        .unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success() && stdout.contains("1 passed"), "{stdout}\n{stderr}");
    for line in stderr.lines().filter(|line| line.starts_with(SKIPPED)) {
        print(line);
    }
    false
}

/// A small file system in memory.
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts a file system of this size, in MiB.
    pub(crate) fn mount(path: PathBuf, mebibytes: u32) -> Self {
        fs::create_dir_all(&path).unwrap();
        let disk = Self { path };
        disk.run("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m,mode=700"), "tmpfs"]);
        disk
    }

    fn run(&self, program: &str, words: &[&str]) {
        let output = Command::new(program).args(words).arg(&self.path).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Fills the rest of the disk.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let block = [0xAA; 4096];
        let error = std::iter::repeat_with(|| ballast.write_all(&block)).find_map(Result::err);
        assert_eq!(error.unwrap().kind(), ErrorKind::StorageFull);
    }

    /// Frees the space that [`fill`](Self::fill) took.
    pub(crate) fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Changes the size, in MiB.
    pub(crate) fn resize(&self, mebibytes: u32) {
        self.run("mount", &["-o", &format!("remount,size={mebibytes}m")]);
    }

    /// Makes every later write fail.
    pub(crate) fn make_read_only(&self) {
        self.run("mount", &["-o", "remount,ro"]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.path).status().ok();
    }
}

/// strace, attached to a process until dropped.
///
/// The functions skip `test` and return `None` if this user may not trace the process.
pub(crate) struct Strace {
    process: Child,
}

impl Strace {
    /// Makes `calls`, separated by commas, fail with `error`, such as `EIO`.
    pub(crate) fn fail(
        test: &str,
        process: u32,
        calls: &str,
        error: &str,
        log: &Path,
    ) -> Option<Self> {
        let inject = format!("inject={calls}:error={error}");
        Self::attach(test, process, calls, &["-e", &inject, "-o", "/dev/null"], log)
    }

    /// Makes `calls`, separated by commas, begin only after `delay`, such as `20s`.
    pub(crate) fn delay(
        test: &str,
        process: u32,
        calls: &str,
        delay: &str,
        log: &Path,
    ) -> Option<Self> {
        let inject = format!("inject={calls}:delay_enter={delay}");
        Self::attach(test, process, calls, &["-e", &inject, "-o", "/dev/null"], log)
    }

    /// Writes a line into `calls_log` for each of `calls`, separated by commas.
    pub(crate) fn watch(
        test: &str,
        process: u32,
        calls: &str,
        calls_log: &Path,
        log: &Path,
    ) -> Option<Self> {
        Self::attach(test, process, calls, &["-o", calls_log.to_str().unwrap()], log)
    }

    fn attach(test: &str, process: u32, calls: &str, options: &[&str], log: &Path) -> Option<Self> {
        let strace = Command::new("strace")
            .args(["-f", "-p", &process.to_string(), "-e", &format!("trace={calls}")])
            .args(options)
            .stderr(File::create(log).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .expect("cannot run strace: tests/prepare.sh installs it");
        let strace = Self { process: strace };
        let mut messages = String::new();
        wait_until("strace is attached", || {
            messages = fs::read_to_string(log).unwrap();
            messages.contains("attached") || messages.contains("not permitted")
        });
        if messages.contains("not permitted") {
            skip(test, "this user may not trace processes");
            return None;
        }
        Some(strace)
    }
}

impl Drop for Strace {
    /// Ends strace, which detaches from the process.
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.process), Signal::INT).ok();
        self.process.wait().ok();
    }
}
