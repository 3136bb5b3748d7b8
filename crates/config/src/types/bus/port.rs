//! Ttys: where they are and how they are set.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A tty and how it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Where it is.
    pub place: Place,
    /// Bits per second.
    pub baud_rate: u32,
    /// 5 to 8.
    pub data_bits: u8,
    /// The parity bit.
    pub parity: Parity,
    /// How many stop bits.
    pub stop_bits: StopBits,
    /// How a receiver says "wait".
    pub flow_control: FlowControl,
    /// Whether the kernel switches a transceiver to sending with RTS.
    pub rs485: Option<Rs485>,
}

/// How a transceiver is switched (Linux, Documentation/driver-api/serial/serial-rs485.rst).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rs485 {
    /// RTS is low while we send, not high.
    pub is_inverted: bool,
    /// How long RTS is held before the first bit and after the last one, in whole milliseconds.
    pub delay: Duration,
}

/// Where a tty is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The device file or a link to it.
    Path(PathBuf),
    /// Wherever this adapter is plugged in.
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

/// What a USB adapter says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsbIdentity {
    /// The vendor's number.
    pub vendor: u16,
    /// The vendor's number of the product.
    pub product: u16,
    /// Its serial number, if there are several.
    pub serial: Option<String>,
    /// Which of its ttys, if it has several.
    pub interface: Option<u8>,
}

/// Why a text is no [`UsbIdentity`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is no USB identity; write vendor and product in hexadecimal, as lsusb shows them: \"0403:6001\", or \"0403:6001:SERIAL\""
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
