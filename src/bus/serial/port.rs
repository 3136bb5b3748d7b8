//! Opens a tty: found by its path or by the USB adapter that it belongs to, set up, and for ourselves alone.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::termios::{ioctl_tiocexcl, ioctl_tiocnxcl};
use serial2_tokio::{
    CharSize, FlowControl as Flow, Parity as Bit, SerialPort, Settings, StopBits as Stop,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::usb;
use crate::config::{FlowControl, Parity, Place, Port, Rs485, StopBits};

/// An open tty that nobody else of good will opens.
#[derive(Debug)]
pub(in crate::bus) struct OpenPort {
    stream: SerialPort,
    /// Holds the lock for as long as the tty is open.
    lock: File,
    path: PathBuf,
}

/// Opens the tty and sets it up. The error says what to do.
pub(in crate::bus) fn open(settings: &Port) -> Result<OpenPort, String> {
    let path = find(&settings.place)?;
    let at = |error: &io::Error| format!("{}: {error}{}", path.display(), cure(error));
    let lock = lock(&path).map_err(|error| at(&error))?;
    let stream = SerialPort::open(&path, |mut to: Settings| {
        configure(&mut to, settings)?;
        Ok(to)
    });
    let stream = stream.map_err(|error| at(&error))?;
    set_direction_control(&stream, settings.rs485).map_err(|error| {
        format!("{}: cannot set rs485: {error}; can this adapter do it?", path.display())
    })?;
    Ok(OpenPort { stream, lock, path })
}

impl OpenPort {
    /// Where it was found.
    pub(in crate::bus) fn path(&self) -> &Path {
        &self.path
    }

    /// Throws away what came before we listened.
    pub(in crate::bus) fn discard_input(&self) -> io::Result<()> {
        self.stream.discard_input_buffer()
    }
}

/// The device file.
pub(super) fn find(place: &Place) -> Result<PathBuf, String> {
    match place {
        Place::Path(path) => Ok(path.clone()),
        Place::Usb(identity) => usb::find(Path::new("/"), identity),
    }
}

/// Locks out whoever asks: programs that lock, too, and, by the terminal's own mark, all others but root.
fn lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).write(true).custom_flags(flags).open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| Errno::BUSY)?;
    ioctl_tiocexcl(&file)?;
    Ok(file)
}

fn configure(to: &mut Settings, settings: &Port) -> io::Result<()> {
    to.set_raw();
    to.set_baud_rate(settings.baud_rate)?;
    to.set_char_size(match settings.data_bits {
        5 => CharSize::Bits5,
        6 => CharSize::Bits6,
        7 => CharSize::Bits7,
        _ => CharSize::Bits8,
    });
    to.set_parity(match settings.parity {
        Parity::None => Bit::None,
        Parity::Odd => Bit::Odd,
        Parity::Even => Bit::Even,
    });
    to.set_stop_bits(match settings.stop_bits {
        StopBits::One => Stop::One,
        StopBits::Two => Stop::Two,
    });
    to.set_flow_control(match settings.flow_control {
        FlowControl::None => Flow::None,
        FlowControl::Software => Flow::XonXoff,
        FlowControl::Hardware => Flow::RtsCts,
    });
    Ok(())
}

/// Lets the driver switch between sending and receiving (TIOCSRS485), where that is wanted.
fn set_direction_control(stream: &SerialPort, rs485: Rs485) -> io::Result<()> {
    let invert_rts = match rs485 {
        Rs485::Off => return Ok(()),
        Rs485::Rts => false,
        Rs485::RtsInverted => true,
    };
    let mut mode = serial2_tokio::rs4xx::Rs485Config::new();
    mode.set_invert_rts(invert_rts);
    stream.set_rs4xx_mode(mode)
}

fn cure(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::ACCESS) => "; add the service's user to the group dialout",
        Some(Errno::NOENT) => "; is the adapter plugged in?",
        Some(Errno::BUSY) => "; another program uses it",
        Some(Errno::NOTTY) => "; is it a serial port?",
        Some(_) | None => "",
    }
}

impl Drop for OpenPort {
    fn drop(&mut self) {
        // The mark would outlive us on a pseudo-terminal. One that is gone needs no unmarking.
        ioctl_tiocnxcl(&self.lock).unwrap_or_default();
    }
}

impl AsyncRead for OpenPort {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for OpenPort {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
