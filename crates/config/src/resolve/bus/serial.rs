//! Serial lines: the tables `[bus.serial.…]`, and the ttys of others.

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;

use super::{INTERVAL_RANGE, choice, span};
use crate::field::Field;
use crate::resolve::Check;
use crate::resolve::frame::framing;
use crate::{
    FlowControl, Parity, Place, Port, Rs485, SerialBus, SerialPoll, StopBits, UsbIdentity, raw,
};
use tidegate_ingest::frame::Framing;

/// Bits per second: from the slowest that is still met to what the fastest adapters take. Between them an adapter takes what
/// it can, and says so when the line is opened.
const BAUD_RATE_RANGE: RangeInclusive<i64> = 50..=12_000_000;

/// How long an answer on a serial line may take.
const TIMEOUT_RANGE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(60);

/// Silence before the next question.
const GAP_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(10);

/// How long RTS is held around what is sent: the kernel takes at most 100 ms (`drivers/tty/serial/serial_core.c`).
const RS485_DELAY_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(100);

/// Questions in one round.
const QUESTIONS_MAX: usize = 32;

/// The options of a tty as they are written.
pub(super) struct PortOptions {
    pub(super) path: Option<Field<String>>,
    pub(super) usb: Option<Field<String>>,
    pub(super) usb_interface: Option<Field<i64>>,
    pub(super) baud_rate: Option<Field<i64>>,
    pub(super) data_bits: Option<Field<i64>>,
    pub(super) parity: Option<Field<String>>,
    pub(super) stop_bits: Option<Field<i64>>,
    pub(super) flow_control: Option<Field<String>>,
    pub(super) rs485: Option<Field<String>>,
    pub(super) rs485_delay: Option<Field<Duration>>,
}

pub(super) fn serial(key: &str, raw: raw::Serial, check: &mut Check<'_>) -> SerialBus {
    let framing = framing(&format!("{key}.frame"), raw.frame, check);
    let timing = (raw.poll_interval, raw.poll_timeout, raw.poll_gap);
    let options = PortOptions {
        path: raw.path,
        usb: raw.usb,
        usb_interface: raw.usb_interface,
        baud_rate: raw.baud_rate,
        data_bits: raw.data_bits,
        parity: raw.parity,
        stop_bits: raw.stop_bits,
        flow_control: raw.flow_control,
        rs485: raw.rs485,
        rs485_delay: raw.rs485_delay,
    };
    SerialBus {
        port: port(key, options, check),
        framing: framing.unwrap_or_else(|| Framing::lines(1)),
        poll: poll(key, raw.poll, timing, check),
    }
}

/// A tty. One that is given in no way or in two is told.
pub(super) fn port(key: &str, raw: PortOptions, check: &mut Check<'_>) -> Port {
    let place = place(key, raw.path, raw.usb, raw.usb_interface, check);
    let parities = [("none", Parity::None), ("odd", Parity::Odd), ("even", Parity::Even)];
    let parity = choice(&format!("{key}.parity"), raw.parity, check, &parities);
    let flow_controls = [
        ("none", FlowControl::None),
        ("software", FlowControl::Software),
        ("hardware", FlowControl::Hardware),
    ];
    let flow_key = format!("{key}.flow_control");
    let flow_control = choice(&flow_key, raw.flow_control, check, &flow_controls);
    let rs485 = rs485(key, raw.rs485, raw.rs485_delay, check);
    if rs485.is_some() && flow_control == Some(FlowControl::Hardware) {
        let fix = "remove one of them";
        check.problems.add(format!("{key}.rs485"), "flow_control wants RTS, too", fix);
    }
    let baud_rate =
        check.integer(&format!("{key}.baud_rate"), raw.baud_rate, 9_600, &BAUD_RATE_RANGE);
    let data_bits = check.integer(&format!("{key}.data_bits"), raw.data_bits, 8, &(5..=8));
    let stop_bits = check.integer(&format!("{key}.stop_bits"), raw.stop_bits, 1, &(1..=2));
    Port {
        place,
        baud_rate: u32::try_from(baud_rate).unwrap_or_default(),
        data_bits: u8::try_from(data_bits).unwrap_or_default(),
        parity: parity.unwrap_or(Parity::None),
        stop_bits: if stop_bits == 2 { StopBits::Two } else { StopBits::One },
        flow_control: flow_control.unwrap_or(FlowControl::None),
        rs485,
    }
}

