//! Turns bytes into channels, and channels into states: framing, decoding, mapping. Does no IO.

pub mod by_text;
pub mod decode;
pub mod dedup;
pub mod frame;
pub mod gpio;
mod hex_digits;
pub mod in_flight_window;
pub mod mapping;
pub mod retained;
pub mod sensor_stats;
pub mod serial_poll;
mod sml_transport;
pub mod text_encoding;
pub mod unit;
pub mod word;
