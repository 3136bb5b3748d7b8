//! Prompts at a terminal. Without a terminal the error names the argument to give instead.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, QueueSelector, Termios, tcflush, tcgetattr, tcsetattr,
};

use super::Usage;
use tidegate_config::Secret;

/// The silence after which a paste is over.
const PASTE_SILENCE: Duration = Duration::from_millis(300);

/// The most parts of a paste that are discarded.
const PASTE_READS_MAX: usize = 256;

/// Returns whether standard input and standard error are terminals.
pub(super) fn is_possible() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for one line; an empty answer means `default`. A script passes `argument` instead.
pub(super) fn line(
    question: &str,
    default: Option<&str>,
    argument: &str,
) -> anyhow::Result<String> {
    if !is_possible() {
        let usage = || Usage::new(format!("no terminal to ask on: give {argument}"));
        return Ok(default.map(str::to_owned).ok_or_else(usage)?);
    }
    let shown = default.filter(|default| !default.is_empty());
    let shown = shown.map(|default| format!(" [{default}]")).unwrap_or_default();
    let answer = ask(&format!("{question}{shown}: "))?;
    Ok(if answer.is_empty() { default.unwrap_or_default().to_owned() } else { answer })
}

/// The answer to a question that a user can also skip or leave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<T> {
    /// The answer.
    Given(T),
    /// The user goes back to the question before.
    Back,
    /// The user skips the question.
    Skip,
}

/// Asks until `parse` accepts the answer, or it is `back` or `skip`. An empty answer means
/// `default`. A script passes `argument` instead, and its mistake ends the program.
pub(super) fn checked<T>(
    question: &str,
    default: Option<&str>,
    argument: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> anyhow::Result<Answer<T>> {
    if !is_possible() {
        let text = line(question, default, argument)?;
        return Ok(Answer::Given(parse(&text).map_err(Usage::new)?));
    }
    loop {
        let text = line(question, default, argument)?;
        match text.as_str() {
            "back" => return Ok(Answer::Back),
            "skip" => return Ok(Answer::Skip),
            _ => {}
        }
        match parse(&text) {
            Ok(answer) => return Ok(Answer::Given(answer)),
            Err(problem) => {
                let mut stderr = std::io::stderr().lock();
                writeln!(stderr, "  {problem}\n  Try again, or type skip or back.")?;
            }
        }
    }
}

/// Asks a yes-or-no question until the answer is one of them.
pub(super) fn choose(question: &str, default: bool) -> anyhow::Result<bool> {
    let choices = if default { "Y/n" } else { "y/N" };
    loop {
        match ask(&format!("{question} [{choices}]: "))?.to_lowercase().as_str() {
            "" => return Ok(default),
            "y" | "yes" => return Ok(true),
            "n" | "no" | "skip" | "back" => return Ok(false),
            _ => writeln!(std::io::stderr().lock(), "  Answer y or n.")?,
        }
    }
}

/// Reads and discards what the user has typed or pasted, so that a shell does not get it.
///
/// A paste over a slow line arrives in parts, so this ends only after a silence.
pub(super) fn discard_pending() {
    if !is_possible() {
        return;
    }
    let Ok(_no_echo) = NoEcho::start() else { return };
    let stdin = std::io::stdin();
    let silence = Timespec { tv_sec: 0, tv_nsec: PASTE_SILENCE.subsec_nanos().into() };
    let mut buffer = [0; 4_096];
    for _ in 0..PASTE_READS_MAX {
        let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
        if !matches!(poll(&mut waiting, Some(&silence)), Ok(1..)) {
            break;
        }
        // The end of the input or an error ends the reading.
        if !matches!(rustix::io::read(&stdin, &mut buffer), Ok(1..)) {
            break;
        }
    }
    // A part of a line, without its end, is not readable yet.
    tcflush(&stdin, QueueSelector::IFlush).unwrap_or_default();
}

/// Asks for a secret without echo. Without a terminal it is the first line of standard input.
pub(super) fn secret(question: &str) -> anyhow::Result<Secret> {
    if !is_possible() {
        let answer = read()?;
        if answer.is_empty() {
            return Err(Usage::new(format!("{question}: empty answer")).into());
        }
        return Ok(Secret::from(answer));
    }
    loop {
        let no_echo = NoEcho::start()?;
        let answer = ask(&format!("{question} (hidden): "));
        drop(no_echo);
        writeln!(std::io::stderr())?;
        let answer = answer?;
        if !answer.is_empty() {
            return Ok(Secret::from(answer));
        }
        writeln!(std::io::stderr().lock(), "  Nothing was entered. Try again; Ctrl-D ends.")?;
    }
}

/// Continues only with `--yes` or after the answer "yes". `effect` completes "This …"; `details`
/// lists what it affects.
pub(super) fn confirm(is_confirmed: bool, effect: &str, details: &[String]) -> anyhow::Result<()> {
    if is_confirmed {
        return Ok(());
    }
    let colon = if details.is_empty() { "" } else { ": " };
    if !is_possible() {
        let details = details.join(", ");
        let message = format!("this {effect}{colon}{details}; confirm with --yes");
        return Err(Usage::new(message).into());
    }
    let list =
        if details.is_empty() { ".".to_owned() } else { format!(":\n  {}", details.join("\n  ")) };
    let answer = ask(&format!("This {effect}{list}\nType yes to continue: ")).unwrap_or_default();
    if answer == "yes" { Ok(()) } else { Err(Usage::new("cancelled; nothing was changed").into()) }
}

/// Asks a yes-or-no question; the default is no. Without a terminal only `--yes` means yes.
pub(super) fn offer(is_confirmed: bool, question: &str) -> anyhow::Result<bool> {
    if is_confirmed || !is_possible() {
        return Ok(is_confirmed);
    }
    Ok(matches!(&*ask(&format!("{question} [y/N]: "))?, "y" | "Y" | "yes"))
}

fn ask(prompt: &str) -> anyhow::Result<String> {
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{prompt}")?;
    stderr.flush()?;
    read()
}

fn read() -> anyhow::Result<String> {
    let mut answer = String::new();
    if std::io::stdin().lock().read_line(&mut answer)? == 0 {
        return Err(Usage::new("no answer").into());
    }
    Ok(answer.trim().to_owned())
}

/// Turns the echo of the terminal off until it is dropped.
struct NoEcho(Termios);

impl NoEcho {
    fn start() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &silent)?;
        Ok(Self(before))
    }
}

impl Drop for NoEcho {
    fn drop(&mut self) {
        // A closed terminal needs no restore.
        tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0).unwrap_or_default();
    }
}
