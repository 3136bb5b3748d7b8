//! Questions to a person at a terminal. Where there is no one to ask, the words say which argument answers.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use super::Usage;
use tidegate_config::Secret;

/// Whether there is a person to ask.
pub(super) fn is_possible() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks for one line; an empty answer is `default`. `argument` is what a script gives instead.
pub(super) fn line(
    question: &str,
    default: Option<&str>,
    argument: &str,
) -> anyhow::Result<String> {
    if !is_possible() {
        let usage = || Usage::new(format!("there is no one to ask: give {argument}"));
        return Ok(default.map(str::to_owned).ok_or_else(usage)?);
    }
    let shown = default.filter(|default| !default.is_empty());
    let shown = shown.map(|default| format!(" [{default}]")).unwrap_or_default();
    let answer = ask(&format!("{question}{shown}: "))?;
    Ok(if answer.is_empty() { default.unwrap_or_default().to_owned() } else { answer })
}

/// Asks for a secret without showing it; without a terminal it is the first line of standard input.
pub(super) fn secret(question: &str) -> anyhow::Result<Secret> {
    let answer = if is_possible() {
        let quiet = Quiet::start()?;
        let answer = ask(&format!("{question} (not shown): "))?;
        drop(quiet);
        writeln!(std::io::stderr())?;
        answer
    } else {
        read()?
    };
    if answer.is_empty() {
        return Err(Usage::new(format!("{question}: nothing was given")).into());
    }
    Ok(Secret::from(answer))
}

/// Goes on only with `--yes`, or with a yes from a person. `deed` continues "This …"; `parts` are what it is done to.
pub(super) fn agree(is_agreed: bool, deed: &str, parts: &[String]) -> anyhow::Result<()> {
    if is_agreed {
        return Ok(());
    }
    let colon = if parts.is_empty() { "" } else { ": " };
    if !is_possible() {
        let parts = parts.join(", ");
        let words = format!("this {deed}{colon}{parts}; give --yes if that is meant");
        return Err(Usage::new(words).into());
    }
    let list =
        if parts.is_empty() { ".".to_owned() } else { format!(":\n  {}", parts.join("\n  ")) };
    // No answer is no yes.
    let answer = ask(&format!("This {deed}{list}\nType yes to go on: ")).unwrap_or_default();
    if answer == "yes" { Ok(()) } else { Err(Usage::new("not done").into()) }
}

/// Offers something that may as well be left. Without a person only `--yes` takes it.
pub(super) fn offer(is_agreed: bool, question: &str) -> anyhow::Result<bool> {
    if is_agreed || !is_possible() {
        return Ok(is_agreed);
    }
    Ok(matches!(&*ask(&format!("{question} [y/N]: "))?, "y" | "Y" | "yes"))
}

fn ask(words: &str) -> anyhow::Result<String> {
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "{words}")?;
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

/// While it lives, the terminal does not show what is typed.
struct Quiet(Termios);

impl Quiet {
    fn start() -> std::io::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(std::io::stdin(), OptionalActions::Now, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // Were the terminal gone, there would be nothing to restore.
        tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0).unwrap_or_default();
    }
}
