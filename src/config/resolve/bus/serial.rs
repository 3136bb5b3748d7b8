//! Serial lines: the tables `[bus.serial.…]`.

use super::choice;
use crate::config::resolve::Check;
use crate::config::{FlowControl, Parity, SerialBus, StopBits, raw};

/// Bits per second: from the slowest that is still met to the fastest that Linux names.
const BAUD_RATE_RANGE: std::ops::RangeInclusive<i64> = 50..=4_000_000;

pub(super) fn serial(key: &str, raw: raw::Serial, check: &mut Check<'_>) -> SerialBus {
    let path =
        check.required(&format!("{key}.path"), raw.path, "give the tty: path = \"/dev/ttyUSB0\"");
    let parities = [("none", Parity::None), ("odd", Parity::Odd), ("even", Parity::Even)];
    let parity = choice(&format!("{key}.parity"), raw.parity, check, &parities);
    let flow_controls = [
        ("none", FlowControl::None),
        ("software", FlowControl::Software),
        ("hardware", FlowControl::Hardware),
    ];
    let flow_control =
        choice(&format!("{key}.flow_control"), raw.flow_control, check, &flow_controls);
    let baud_rate =
        check.integer(&format!("{key}.baud_rate"), raw.baud_rate, 9_600, &BAUD_RATE_RANGE);
    let data_bits = check.integer(&format!("{key}.data_bits"), raw.data_bits, 8, &(5..=8));
    let stop_bits = check.integer(&format!("{key}.stop_bits"), raw.stop_bits, 1, &(1..=2));
    let line =
        check.bytes(&format!("{key}.line_size_max"), raw.line_size_max, 4_096, &(16..=1 << 20));
    SerialBus {
        path: check.path(&path.unwrap_or_default()),
        baud_rate: u32::try_from(baud_rate).unwrap_or_default(),
        data_bits: u8::try_from(data_bits).unwrap_or_default(),
        parity: parity.unwrap_or(Parity::None),
        stop_bits: if stop_bits == 2 { StopBits::Two } else { StopBits::One },
        flow_control: flow_control.unwrap_or(FlowControl::None),
        line_bytes_max: usize::try_from(line).unwrap_or_default(),
    }
}
