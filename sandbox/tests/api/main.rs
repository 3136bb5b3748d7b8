//! Tests of the sandbox over HTTP.

mod access;
#[cfg(test)]
mod client;
#[cfg(test)]
mod command_line;
mod commands;
#[cfg(test)]
mod control;
#[cfg(test)]
mod data_dir;
mod devices;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod fault_responses;
mod faults;
mod histories;
#[cfg(test)]
mod losant;
#[cfg(test)]
mod management;
#[cfg(test)]
mod payloads;
mod states;
mod status;
