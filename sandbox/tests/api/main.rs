//! The sandbox over HTTP, rule by rule.

mod access;
#[cfg(test)]
mod client;
#[cfg(test)]
mod command_line;
mod commands;
#[cfg(test)]
mod control;
#[cfg(test)]
mod exports;
mod faults;
mod histories;
#[cfg(test)]
mod losant;
#[cfg(test)]
mod management;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod payloads;
mod states;
mod status;
#[cfg(test)]
mod trouble;
