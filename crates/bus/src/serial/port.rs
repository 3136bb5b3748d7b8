//! Opens a tty, given by its path or by its USB adapter, exclusively and with its settings.

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
use super::usb::{self, UsbError};
use tidegate_config::{FlowControl, Parity, Place, Port, Rs485, StopBits};
use tidegate_model::io_problem;
use tidegate_runtime::wait::blocking;

/// Why a tty cannot be opened. The message says how to fix it.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// The USB adapter cannot be found.
    #[error(transparent)]
    Usb(#[from] UsbError),
    /// The tty cannot be opened or set up.
    #[error("{}: {}{}", path.display(), describe(error), fix(error))]
    Open {
        /// The device file.
        path: PathBuf,
        /// The cause.
        error: tokio_serial::Error,
    },
    /// The kernel driver of the tty does not support RS-485.
    #[error(
        "{}: its driver cannot switch an RS-485 transceiver; remove rs485 if the adapter \
         switches by itself",
        path.display()
    )]
    Rs485Unsupported {
        /// The device file.
        path: PathBuf,
    },
    /// The kernel driver of the tty refused the RS-485 mode.
    #[error(
        "{}: cannot set the RS-485 mode: {}; remove rs485 if the adapter switches by itself",
        path.display(),
        io_problem(error)
    )]
    Rs485Failed {
        /// The device file.
        path: PathBuf,
        /// The cause.
        error: io::Error,
    },
}

/// Opens a tty and sets it up. No other program can open it then, except as root.
///
/// Runs on a thread of its own, because an adapter that does not answer its kernel driver blocks
/// the call for seconds.
pub(crate) async fn open(settings: &Port) -> Result<Tty, PortError> {
    let settings = settings.clone();
    blocking(move || open_blocking(&settings)).await
}

fn open_blocking(settings: &Port) -> Result<Tty, PortError> {
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
    // Stays open until the tty is: closing its last handle could reset the mode.
    let _rs485 = settings.rs485.map(|rs485| set_rs485(&path, rs485)).transpose()?;
    let failed = |error| PortError::Open { path: path.clone(), error };
    let mut stream = builder.open_native_async().map_err(failed)?;
    if is_pseudo_terminal(&path) {
        stream.set_exclusive(false).map_err(failed)?;
    }
    Ok(Tty::new(stream, settings.baud_rate))
}

/// Returns whether a tty is a pseudo-terminal, such as one of socat.
///
/// The kernel keeps the exclusive mode of a pseudo-terminal until its other end is closed. After a
/// kill of the daemon, the next one could not open it. The lock of the file excludes other programs
/// that use it, too.
fn is_pseudo_terminal(path: &Path) -> bool {
    path.canonicalize().is_ok_and(|path| path.starts_with("/dev/pts"))
}

/// Makes the kernel switch the transceiver.
fn set_rs485(path: &Path, rs485: Rs485) -> Result<SerialPort, PortError> {
    let path = path.to_owned();
    let flags = (OFlags::NOCTTY | OFlags::NONBLOCK).bits().cast_signed();
    let file = match File::options().read(true).write(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) => return Err(PortError::Open { path, error: error.into() }),
    };
    let port = SerialPort::from(OwnedFd::from(file));
    let mut mode = Rs485Config::new();
    mode.set_invert_rts(rs485.is_inverted);
    mode.set_delay_before_send(rs485.delay);
    mode.set_delay_after_send(rs485.delay);
    match port.set_rs4xx_mode(mode).and_then(|()| port.get_rs4xx_mode()) {
        Ok(TransceiverMode::Rs485(_)) => Ok(port),
        // A driver ignores a mode that it does not support.
        Ok(_) => Err(PortError::Rs485Unsupported { path }),
        Err(error) => Err(PortError::Rs485Failed { path, error }),
    }
}

/// Returns the device file.
fn find(place: &Place) -> Result<PathBuf, PortError> {
    match place {
        Place::Path(path) => Ok(path.clone()),
        Place::Usb(identity) => Ok(usb::find(Path::new("/"), identity)?),
    }
}

/// Describes an error of the serial library in words.
fn describe(error: &tokio_serial::Error) -> String {
    match error.kind() {
        ErrorKind::Io(kind) => match io_problem(&kind.into()) {
            // A kind without words of its own: the description has those of the system.
            words if words == "other error" || words == "uncategorized error" => {
                io_problem(&io::Error::other(error.description.clone()))
            }
            words => words,
        },
        ErrorKind::NoDevice => "the device is in use or gone".to_owned(),
        ErrorKind::InvalidInput => "the settings do not fit the device".to_owned(),
        ErrorKind::Unknown => io_problem(&io::Error::other(error.description.clone())),
    }
}

/// Returns how to fix an error, for the end of a message.
fn fix(error: &tokio_serial::Error) -> &'static str {
    match error.kind() {
        ErrorKind::Io(io::ErrorKind::PermissionDenied) => "; add the service user to group dialout",
        ErrorKind::Io(io::ErrorKind::NotFound) => "; is the adapter plugged in?",
        ErrorKind::NoDevice => "; another program uses it: end that program",
        ErrorKind::Io(_) | ErrorKind::InvalidInput | ErrorKind::Unknown => {
            "; is it a serial port that supports this baud rate?"
        }
    }
}
