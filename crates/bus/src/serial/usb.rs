//! Finds the tty of a USB adapter by the adapter's USB descriptor, which the kernel shows in
//! `/sys`. The name of the tty may change each time the adapter is plugged in.

use std::path::{Path, PathBuf};

use tidegate_config::UsbIdentity;

/// The most directories between a tty and its USB device: an interface and, for some drivers, a
/// port.
const LEVELS_MAX: usize = 4;

/// Why there is not exactly one matching adapter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsbError {
    /// No adapter matches.
    #[error("no USB adapter {0} is plugged in")]
    NotFound(UsbIdentity),
    /// Several adapters match.
    #[error(
        "several USB adapters are {identity}: {adapters}; name one of them, for example with \
         usb = \"0403:6001:SERIAL\" or usb_interface = 0"
    )]
    Ambiguous {
        /// The configured identity.
        identity: UsbIdentity,
        /// The adapters, separated by commas.
        adapters: String,
    },
}

/// A tty and its adapter.
#[derive(Debug)]
struct Adapter {
    tty: String,
    serial: Option<String>,
    interface: Option<u8>,
}

/// Returns the device file of the adapter, with `root` in place of `/`.
pub(super) fn find(root: &Path, identity: &UsbIdentity) -> Result<PathBuf, UsbError> {
    let entries = std::fs::read_dir(root.join("sys/class/tty")).into_iter().flatten();
    let entries = entries.filter_map(Result::ok);
    let mut adapters: Vec<_> =
        entries.filter_map(|entry| adapter(&entry.path(), identity)).collect();
    adapters.sort_by(|one, other| one.tty.cmp(&other.tty));
    match adapters.as_slice() {
        [] => Err(UsbError::NotFound(identity.clone())),
        [one] => Ok(root.join("dev").join(&one.tty)),
        several => {
            let list: Vec<_> = several.iter().map(Adapter::describe).collect();
            let identity = identity.clone();
            Err(UsbError::Ambiguous { identity, adapters: list.join(", ") })
        }
    }
}

impl Adapter {
    fn describe(&self) -> String {
        let Self { tty, serial, interface } = self;
        let serial = serial.as_deref().unwrap_or("without a serial number");
        match interface {
            Some(interface) => format!("{tty} ({serial}, interface {interface})"),
            None => format!("{tty} ({serial})"),
        }
    }
}

/// Returns the adapter of a tty, if it matches.
fn adapter(tty: &Path, wanted: &UsbIdentity) -> Option<Adapter> {
    let device = std::fs::canonicalize(tty.join("device")).ok()?;
    let ancestors = || device.ancestors().take(LEVELS_MAX);
    let usb = ancestors().find(|path| path.join("idVendor").exists())?;
    let hex = |path: &Path| u16::from_str_radix(&text(path)?, 16).ok();
    let is_kind = hex(&usb.join("idVendor")) == Some(wanted.vendor)
        && hex(&usb.join("idProduct")) == Some(wanted.product);
    let interface = ancestors().find_map(|path| text(&path.join("bInterfaceNumber")));
    let found = Adapter {
        tty: tty.file_name()?.to_string_lossy().into_owned(),
        serial: text(&usb.join("serial")),
        interface: interface.and_then(|text| u8::from_str_radix(&text, 16).ok()),
    };
    let is_one = wanted.serial.is_none() || wanted.serial == found.serial;
    let is_part = wanted.interface.is_none() || wanted.interface == found.interface;
    (is_kind && is_one && is_part).then_some(found)
}

fn text(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Creates a `/sys` with adapters, like Linux 6.1 with usb-serial. Each adapter has: tty, USB
    /// port, vendor, product, serial number, interface.
    fn sys(adapters: &[(&str, &str, &str, &str, &str, &str)]) -> TempDir {
        let root = TempDir::new().unwrap();
        let class = root.path().join("sys/class/tty");
        std::fs::create_dir_all(class.join("tty0")).unwrap();
        for (tty, port, vendor, product, serial, interface) in adapters {
            let usb = root.path().join("sys/devices/usb1").join(port);
            let function = usb.join(format!("{port}:1.{interface}"));
            std::fs::create_dir_all(function.join(tty)).unwrap();
            for (path, text) in [
                (usb.join("idVendor"), vendor),
                (usb.join("idProduct"), product),
                (usb.join("serial"), serial),
                (function.join("bInterfaceNumber"), interface),
            ] {
                std::fs::write(path, format!("{text}\n")).unwrap();
            }
            std::fs::create_dir_all(class.join(tty)).unwrap();
            std::os::unix::fs::symlink(function.join(tty), class.join(tty).join("device")).unwrap();
        }
        root
    }

    fn find_in(root: &TempDir, wanted: &str, interface: Option<u8>) -> Result<PathBuf, UsbError> {
        let mut wanted: UsbIdentity = wanted.parse().unwrap();
        wanted.interface = interface;
        find(root.path(), &wanted)
    }

    #[test]
    fn finds_a_replugged_adapter_by_its_identity() {
        let one = ("ttyUSB0", "1-1", "0403", "6001", "A1", "00");
        let root = sys(&[one, ("ttyACM0", "1-2", "2341", "0043", "B2", "00")]);
        assert_eq!(find_in(&root, "0403:6001", None), Ok(root.path().join("dev/ttyUSB0")));
        let root = sys(&[("ttyUSB7", "1-4", "0403", "6001", "A1", "00")]);
        assert_eq!(find_in(&root, "0403:6001:A1", None), Ok(root.path().join("dev/ttyUSB7")));
        assert_eq!(
            find_in(&root, "0403:6001:A2", None).unwrap_err().to_string(),
            "no USB adapter 0403:6001:A2 is plugged in"
        );
    }

    #[test]
    fn serial_number_or_interface_selects_an_adapter() {
        let root = sys(&[
            ("ttyUSB0", "1-1", "0403", "6011", "A1", "00"),
            ("ttyUSB1", "1-1", "0403", "6011", "A1", "01"),
        ]);
        let error = find_in(&root, "0403:6011", None).unwrap_err().to_string();
        assert!(error.contains("ttyUSB0 (A1, interface 0), ttyUSB1 (A1, interface 1)"), "{error}");
        assert_eq!(find_in(&root, "0403:6011", Some(1)), Ok(root.path().join("dev/ttyUSB1")));
    }
}
