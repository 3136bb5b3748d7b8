//! The daemon as a whole: the real program against a real broker, real pseudo-terminals and the sandbox.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by a panic, in its helpers too"
)]

mod bad_input;
mod clock;
mod commands;
mod config;
mod crash;
mod delivery;
mod device_api;
mod device_ask;
mod examples;
mod http;
mod journal;
mod lifecycle;
mod limits;
mod mqtt;
mod network;
mod python;
mod reload;
mod secrecy;
mod sensors;
mod setup;
mod simulation;
mod support;
mod tidy;
