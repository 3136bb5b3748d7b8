//! Tests of the real program against a real broker, real pseudo-terminals and the sandbox.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by a panic, in its helpers too"
)]

mod attribute_check;
mod audit;
mod bad_input;
mod bus_exec;
mod bus_http;
mod bus_local;
mod bus_meter;
mod bus_modbus;
mod bus_modbus_faults;
mod bus_mqtt;
mod bus_serial;
mod bus_tail;
mod check_online;
mod clock;
mod command_attacks;
mod command_gateway;
mod command_gpio;
mod command_line;
mod command_modbus;
mod command_results;
mod command_soak;
mod command_streams;
mod commands;
mod config;
mod counters;
mod crash;
mod crash_rig;
mod declared;
mod delayed_sync;
mod delivery;
mod device_api;
mod device_ask;
mod drain;
mod examples;
mod gpsd;
mod health;
mod health_buses;
mod health_cloud;
mod health_storage;
mod http;
mod javascript;
mod journal;
mod learn;
mod lifecycle;
mod limits;
mod memory;
mod merge_window;
mod mqtt;
mod network;
mod outage;
mod outbox_cli;
mod presets;
mod probe;
mod provision;
mod python;
mod reload;
mod secrecy;
mod sensors;
mod setup;
mod soak_sensors;
mod sparkplug;
mod storage;
mod support;
