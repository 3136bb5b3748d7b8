//! Prompts at a terminal. Without a terminal the error names the argument to give instead.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Usage;
use tidegate_config::Secret;

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

/// Asks for a secret without echo. Without a terminal it is the first line of standard input.
pub(super) fn secret(question: &str) -> anyhow::Result<Secret> {
    let answer = if is_possible() {
        let no_echo = NoEcho::start()?;
        let answer = ask(&format!("{question} (hidden): "))?;
        drop(no_echo);
        writeln!(std::io::stderr())?;
        answer
    } else {
        read()?
    };
    if answer.is_empty() {
        return Err(Usage::new(format!("{question}: empty answer")).into());
    }
    Ok(Secret::from(answer))
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
