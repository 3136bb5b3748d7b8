//! Programs that print readings: run on an interval, or kept running and read by lines.
//!
//! A program gets an argument vector and no shell, an environment with nothing of ours in it, no standard input, and a
//! process group of its own, which is killed as a whole when the run is over, takes too long or prints too much. A run is over
//! when the program itself has ended. One that is read by lines waits for a collector that is behind.

use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::info;

use super::problem_log::ProblemLog;
use super::{Feed, RECONNECT_WAIT, sleep_until};
use tidegate_config::{ExecBus, ExecMode};
use tidegate_ingest::frame::{Frame, Framer, Framing};
use tidegate_model::Reason;
use tidegate_model::excerpt::excerpt;
use tidegate_runtime::liveness;
use tidegate_runtime::random;
use tidegate_timing::backoff::Backoff;

/// Where programs that a program calls are looked for: what a login shell of Debian has.
const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of what a program complains about is told, in bytes.
const COMPLAINT_BYTES_MAX: usize = 512;

/// Read at once of what a program prints, in bytes.
const READ_BYTES: usize = 4_096;

/// The longest wait before a program that ended without a line is started again: it may be broken for good.
const RESTART_WAIT_MAX: Duration = Duration::from_secs(300);

/// How long a program may go on after it closed its output, and how long its output may after the program's end: somebody
/// whom it left behind may hold it open for ever.
const END_WAIT: Duration = Duration::from_secs(2);

/// A program that ran so long was well.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// The task that runs one program.
pub struct ExecTask {
    /// Which, and when.
    pub settings: ExecBus,
    /// To the collector.
    pub feed: Feed,
}

/// Why a run gave nothing.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error("cannot start {program}: {error}")]
    Start { program: String, error: std::io::Error },
    #[error("cannot read what it prints: {0}")]
    Read(#[from] std::io::Error),
    #[error("it printed more than {0} bytes; see output_size_max")]
    TooLong(usize),
    #[error("it took longer than {0:?}; see timeout")]
    TooSlow(Duration),
    #[error("it closed its output, but goes on{complaint}")]
    Closed { complaint: String },
    #[error("it ended with {status}{complaint}")]
    Failed { status: ExitStatus, complaint: String },
}

impl ExecTask {
    /// Runs until it is stopped.
    pub async fn run(self) {
        let Self { settings, feed } = &self;
        let mut troubles = feed.troubles();
        info!(bus = %feed.bus(), program = settings.command.first(), "running a program");
        let running = async {
            match settings.mode {
                ExecMode::Interval { interval, timeout } => {
                    self.repeat(interval, timeout, &mut troubles).await;
                }
                ExecMode::Lines => self.keep_running(&mut troubles).await,
            }
        };
        // What runs is killed when it is dropped.
        tokio::select! {
            () = feed.stopped() => {}
            () = running => {}
        }
    }

