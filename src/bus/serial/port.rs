//! Opens a tty: found by its path or by the USB adapter that it belongs to, set up, and for ourselves alone.

use std::io;
use std::path::{Path, PathBuf};

use tokio_serial::{ErrorKind, SerialPortBuilderExt as _, SerialStream};

use super::usb;
use crate::config::{FlowControl, Parity, Place, Port, StopBits};

/// Opens the tty and sets it up. No other program can open it then, except root's. The error says what to do.
pub(in crate::bus) fn open(settings: &Port) -> Result<SerialStream, String> {
    let path = find(&settings.place)?;
    let builder = tokio_serial::new(path.to_string_lossy(), settings.baud_rate)
        .data_bits(match settings.data_bits {
            5 => tokio_serial::DataBits::Five,
            6 => tokio_serial::DataBits::Six,
            7 => tokio_serial::DataBits::Seven,
            _ => tokio_serial::DataBits::Eight,
        })
        .parity(match settings.parity {
            Parity::None => tokio_serial::Parity::None,
            Parity::Odd => tokio_serial::Parity::Odd,
            Parity::Even => tokio_serial::Parity::Even,
        })
        .stop_bits(match settings.stop_bits {
            StopBits::One => tokio_serial::StopBits::One,
            StopBits::Two => tokio_serial::StopBits::Two,
        })
        .flow_control(match settings.flow_control {
            FlowControl::None => tokio_serial::FlowControl::None,
            FlowControl::Software => tokio_serial::FlowControl::Software,
            FlowControl::Hardware => tokio_serial::FlowControl::Hardware,
        });
    builder
        .open_native_async()
        .map_err(|error| format!("{}: {error}{}", path.display(), cure(&error)))
}

/// The device file.
fn find(place: &Place) -> Result<PathBuf, String> {
    match place {
        Place::Path(path) => Ok(path.clone()),
        Place::Usb(identity) => usb::find(Path::new("/"), identity),
    }
}

/// What to do about an error.
fn cure(error: &tokio_serial::Error) -> &'static str {
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => {
            "; add the service's user to the group dialout"
        }
        ErrorKind::Io(io::ErrorKind::NotFound) => "; is the adapter plugged in?",
        ErrorKind::NoDevice => "; another program uses it",
        ErrorKind::Io(_) | ErrorKind::InvalidInput | ErrorKind::Unknown => {
            "; is it a serial port, and can it do this speed?"
        }
    }
}
