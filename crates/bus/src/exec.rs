//! Programs that print readings: run on an interval, or kept running and read by lines.
//!
//! A program is started without a shell, with an environment of its own, without standard input,
//! and as the leader of a process group. The whole group is killed when the run is over, takes too
//! long or prints too much. A run is over when the program itself has exited. A program that is
//! read by lines is slowed down by a collector that is behind: the pipe fills.

use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::info;

use crate::problem_log::ProblemLog;
use crate::{BusContext, BusDriver, BusTask, RECONNECT_DELAY_MAX, RECONNECT_DELAY_MIN, WriteQueue};
use tidegate_config::{ExecBus, ExecMode};
use tidegate_ingest::frame::{Framer, Framing};
use tidegate_model::excerpt::excerpt;
use tidegate_model::{Reason, io_problem};
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_runtime::wait::sleep_until;
use tidegate_timing::backoff::Backoff;

/// The `PATH` of a program: that of a login shell of Debian.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The bytes of standard error that an error message quotes.
const STDERR_BYTES_MAX: usize = 512;

/// The bytes that are read at once.
const READ_BYTES: usize = 4_096;

/// The longest delay before a program that ended without a line is started again: it may never
/// work.
const RESTART_DELAY_MAX: Duration = Duration::from_secs(300);

/// How long a program may run after it closed its output, and how long the output may stay open
/// after the program has exited: a child process may hold it open.
const END_WAIT: Duration = Duration::from_secs(2);

/// A program that ran this long counts as healthy.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// The subject of all problems of this bus.
const PROGRAM: &str = "program";

impl BusDriver for ExecBus {
    fn describe(&self) -> String {
        let program = self.command.join(" ");
        match self.mode {
            ExecMode::Interval { interval, .. } => {
                format!("program {program}, every {}", humantime::format_duration(interval))
            }
            ExecMode::Lines => format!("program {program}, always, by lines"),
        }
    }

    fn framing(&self) -> Option<Framing> {
        (self.mode == ExecMode::Lines).then(|| Framing::lines(self.output_bytes_max))
    }

    fn task(&self, context: BusContext, _: WriteQueue) -> BusTask {
        Box::pin(Driver { settings: self.clone(), context }.run())
    }
}

/// Why a run gave no reading.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot start {program}: {}", io_problem(error))]
    Start { program: String, error: std::io::Error },
    #[error("cannot read its output: {}", io_problem(.0))]
    Read(#[from] std::io::Error),
    #[error("it printed more than {0} bytes; see output_size_max")]
    TooLong(usize),
    #[error("it took longer than {0:?}; see timeout")]
    TooSlow(Duration),
    #[error("it closed its output, but continues to run{stderr}")]
    Closed { stderr: String },
    #[error("it ended with {status}{stderr}")]
    Failed { status: ExitStatus, stderr: String },
}

struct Driver {
    settings: ExecBus,
    context: BusContext,
}

impl Driver {
    async fn run(self) {
        let Self { settings, context } = &self;
        let mut problems = context.problems();
        info!(bus = %context.bus, program = settings.command.first(), "running a program");
        let running = async {
            match settings.mode {
                ExecMode::Interval { interval, timeout } => {
                    self.repeat(interval, timeout, &mut problems).await;
                }
                // Boxed, because the future holds the read buffer and the framer.
                ExecMode::Lines => Box::pin(self.keep_running(&mut problems)).await,
            }
        };
        // Dropping the future kills the program.
        tokio::select! {
            () = context.stopped() => {}
            () = running => {}
        }
    }

