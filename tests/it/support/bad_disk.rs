//! Disks that go bad: a small file system that can be filled up, and calls that the kernel refuses on request.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::wait_until;

/// Set where file systems may be mounted that nobody else sees.
const OWN_MOUNTS: &str = "OWN_MOUNTS";

/// Whether this test may mount file systems and look into its daemon. If not, it is run again, by its whole name, where it
/// may, and is done here.
pub(crate) fn is_privileged(test: &str) -> bool {
    if std::env::var_os(OWN_MOUNTS).is_some() {
        return true;
    }
    let unshare = |flags: &str| {
        let mut command = Command::new("unshare");
        command.arg(flags);
        command
    };
    let may = |flags: &&str| unshare(flags).arg("true").output().is_ok_and(|o| o.status.success());
    let Some(flags) = ["-m", "-Urm"].into_iter().find(may) else {
        assert!(!rustix::process::geteuid().is_root(), "root may not mount file systems here");
        eprintln!("skipped: this user may neither mount file systems nor have a namespace for it");
        return false;
    };
    let program = std::env::current_exe().unwrap();
    let again = unshare(flags)
        .arg(program)
        .args([test, "--exact", "--nocapture"])
        .env(OWN_MOUNTS, "1")
        .output()
        .unwrap();
    let [stdout, stderr] =
        [again.stdout, again.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(again.status.success() && stdout.contains("1 passed"), "{stdout}\n{stderr}");
    false
}

/// A small file system in memory.
pub(crate) struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB.
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

    /// Takes all the space that is left.
    pub(crate) fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let block = [0xAA; 4096];
        let error = std::iter::repeat_with(|| ballast.write_all(&block)).find_map(Result::err);
        assert_eq!(error.unwrap().kind(), ErrorKind::StorageFull);
    }

    /// Gives that space back.
    pub(crate) fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.path.join("ballast")
    }

    /// Nothing on it can be written any more.
    pub(crate) fn make_read_only(&self) {
        self.run("mount", &["-o", "remount,ro"]);
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(&self.path).status().ok();
    }
}

/// The kernel fails some calls of a process, until this is dropped.
pub(crate) struct Refusals {
    strace: Child,
}

impl Refusals {
    /// Fails these calls, parted by commas, with this error.
    pub(crate) fn of(process: u32, calls: &str, error: &str, log: &Path) -> Self {
        let inject = ["-e".to_owned(), format!("inject={calls}:error={error}")];
        Self::attach(process, calls, (Path::new("/dev/null"), log), &inject)
    }

    /// Fails nothing, and writes a line into `calls_log` for each of these calls.
    pub(crate) fn none(process: u32, calls: &str, (calls_log, log): (&Path, &Path)) -> Self {
        Self::attach(process, calls, (calls_log, log), &[])
    }

    fn attach(process: u32, calls: &str, (out, log): (&Path, &Path), more: &[String]) -> Self {
        let strace = Command::new("strace")
            .args(["-f", "-p", &process.to_string(), "-e", &format!("trace={calls}"), "-o"])
            .arg(out)
            .args(more)
            .stderr(File::create(log).unwrap())
            .stdout(Stdio::null())
            .spawn()
            .expect("strace is there: run tests/prepare.sh");
        let refusals = Self { strace };
        wait_until("strace has the process", || {
            fs::read_to_string(log).unwrap().contains("attached")
        });
        refusals
    }
}

impl Drop for Refusals {
    /// strace lets go of the process when it is asked to end.
    fn drop(&mut self) {
        kill_process(Pid::from_child(&self.strace), Signal::INT).ok();
        self.strace.wait().ok();
    }
}
