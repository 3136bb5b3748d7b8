//! `tidegate status`: shows the health of the running daemon, also as its exit code.

mod layout;
mod ledger;
mod node;
mod page;

use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{ConfigArgs, control, print};

/// The refresh interval of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(2);

/// Lines and columns without a terminal.
const SCREEN: (usize, usize) = (usize::MAX, 80);

/// Moves the cursor to the upper left and clears the screen (ECMA-48: CUP, ED).
const CLEAR: &str = "\x1b[H\x1b[J";

/// The exit code of each condition, as monitoring systems such as Nagios and Icinga expect it
/// (Monitoring Plugins Development Guidelines, "Plugin Return Codes").
const CONDITIONS: [(&str, u8); 3] = [("healthy", 0), ("degraded", 1), ("failing", 2)];

/// Options of `tidegate status`.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 healthy, 1 degraded (a part does not work),
2 failing (readings are lost, or a task is stuck), 69 no daemon is running, 77 permission denied, \
    78 the configuration cannot be read.")]
pub(super) struct StatusArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Print the status document as JSON.
    #[arg(long)]
    json: bool,
    /// Refresh every two seconds until Ctrl-C.
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Colour the screen: on a terminal (auto), always or never.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: Color,
}

/// When the screen has colours.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

impl Color {
    /// Returns whether to use colours. The variables are those of no-color.org and terminfo.
    fn is_used(self) -> bool {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let is_dumb = set("TERM").is_none_or(|term| term == "dumb");
                std::io::stdout().is_terminal() && set("NO_COLOR").is_none() && !is_dumb
            }
        }
    }
}

/// Prints the status of the daemon and returns its condition as an exit code.
pub(super) fn status(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let socket = args.config.socket()?;
    if args.watch {
        return watch(&socket, args.color);
    }
    let document = control::document(&socket, "/status")?;
    if args.json {
        print(&format!("{document}\n"))?;
    } else {
        let page = page::page(&document, screen().1);
        print(&page.render(usize::MAX, args.color.is_used()))?;
    }
    let condition = document.pointer("/health/condition").and_then(Value::as_str);
    let code = CONDITIONS.iter().find(|(word, _)| Some(*word) == condition);
    Ok(ExitCode::from(code.map_or(0, |(_, code)| *code)))
}

/// Draws the page every two seconds. Shows the error while no daemon answers.
fn watch(socket: &Path, color: Color) -> anyhow::Result<ExitCode> {
    loop {
        let (lines, columns) = screen();
        let page = match control::document(socket, "/status") {
            // The cursor needs the last line.
            Ok(document) => {
                page::page(&document, columns).render(lines.saturating_sub(1), color.is_used())
            }
            Err(error) => format!("{error:#}\n"),
        };
        print(&format!("{CLEAR}{page}"))?;
        std::thread::sleep(WATCH_INTERVAL);
    }
}

/// Returns the lines and columns of the terminal.
fn screen() -> (usize, usize) {
    let stdout = std::io::stdout();
    let size = stdout.is_terminal().then(|| rustix::termios::tcgetwinsize(stdout).ok()).flatten();
    size.filter(|size| size.ws_row > 1 && size.ws_col > 1)
        .map_or(SCREEN, |size| (size.ws_row.into(), size.ws_col.into()))
}