    async fn repeat(&self, interval: Duration, timeout: Duration, problems: &mut ProblemLog) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let run = tokio::time::timeout(timeout, run_once(&self.settings));
            let run =
                liveness::with_deadline(timeout + liveness::LATE_MAX, "a run of the program", run);
            match run.await.unwrap_or(Err(RunError::TooSlow(timeout))) {
                Ok(output) => {
                    problems.end(PROGRAM);
                    self.context.offer("", output);
                }
                Err(error) => {
                    if matches!(error, RunError::TooLong(_)) {
                        self.context.reject(Reason::TooLong);
                    }
                    problems.begin(PROGRAM, &error.to_string());
                }
            }
        }
    }

    async fn keep_running(&self, problems: &mut ProblemLog) {
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RECONNECT_DELAY_MIN, RESTART_DELAY_MAX);
        loop {
            let (started, mut has_printed) = (Instant::now(), false);
            if let Err(error) = self.read_lines(problems, &mut has_printed).await {
                problems.begin(PROGRAM, &error.to_string());
            }
            if started.elapsed() > HEALTHY_AFTER {
                backoff.reset();
            }
            let delay_max = if has_printed { RECONNECT_DELAY_MAX } else { RESTART_DELAY_MAX };
            tokio::time::sleep(backoff.next_delay(&mut rng).min(delay_max)).await;
        }
    }

    /// Passes on lines until the program ends. It should never end.
    async fn read_lines(
        &self,
        problems: &mut ProblemLog,
        has_printed: &mut bool,
    ) -> Result<(), RunError> {
        let mut program = Program::start(&self.settings)?;
        let mut framer = Framer::new(Framing::lines(self.settings.output_bytes_max));
        let stdout = program.child.stdout.take();
        let lines = self.pass_on(stdout, &mut framer, problems, has_printed);
        let ended = wait_for_end(&mut program.child, lines, Some(END_WAIT)).await;
        // Counts a line without its end.
        framer.handle_disconnected();
        for frame in framer.drain_frames() {
            self.context.deliver_frame(frame).await;
        }
        let End { status, stderr } = ended?;
        match status {
            Some(status) => Err(RunError::Failed { status, stderr }),
            None => Err(RunError::Closed { stderr }),
        }
    }

    async fn pass_on(
        &self,
        stdout: Option<ChildStdout>,
        framer: &mut Framer,
        problems: &mut ProblemLog,
        has_printed: &mut bool,
    ) -> Result<(), RunError> {
        let Some(mut stdout) = stdout else { return Ok(()) };
        // A program may pause within a line: the framer gets one time for all input.
        let started = Instant::now().into_std();
        let mut buffer = [0; READ_BYTES];
        while let length @ 1.. = stdout.read(&mut buffer).await? {
            framer.handle_bytes(buffer.get(..length).unwrap_or_default(), started);
            for frame in framer.drain_frames() {
                problems.end(PROGRAM);
                *has_printed = true;
                self.context.deliver_frame(frame).await;
            }
        }
        Ok(())
    }
}

/// Runs the program once and returns its output.
async fn run_once(settings: &ExecBus) -> Result<Bytes, RunError> {
    let mut program = Program::start(settings)?;
    let bytes_max = settings.output_bytes_max;
    let (stdout, mut printed) = (program.child.stdout.take(), Vec::new());
    let output = async {
        let Some(mut stdout) = stdout else { return Ok(()) };
        while stdout.read_buf(&mut printed).await? > 0 {
            if printed.len() > bytes_max {
                return Err(RunError::TooLong(bytes_max));
            }
        }
        Ok(())
    };
    let End { status, stderr } = wait_for_end(&mut program.child, output, None).await?;
    match status {
        Some(status) if status.success() => Ok(printed.into()),
        Some(status) => Err(RunError::Failed { status, stderr }),
        None => Err(RunError::Closed { stderr }),
    }
}

/// How a program ended.
struct End {
    /// The exit status; `None` if the program closed its output and continued to run.
    status: Option<ExitStatus>,
    /// The beginning of its standard error, for a message.
    stderr: String,
}

/// Waits until the program has exited and `output` has finished.
///
/// Gives up if the program runs for longer than `silent_max` after its output has finished.
async fn wait_for_end(
    child: &mut Child,
    output: impl Future<Output = Result<(), RunError>>,
    silent_max: Option<Duration>,
) -> Result<End, RunError> {
    let (stderr, mut text) = (child.stderr.take(), Vec::new());
    let mut status = None;
    {
        let (mut output, mut stderr) = (pin!(output), pin!(read_stderr(stderr, &mut text)));
        let (mut is_output_read, mut is_stderr_read, mut deadline) = (false, false, None);
        while !(is_output_read && is_stderr_read && status.is_some()) {
            tokio::select! {
                read = &mut output, if !is_output_read => {
                    read?;
                    is_output_read = true;
                    deadline = deadline.or(silent_max.map(|wait| Instant::now() + wait));
                }
                () = &mut stderr, if !is_stderr_read => is_stderr_read = true,
                ended = child.wait(), if status.is_none() => {
                    status = Some(ended?);
                    deadline = Some(Instant::now() + END_WAIT);
                }
                () = sleep_until(deadline) => break,
            }
        }
    }
    let text = text.trim_ascii();
    let stderr = if text.is_empty() { String::new() } else { format!(": {}", excerpt(text)) };
    Ok(End { status, stderr })
}

/// Reads all of standard error and keeps its beginning.
async fn read_stderr(stderr: Option<ChildStderr>, text: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = [0; READ_BYTES];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        let remaining = STDERR_BYTES_MAX.saturating_sub(text.len());
        text.extend_from_slice(buffer.get(..length.min(remaining)).unwrap_or_default());
    }
}

/// A running program. Dropping it kills its process group.
struct Program {
    child: Child,
    group: Option<Pid>,
}

impl Program {
    fn start(settings: &ExecBus) -> Result<Self, RunError> {
        let (program, arguments) = settings.command.split_first().unzip();
        let program = program.map_or_else(String::new, Clone::clone);
        let child = Command::new(&program)
            .args(arguments.unwrap_or_default())
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .envs(settings.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| RunError::Start { program, error })?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, group })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if let Some(group) = self.group {
            // An error means that the group has ended already.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}
