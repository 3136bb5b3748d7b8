//! The output of the demo: live lines on a terminal, otherwise plain lines.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::snapshot::Snapshot;

/// Width of the bars in columns.
const BAR: &str = "24";
/// Initial scale of the outbox bar in states, about the backlog of the demo's outage.
const BACKLOG_SCALE: u64 = 150;

/// Prints events as permanent lines and snapshots as live lines.
pub(crate) struct Display {
    started: Instant,
    duration: Duration,
    live: Option<LiveLines>,
}

struct LiveLines {
    lines: MultiProgress,
    cloud: ProgressBar,
    outbox: ProgressBar,
    sensors: ProgressBar,
    commands: ProgressBar,
    time: ProgressBar,
}

impl Display {
    /// Creates a display for a demo of about this duration.
    pub(crate) fn new(duration: Duration) -> Self {
        let live = std::io::stdout().is_terminal().then(|| LiveLines::new(duration));
        Self { started: Instant::now(), duration, live }
    }

    /// Prints an event with the time since the start.
    pub(crate) fn event(&self, text: &str) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.print(&format!("{seconds:6.1} s  {text}"));
    }

    /// Prints text above the live lines.
    pub(crate) fn print(&self, text: &str) {
        match &self.live {
            Some(live) => live.lines.suspend(|| print(text)),
            None => print(text),
        }
    }

    /// Updates the live lines.
    pub(crate) fn show(&self, snapshot: &Snapshot) {
        let Some(live) = &self.live else { return };
        let status = snapshot.status.clone().unwrap_or_default();
        let link = match (&snapshot.status, snapshot.outage, status.online) {
            (None, ..) => "starting",
            (Some(_), true, _) => "outage ",
            (Some(_), false, true) => "online ",
            (Some(_), false, false) => "offline",
        };
        let (batches, stored) = (status.batches, snapshot.stored);
        live.cloud
            .set_message(format!("{link}   {batches:>4} batches   {stored:>5} readings stored"));

        let outbox = status.outbox;
        live.outbox.set_length(live.outbox.length().unwrap_or_default().max(outbox.states));
        live.outbox.set_position(outbox.states);
        live.outbox.set_message(format!(
            "{:>4} states, {} readings, {}",
            outbox.states,
            outbox.readings,
            HumanBytes(outbox.bytes)
        ));

        let plug = if snapshot.thermometer.tty_open { "" } else { " (thermometer unplugged)" };
        let (thermometer, climate, power) =
            (snapshot.thermometer.readings(), snapshot.climate, snapshot.power);
        live.sensors.set_message(format!(
            "climate {climate:>4}   power {power:>4}   thermometer {thermometer:>4}   \
             readings{plug}"
        ));

        let last = |command: &Option<String>| command.clone().unwrap_or_else(|| "-".to_owned());
        let (fan, lamp) = (last(&snapshot.fan), last(&snapshot.lamp));
        live.commands.set_message(format!(
            "{} sent, {} received   fan: {fan}   lamp: {lamp}",
            snapshot.commands_sent, snapshot.commands_received
        ));

        let elapsed = self.started.elapsed();
        live.time.set_position(elapsed.min(self.duration).as_secs());
        live.time.set_message(format!(
            "{} s of about {} s",
            elapsed.as_secs(),
            self.duration.as_secs()
        ));
    }

    /// Removes the live lines before the final report.
    pub(crate) fn close(&mut self) {
        if let Some(live) = self.live.take() {
            // An error means that the terminal is closed.
            live.lines.clear().ok();
            live.lines.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

impl LiveLines {
    fn new(duration: Duration) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(10));
        let text = style("  {prefix:<10}{msg}");
        let yellow = style(&format!("  {{prefix:<10}}{{bar:{BAR}.yellow/black.bright}}  {{msg}}"));
        let cyan = style(&format!("  {{prefix:<10}}{{bar:{BAR}.cyan/black.bright}}  {{msg}}"));
        let line = |name: &'static str, style: &ProgressStyle, length: u64| {
            let bar = ProgressBar::new(length).with_style(style.clone()).with_prefix(name);
            lines.add(bar)
        };
        line("", &text, 0).tick();
        Self {
            cloud: line("cloud", &text, 0),
            sensors: line("sensors", &text, 0),
            commands: line("commands", &text, 0),
            outbox: line("outbox", &yellow, BACKLOG_SCALE),
            time: line("time", &cyan, duration.as_secs()),
            lines,
        }
    }
}

/// Returns the style of a template; an invalid template falls back to the default style.
fn style(template: &str) -> ProgressStyle {
    let plain = ProgressStyle::default_bar();
    plain.clone().template(template).unwrap_or(plain).progress_chars("━━─")
}

#[expect(clippy::print_stdout, reason = "standard output is the output of the demo")]
fn print(text: &str) {
    println!("{text}");
}
