//! Ttys: their place and their settings, for all buses on a serial line.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::settings::Exclusive;
use crate::check::{Check, choice};
use crate::field::Field;

/// The range of bits per second, from the slowest instruments to the fastest adapters. An adapter
/// that does not support a rate rejects it when the line is opened.
const BAUD_RATE_RANGE: RangeInclusive<i64> = 50..=12_000_000;

/// The range of the RTS delay: the kernel accepts at most 100 ms
/// (`drivers/tty/serial/serial_core.c`).
const RS485_DELAY_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(100);

/// A tty and its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its place.
    pub place: Place,
    /// Bits per second.
    pub baud_rate: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// The parity bit.
    pub parity: Parity,
    /// The number of stop bits.
    pub stop_bits: StopBits,
    /// How a receiver pauses the sender.
    pub flow_control: FlowControl,
    /// How the kernel switches a transceiver with RTS, if it does.
    pub rs485: Option<Rs485>,
}

/// How a transceiver is switched (Linux, Documentation/driver-api/serial/serial-rs485.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rs485 {
    /// Whether RTS is low, not high, while sending.
    pub is_inverted: bool,
    /// How long RTS is held before the first bit and after the last one, in whole milliseconds.
    pub delay: Duration,
}

/// The place of a tty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The device file or a link to it.
    Path(PathBuf),
    /// The tty of this adapter, on any USB port.
    Usb(UsbIdentity),
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(formatter),
            Self::Usb(identity) => write!(formatter, "USB {identity}"),
        }
    }
}

/// The identity of a USB adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbIdentity {
    /// The vendor id.
    pub vendor: u16,
    /// The product id.
    pub product: u16,
    /// The serial number, to distinguish equal adapters.
    pub serial: Option<String>,
    /// The interface, for an adapter with several ttys.
    pub interface: Option<u8>,
}

/// The error for a text that is not a [`UsbIdentity`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a USB identity; write vendor and product in hexadecimal, as lsusb shows them: \
     \"0403:6001\", or \"0403:6001:SERIAL\""
)]
pub struct UsbIdentityError(String);

impl FromStr for UsbIdentity {
    type Err = UsbIdentityError;

    fn from_str(text: &str) -> Result<Self, UsbIdentityError> {
        let mut parts = text.splitn(3, ':');
        let mut number = || {
            let digits = parts.next().filter(|digits| digits.len() == 4)?;
            u16::from_str_radix(digits, 16).ok()
        };
        let (vendor, product) = (number(), number());
        let serial = parts.next().map(str::to_owned);
        match (vendor, product) {
            (Some(vendor), Some(product)) => Ok(Self { vendor, product, serial, interface: None }),
            (_, _) => Err(UsbIdentityError(text.to_owned())),
        }
    }
}

impl fmt::Display for UsbIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vendor, product, serial, interface } = self;
        write!(formatter, "{vendor:04x}:{product:04x}")?;
        if let Some(serial) = serial {
            write!(formatter, ":{serial}")?;
        }
        if let Some(interface) = interface {
            write!(formatter, " interface {interface}")?;
        }
        Ok(())
    }
}

/// The parity bit of a tty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// Without.
    None,
    /// Odd.
    Odd,
    /// Even.
    Even,
}

/// The stop bits of a tty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopBits {
    /// One.
    One,
    /// Two.
    Two,
}

/// The flow control of a tty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlowControl {
    /// None.
    None,
    /// XON and XOFF.
    Software,
    /// RTS and CTS.
    Hardware,
}

impl Port {
    /// Returns the tty, which only one bus can open. Returns nothing if it is missing, which is
    /// reported elsewhere.
    pub(super) fn exclusive(&self) -> Vec<Exclusive> {
        let (option, resource) = match &self.place {
            Place::Path(path) => ("path", path.to_string_lossy().into_owned()),
            Place::Usb(_) => ("usb", self.place.to_string()),
        };
        let fix = "give each its own tty; several sensors can share one bus";
        let tty = Exclusive { option, resource, fix };
        let is_missing = tty.resource.is_empty();
        (!is_missing).then_some(tty).into_iter().collect()
    }
}

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

/// Resolves a tty. Reports a missing or ambiguous place.
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
        check.problems.add(format!("{key}.rs485"), "flow_control uses RTS, too", fix);
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
            check.problems.add(usb_key, "path is set, too", "give one of them");
        }
        (None, Some(usb)) => {
            let number = interface
                .map(|interface| check.integer(&interface_key, Some(interface), 0, &(0..=255)));
            if let Some(identity) = check.parsed::<UsbIdentity>(&usb_key, &usb.0) {
                let interface = number.and_then(|number| u8::try_from(number).ok());
                return Place::Usb(UsbIdentity { interface, ..identity });
            }
        }
        (path, None) => {
            if interface.is_some() {
                check.problems.add(interface_key, "is for usb = \"…\"", "remove it");
            }
            let fix = "give the tty: path = \"/dev/ttyUSB0\", or the adapter: usb = \"0403:6001\"";
            let path = check.required(&format!("{key}.path"), path, fix);
            return Place::Path(path.map(|path| check.path(&path)).unwrap_or_default());
        }
    }
    Place::Path(PathBuf::new())
}