fn rs485(
    key: &str,
    mode: Option<Field<String>>,
    delay: Option<Field<Duration>>,
    check: &mut Check<'_>,
) -> Option<Rs485> {
    let modes = [("off", None), ("rts", Some(false)), ("rts-inverted", Some(true))];
    let mode = choice(&format!("{key}.rs485"), mode, check, &modes).flatten();
    let delay_key = format!("{key}.rs485_delay");
    let delay = delay.map(|delay| check.duration(&delay_key, Some(delay), &RS485_DELAY_RANGE));
    if mode.is_none() && delay.is_some() {
        check.problems.add(delay_key, "is for rs485 = \"rts\"", "set that, or remove this");
    }
    mode.map(|is_inverted| Rs485 { is_inverted, delay: delay.unwrap_or_default() })
}

fn place(
    key: &str,
    path: Option<Field<String>>,
    usb: Option<Field<String>>,
    interface: Option<Field<i64>>,
    check: &mut Check<'_>,
) -> Place {
    let interface_key = format!("{key}.usb_interface");
    let usb_key = format!("{key}.usb");
    match (path, usb) {
        (Some(_), Some(_)) => {
            check.problems.add(usb_key, "there is a path, too", "give one of them");
        }
        (None, Some(usb)) => {
            let number = check.integer(&interface_key, interface.clone(), 0, &(0..=255));
            if let Some(identity) = check.parsed::<UsbIdentity>(&usb_key, &usb.0) {
                let interface = interface.and_then(|_| u8::try_from(number).ok());
                return Place::Usb(UsbIdentity { interface, ..identity });
            }
        }
        (path, None) => {
            if interface.is_some() {
                check.problems.add(interface_key, "is for usb = \"…\"", "remove it");
            }
            let fix = "give the tty: path = \"/dev/ttyUSB0\", or the adapter: usb = \"0403:6001\"";
            let path = check.required(&format!("{key}.path"), path, fix);
            return Place::Path(check.path(&path.unwrap_or_default()));
        }
    }
    Place::Path(check.path(""))
}

type Timing = (Option<Field<Duration>>, Option<Field<Duration>>, Option<Field<Duration>>);

fn poll(
    key: &str,
    questions: Option<Vec<Field<String>>>,
    (interval, timeout, gap): Timing,
    check: &mut Check<'_>,
) -> Option<SerialPoll> {
    let poll_key = format!("{key}.poll");
    let Some(questions) = questions else {
        if interval.is_some() || timeout.is_some() || gap.is_some() {
            let fix = "say what the instrument is asked: poll = [\"READ?\\r\\n\"]";
            check.problems.add(poll_key, "is missing", fix);
        }
        return None;
    };
    let is_good = |question: &Field<String>| !question.0.is_empty();
    if !(1..=QUESTIONS_MAX).contains(&questions.len()) || !questions.iter().all(is_good) {
        let fix = format!("give 1 to {QUESTIONS_MAX} questions, none of them empty");
        check.problems.add(poll_key, "asks nothing, or too much", fix);
    }
    let seconds = Duration::from_secs;
    Some(SerialPoll {
        questions: questions.into_iter().map(|question| Bytes::from(question.0)).collect(),
        interval: span(
            &format!("{key}.poll_interval"),
            interval,
            seconds(10),
            &INTERVAL_RANGE,
            check,
        ),
        timeout: span(&format!("{key}.poll_timeout"), timeout, seconds(1), &TIMEOUT_RANGE, check),
        gap: span(&format!("{key}.poll_gap"), gap, Duration::from_millis(50), &GAP_RANGE, check),
    })
}
