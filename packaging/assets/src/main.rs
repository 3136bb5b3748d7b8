//! Writes into a directory what the packages ship beside the program: man pages, shell completions,
//! licences.
//!
//! All of it comes from one source each: the command line from `clap`, tidegate.toml(5) from the
//! annotated defaults, the licences from the sources of the crates that are linked in.

mod licences;
mod options;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell;
use tidegate::cli::Cli;

/// The shells that Debian has a directory of completions for.
const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

fn main() -> anyhow::Result<()> {
    let directory = std::env::args_os().nth(1).map(PathBuf::from).context("give a directory")?;
    write(&directory.join("man"), man_pages)?;
    write(&directory.join("completions"), completions)?;
    write(&directory.join("licences"), licences::write)
}

fn write(directory: &Path, write: fn(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .map_err(anyhow::Error::from)
        .and_then(|()| write(directory))
        .with_context(|| format!("cannot write {}", directory.display()))
}

/// One page for the program, one for each subcommand, one for the configuration.
fn man_pages(directory: &Path) -> anyhow::Result<()> {
    let mut command = Cli::command();
    command.build();
    man_page(directory, "tidegate", command.clone())?;
    for subcommand in command.get_subcommands().filter(|command| is_page(command)) {
        let name = format!("tidegate-{}", subcommand.get_name());
        man_page(directory, &name, subcommand.clone())?;
    }
    fs::write(directory.join("tidegate.toml.5"), options::page(tidegate_config::DEFAULTS))?;
    Ok(())
}

/// Returns whether a subcommand has a page. `help` only prints the others.
fn is_page(command: &Command) -> bool {
    !command.is_hide_set() && command.get_name() != "help"
}

fn man_page(directory: &Path, name: &str, command: Command) -> anyhow::Result<()> {
    let page = clap_mangen::Man::new(command).title(name).manual("tidegate");
    page.render(&mut File::create(directory.join(format!("{name}.1")))?)?;
    Ok(())
}

fn completions(directory: &Path) -> anyhow::Result<()> {
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut Cli::command(), "tidegate", directory)?;
    }
    Ok(())
}
