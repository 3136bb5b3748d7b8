//! Opens a tty: found by its path or by the USB adapter that it belongs to, set up, and for ourselves alone.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serial2::SerialPort;
use serial2::rs4xx::{Rs485Config, TransceiverMode};

use tokio_serial::{ErrorKind, SerialPortBuilderExt as _};

use super::tty::Tty;
use super::usb;
use tidegate_config::{FlowControl, Parity, Place, Port, Rs485, StopBits};

/// Opens the tty and sets it up. No other program can open it then, except root's. The error says what to do.
///
/// An adapter that does not answer its driver holds up whoever opens it for seconds, so that is done on a thread of its own.
pub(crate) async fn open(settings: &Port) -> Result<Tty, String> {
    let settings = settings.clone();
    match tokio::task::spawn_blocking(move || open_here(&settings)).await {
        Ok(opened) => opened,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn open_here(settings: &Port) -> Result<Tty, String> {
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
    // It is open until the line is: the mode could be gone with its last user.
    let _switched = settings.rs485.map(|rs485| switch(&path, rs485)).transpose()?;
    builder
        .open_native_async()
        .map(|stream| Tty::new(stream, settings.baud_rate))
        .map_err(|error| format!("{}: {error}{}", path.display(), cure(&error)))
}

/// Has the kernel switch the transceiver.
fn switch(path: &Path, rs485: Rs485) -> Result<SerialPort, String> {
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed();
    let opening = File::options().read(true).write(true).custom_flags(flags).open(path);
    let file = opening.map_err(|error| {
        let error = tokio_serial::Error::from(error);
        format!("{}: {error}{}", path.display(), cure(&error))
    })?;
    let port = SerialPort::from(OwnedFd::from(file));
    let mut mode = Rs485Config::new();
    mode.set_invert_rts(rs485.is_inverted);
    mode.set_delay_before_send(rs485.delay);
    mode.set_delay_after_send(rs485.delay);
    let cure = "its driver switches no transceiver; remove rs485 if the adapter does it by itself";
    match port.set_rs4xx_mode(mode).and_then(|()| port.get_rs4xx_mode()) {
        Ok(TransceiverMode::Rs485(_)) => Ok(port),
        // A driver sets what it can.
        Ok(_) => Err(format!("{}: {cure}", path.display())),
        Err(error) => Err(format!("{}: {error}; {cure}", path.display())),
    }
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
