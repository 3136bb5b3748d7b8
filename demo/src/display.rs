//! What the person sees: a few live lines on a terminal, plain lines anywhere else.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use crate::figures::Figures;

/// Widths of the bars, in columns.
const BAR: &str = "24";
/// Scale of the backlog's bar, in states: what the demo's outage gathers. More makes it longer.
const BACKLOG_SCALE: u64 = 150;

/// The demo's voice. Events are lines that stay; figures are lines that change.
pub(crate) struct Display {
    started: Instant,
    length: Duration,
    live: Option<Live>,
}

struct Live {
    lines: MultiProgress,
    cloud: ProgressBar,
    outbox: ProgressBar,
    sensors: ProgressBar,
    commands: ProgressBar,
    time: ProgressBar,
}

impl Display {
    /// A display for a demo of about `length`.
    pub(crate) fn new(length: Duration) -> Self {
        let live = std::io::stdout().is_terminal().then(|| Live::new(length));
        Self { started: Instant::now(), length, live }
    }

    /// Tells an event, with the time since the start.
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

    /// Brings the live lines up to date.
    pub(crate) fn show(&self, figures: &Figures) {
        let Some(live) = &self.live else { return };
        let status = figures.status.clone().unwrap_or_default();
        let link = match (&figures.status, figures.dark, status.online) {
            (None, ..) => "starting",
            (Some(_), true, _) => "dark   ",
            (Some(_), false, true) => "online ",
            (Some(_), false, false) => "offline",
        };
        let (batches, stored) = (status.batches, figures.stored);
        live.cloud
            .set_message(format!("{link}   {batches:>4} batches   {stored:>5} readings stored"));

        let waiting = status.outbox;
        live.outbox.set_length(live.outbox.length().unwrap_or_default().max(waiting.states));
        live.outbox.set_position(waiting.states);
        live.outbox.set_message(format!(
            "{:>4} states wait, {} readings, {}",
            waiting.states,
            waiting.readings,
            HumanBytes(waiting.bytes)
        ));

        let plug = if figures.probe.attached { "" } else { " (thermometer unplugged)" };
        let (probe, climate, power) = (figures.probe.readings(), figures.climate, figures.power);
        live.sensors.set_message(format!(
            "climate {climate:>4}   power {power:>4}   thermometer {probe:>4}   readings{plug}"
        ));

        let seen = |order: &Option<String>| order.clone().unwrap_or_else(|| "-".to_owned());
        let (fan, lamp) = (seen(&figures.fan), seen(&figures.lamp));
        live.commands.set_message(format!(
            "{} sent, {} executed   fan: {fan}   lamp: {lamp}",
            figures.sent, figures.executed
        ));

        let elapsed = self.started.elapsed();
        live.time.set_position(elapsed.min(self.length).as_secs());
        live.time.set_message(format!(
            "{} s of about {} s",
            elapsed.as_secs(),
            self.length.as_secs()
        ));
    }

    /// Takes the live lines away, before the last words.
    pub(crate) fn close(&mut self) {
        if let Some(live) = self.live.take() {
            // A terminal that has gone away has nothing to clear.
            live.lines.clear().ok();
            live.lines.set_draw_target(ProgressDrawTarget::hidden());
        }
    }
}

impl Live {
    fn new(length: Duration) -> Self {
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
            time: line("time", &cyan, length.as_secs()),
            lines,
        }
    }
}

/// A style from one of the templates above; a template with a slip would show as plain bars.
fn style(template: &str) -> ProgressStyle {
    let plain = ProgressStyle::default_bar();
    plain.clone().template(template).unwrap_or(plain).progress_chars("━━─")
}

#[expect(clippy::print_stdout, reason = "the demo is a program for people")]
fn print(text: &str) {
    println!("{text}");
}
