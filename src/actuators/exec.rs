//! Starts the program of a command.
//!
//! The program gets an argument vector without a shell, an environment with `PATH` only, no
//! standard input, the root directory, and a process group of its own. The whole group is killed if
//! the program takes too long or prints too much.

use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};

use super::{Driver, DriverContext, DriverError};
use tidegate_commands::actuator::{Actuator, WriteTemplate};
use tidegate_model::excerpt::line;
use tidegate_model::{Execution, Write, io_problem};

/// The search path of a login shell of Debian.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The driver of an actuator that starts a program.
struct ProgramRunner;

/// Returns the driver of an actuator that starts a program.
pub(super) fn driver(actuator: &Actuator, _context: &DriverContext) -> Option<Box<dyn Driver>> {
    matches!(actuator.write, WriteTemplate::Exec(_)).then_some(Box::new(ProgramRunner))
}

impl Driver for ProgramRunner {
    fn execute(&self, write: Write) -> super::Execution<'_> {
        Box::pin(async move {
            let Write::Exec(execution) = write else { return Err(DriverError::WrongKind) };
            Ok(run(&execution).await?)
        })
    }
}

/// Why a program failed.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// The program cannot be started.
    #[error("cannot start the program: {}", io_problem(.0))]
    Start(std::io::Error),
    /// The output of the program cannot be read.
    #[error("cannot read the output of the program: {}", io_problem(.0))]
    Read(std::io::Error),
    /// The program printed too much.
    #[error("the program printed more than {0} bytes and was killed; see output_size_max")]
    TooLong(usize),
    /// The program ended with another status than 0.
    #[error("the program ended with {status}: {output}")]
    Failed {
        /// The exit status.
        status: ExitStatus,
        /// The first line of its standard error, or else of its standard output.
        output: String,
    },
}

/// Kills the process group of a program on drop.
struct Group {
    child: Child,
    id: Option<Pid>,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            // The group may have ended already.
            kill_process_group(id, Signal::KILL).unwrap_or_default();
        }
    }
}

/// Runs a program to its end and returns the first line that it printed.
async fn run(execution: &Execution) -> Result<String, ExecError> {
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
    let (stdout, stderr, status) =
        tokio::try_join!(read(stdout, bytes_max), read(stderr, bytes_max), async {
            group.child.wait().await.map_err(ExecError::Read)
        })?;
    if status.success() {
        return Ok(line(&stdout));
    }
    let output = if stderr.is_empty() { line(&stdout) } else { line(&stderr) };
    Err(ExecError::Failed { status, output })
}

/// Reads the whole output.
///
/// # Errors
/// Fails if there are more than `bytes_max` bytes.
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
    async fn program_gets_arguments_without_a_shell() {
        let arguments = ["%s\n", "$(reboot); `id` | > /tmp/x"];
        let said = run(&execution("/usr/bin/printf", &arguments)).await.unwrap();
        assert_eq!(said, "$(reboot); `id` | > /tmp/x");
    }

    #[tokio::test]
    async fn program_gets_an_empty_environment() {
        let said = run(&execution("/usr/bin/env", &[])).await.unwrap();
        assert!(said.starts_with("PATH=/usr/local/sbin"), "{said}");
        assert!(!said.contains("CARGO"), "{said}");
    }

    #[tokio::test]
    async fn error_has_the_output_of_the_program() {
        let error =
            run(&execution("/bin/sh", &["-c", "echo no pump >&2; exit 3"])).await.unwrap_err();
        assert_eq!(error.to_string(), "the program ended with exit status: 3: no pump");
        let error = run(&execution("/nonexistent", &[])).await.unwrap_err();
        assert!(error.to_string().starts_with("cannot start the program"), "{error}");
    }

    #[tokio::test]
    async fn endless_output_is_killed() {
        let error = run(&execution("/usr/bin/yes", &[])).await.unwrap_err();
        assert!(matches!(error, ExecError::TooLong(100)), "{error}");
    }

    #[tokio::test]
    async fn abandoned_program_is_killed_with_its_children() {
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
        // Twice the time that the child needs.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!late.exists(), "a child of the program survived");
    }
}
