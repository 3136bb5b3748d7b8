//! A program that a command starts.
//!
//! It gets its argument vector and no shell, an environment with nothing of ours in it, no standard input, the root
//! directory, and a process group of its own, which is killed as a whole when it takes too long or prints too much.

use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use tidegate_model::Execution;
use tidegate_model::excerpt::line;

/// Where programs that a program calls are looked for: what a login shell of Debian has.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExecError {
    #[error("cannot start it: {0}")]
    Start(std::io::Error),
    #[error("cannot read what it prints: {0}")]
    Read(std::io::Error),
    #[error("it printed more than {0} bytes and was killed; see output_size_max")]
    TooLong(usize),
    #[error("it ended with {status}: {said}")]
    Failed { status: ExitStatus, said: String },
}

/// Kills the group of a program when it is dropped.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // It may be gone already.
            kill_process_group(id, Signal::KILL).unwrap_or_default();
        }
    }
}

/// Runs a program to its end; dropped half-way it is killed. Returns the first line that it printed.
///
/// # Errors
/// When it cannot be started, prints too much, or ends with another status than 0.
pub(super) async fn run(execution: &Execution) -> Result<String, ExecError> {
    let mut command = Command::new(&execution.program);
    command
        .args(&execution.arguments)
        .env_clear()
        .env("PATH", SEARCH_PATH)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    let child = command.spawn().map_err(ExecError::Start)?;
    let id = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut group = Group { child, id };
    let bytes_max = execution.output_bytes_max;
    let (stdout, stderr) = (group.child.stdout.take(), group.child.stderr.take());
    let (printed, complained, status) =
        tokio::try_join!(read(stdout, bytes_max), read(stderr, bytes_max), async {
            group.child.wait().await.map_err(ExecError::Read)
        },)?;
    if status.success() {
        return Ok(line(&printed));
    }
    let said = if complained.is_empty() { line(&printed) } else { line(&complained) };
    Err(ExecError::Failed { status, said })
}

/// Reads all of it, but no more than `bytes_max` bytes.
async fn read(
    output: Option<impl AsyncRead + Unpin>,
    bytes_max: usize,
) -> Result<Vec<u8>, ExecError> {
    let Some(output) = output else { return Ok(Vec::new()) };
    let mut bytes = Vec::new();
    let mut bounded = output.take(bytes_max as u64 + 1);
    bounded.read_to_end(&mut bytes).await.map_err(ExecError::Read)?;
    if bytes.len() > bytes_max { Err(ExecError::TooLong(bytes_max)) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn execution(program: &str, arguments: &[&str]) -> Execution {
        let arguments = arguments.iter().map(|one| (*one).to_owned()).collect();
        Execution { program: program.into(), arguments, output_bytes_max: 100 }
    }

    #[tokio::test]
    async fn a_program_gets_words_and_no_shell() {
        let words = ["%s\n", "$(reboot); `id` | > /tmp/x"];
        let said = run(&execution("/usr/bin/printf", &words)).await.unwrap();
        assert_eq!(said, "$(reboot); `id` | > /tmp/x");
    }

    #[tokio::test]
    async fn a_program_sees_nothing_of_our_environment() {
        let said = run(&execution("/usr/bin/env", &[])).await.unwrap();
        assert!(said.starts_with("PATH=/usr/local/sbin"), "{said}");
        assert!(!said.contains("CARGO"), "{said}");
    }

    #[tokio::test]
    async fn a_failure_is_told_in_the_programs_words() {
        let error =
            run(&execution("/bin/sh", &["-c", "echo no pump >&2; exit 3"])).await.unwrap_err();
        assert_eq!(error.to_string(), "it ended with exit status: 3: no pump");
        let error = run(&execution("/nonexistent", &[])).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot start it"), "{error}");
    }

    #[tokio::test]
    async fn one_that_prints_without_end_is_killed() {
        let error = run(&execution("/usr/bin/yes", &[])).await.unwrap_err();
        assert!(matches!(error, ExecError::TooLong(100)), "{error}");
    }

    #[tokio::test]
    async fn one_that_is_given_up_is_killed_with_its_children() {
        let directory = tempfile::TempDir::new().unwrap();
        let (born, late) = (directory.path().join("born"), directory.path().join("late"));
        let script =
            format!("( sleep 1; touch {} ) & touch {}; wait", late.display(), born.display());
        let endless = execution("/bin/sh", &["-c", &script]);
        {
            let running = run(&endless);
            tokio::pin!(running);
            while !born.exists() {
                assert!(
                    tokio::time::timeout(Duration::from_millis(5), &mut running).await.is_err()
                );
            }
        }
        // Twice as long as the child would have needed.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!late.exists(), "a child of the program lived on");
    }
}
