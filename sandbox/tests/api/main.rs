//! The sandbox over HTTP, rule by rule.

mod access;
#[cfg(test)]
mod client;
mod command_line;
mod commands;
#[cfg(test)]
mod control;
mod faults;
mod histories;
#[cfg(test)]
mod losant;
mod states;
mod status;