    async fn repeat(&self, interval: Duration, timeout: Duration, troubles: &mut ProblemLog) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let run = tokio::time::timeout(timeout, run_once(&self.settings));
            let run =
                liveness::with_deadline(timeout + liveness::LATE_MAX, "a run of the program", run);
            match run.await.unwrap_or(Err(RunError::TooSlow(timeout))) {
                Ok(output) => {
                    troubles.end("program");
                    self.feed.offer("", output);
                }
                Err(error) => {
                    if matches!(error, RunError::TooLong(_)) {
                        self.feed.reject(Reason::TooLong);
                    }
                    troubles.begin("program", &error.to_string());
                }
            }
        }
    }

    async fn keep_running(&self, troubles: &mut ProblemLog) {
        let mut rng = random::seeded();
        let mut backoff = Backoff::new(RECONNECT_WAIT.0, RESTART_WAIT_MAX);
        loop {
            let (started, mut has_spoken) = (Instant::now(), false);
            if let Err(error) = self.read_lines(troubles, &mut has_spoken).await {
                troubles.begin("program", &error.to_string());
            }
            if started.elapsed() > HEALTHY_AFTER {
                backoff.reset();
            }
            let wait_max = if has_spoken { RECONNECT_WAIT.1 } else { RESTART_WAIT_MAX };
            tokio::time::sleep(backoff.next_delay(&mut rng).min(wait_max)).await;
        }
    }

    /// Passes lines on until the program ends, which it never should.
    async fn read_lines(
        &self,
        troubles: &mut ProblemLog,
        has_spoken: &mut bool,
    ) -> Result<(), RunError> {
        let mut program = Program::start(&self.settings)?;
        let mut framer = Framer::new(Framing::lines(self.settings.output_bytes_max));
        let stdout = program.child.stdout.take();
        let lines = self.pass_on(stdout, &mut framer, (troubles, has_spoken));
        let ended = watch(&mut program.child, lines, Some(END_WAIT)).await;
        // A line without its end, when there is no more to come.
        framer.handle_disconnected();
        for frame in framer.drain_frames() {
            self.take(frame).await;
        }
        match ended? {
            (Some(status), complaint) => Err(RunError::Failed { status, complaint }),
            (None, complaint) => Err(RunError::Closed { complaint }),
        }
    }

    async fn pass_on(
        &self,
        stdout: Option<ChildStdout>,
        framer: &mut Framer,
        (troubles, has_spoken): (&mut ProblemLog, &mut bool),
    ) -> Result<(), RunError> {
        let Some(mut stdout) = stdout else { return Ok(()) };
        // A program may pause within a line for as long as it likes: for the framer no time passes.
        let started = Instant::now().into_std();
        let mut buffer = [0; READ_BYTES];
        while let length @ 1.. = stdout.read(&mut buffer).await? {
            framer.handle_bytes(buffer.get(..length).unwrap_or_default(), started);
            for frame in framer.drain_frames() {
                troubles.end("program");
                *has_spoken = true;
                self.take(frame).await;
            }
        }
        Ok(())
    }

    /// The pipe holds what comes while the collector is behind.
    async fn take(&self, frame: Frame) {
        match frame {
            Frame::Whole(line) => self.feed.deliver("", line, None).await,
            Frame::Lost(loss) => self.feed.lose_frame(loss),
        }
    }
}

/// Runs the program once and returns what it printed.
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
    match watch(&mut program.child, output, None).await? {
        (Some(status), _) if status.success() => Ok(printed.into()),
        (Some(status), complaint) => Err(RunError::Failed { status, complaint }),
        (None, complaint) => Err(RunError::Closed { complaint }),
    }
}

/// Waits until the program and its output have ended, and returns how it ended and what it complained about. There is no
/// status if it goes on for longer than this without output.
async fn watch(
    child: &mut Child,
    output: impl Future<Output = Result<(), RunError>>,
    silent_max: Option<Duration>,
) -> Result<(Option<ExitStatus>, String), RunError> {
    let (stderr, mut words) = (child.stderr.take(), Vec::new());
    let mut status = None;
    {
        let (mut output, mut complaint) = (pin!(output), pin!(complain(stderr, &mut words)));
        let (mut is_silent, mut is_content, mut until) = (false, false, None);
        while !(is_silent && is_content && status.is_some()) {
            tokio::select! {
                read = &mut output, if !is_silent => {
                    read?;
                    is_silent = true;
                    until = until.or(silent_max.map(|wait| Instant::now() + wait));
                }
                () = &mut complaint, if !is_content => is_content = true,
                ended = child.wait(), if status.is_none() => {
                    status = Some(ended?);
                    until = Some(Instant::now() + END_WAIT);
                }
                () = sleep_until(until) => break,
            }
        }
    }
    let words = words.trim_ascii();
    let complaint = if words.is_empty() { String::new() } else { format!(": {}", excerpt(words)) };
    Ok((status, complaint))
}

/// Reads all that a program complains about, and keeps how that begins.
async fn complain(stderr: Option<ChildStderr>, words: &mut Vec<u8>) {
    let Some(mut stderr) = stderr else { return };
    let mut buffer = [0; READ_BYTES];
    while let Ok(length @ 1..) = stderr.read(&mut buffer).await {
        let room = COMPLAINT_BYTES_MAX.saturating_sub(words.len());
        words.extend_from_slice(buffer.get(..length.min(room)).unwrap_or_default());
    }
}

/// A running program, whose whole group is killed when this is dropped.
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
            // A group that has ended by itself is what is wanted.
            kill_process_group(group, Signal::KILL).unwrap_or_default();
        }
    }
}
