//! Finds the tty of a USB adapter by what the adapter says of itself, as the kernel shows it in `/sys`. The name of its tty
//! may change with each plugging in.

use std::path::{Path, PathBuf};

use tidegate_config::UsbIdentity;

/// Directories between a tty and its USB device: an interface and, for some drivers, a port.
const LEVELS_MAX: usize = 4;

/// A tty and the adapter that it belongs to.
#[derive(Debug)]
struct Adapter {
    tty: String,
    serial: Option<String>,
    interface: Option<u8>,
}

/// The device file of the adapter, with `root` for `/`. The error says what there is instead.
pub(super) fn find(root: &Path, wanted: &UsbIdentity) -> Result<PathBuf, String> {
    let entries = std::fs::read_dir(root.join("sys/class/tty")).into_iter().flatten();
    let mut adapters: Vec<_> =
        entries.filter_map(Result::ok).filter_map(|entry| adapter(&entry.path(), wanted)).collect();
    adapters.sort_by(|one, other| one.tty.cmp(&other.tty));
    match adapters.as_slice() {
        [] => Err(format!("no USB adapter {wanted} is plugged in")),
        [one] => Ok(root.join("dev").join(&one.tty)),
        several => {
            let list: Vec<_> = several.iter().map(Adapter::describe).collect();
            let list = list.join(", ");
            Err(format!(
                "several USB adapters are {wanted}: {list}; say which, as in usb = \"0403:6001:SERIAL\" or usb_interface = 0"
            ))
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

/// The adapter that a tty belongs to, if it is one of those that are wanted.
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

    /// A `/sys` with adapters: tty, USB port, vendor, product, serial number, interface; as Linux 6.1 shows usb-serial.
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

    fn find_in(root: &TempDir, wanted: &str, interface: Option<u8>) -> Result<PathBuf, String> {
        let mut wanted: UsbIdentity = wanted.parse().unwrap();
        wanted.interface = interface;
        find(root.path(), &wanted)
    }

    #[test]
    fn a_replugged_adapter_is_found_under_its_new_name() {
        let one = ("ttyUSB0", "1-1", "0403", "6001", "A1", "00");
        let root = sys(&[one, ("ttyACM0", "1-2", "2341", "0043", "B2", "00")]);
        assert_eq!(find_in(&root, "0403:6001", None), Ok(root.path().join("dev/ttyUSB0")));
        let root = sys(&[("ttyUSB7", "1-4", "0403", "6001", "A1", "00")]);
        assert_eq!(find_in(&root, "0403:6001:A1", None), Ok(root.path().join("dev/ttyUSB7")));
        assert_eq!(
            find_in(&root, "0403:6001:A2", None).unwrap_err(),
            "no USB adapter 0403:6001:A2 is plugged in"
        );
    }

    #[test]
    fn twins_are_told_apart_by_serial_number_or_interface() {
        let root = sys(&[
            ("ttyUSB0", "1-1", "0403", "6011", "A1", "00"),
            ("ttyUSB1", "1-1", "0403", "6011", "A1", "01"),
        ]);
        let error = find_in(&root, "0403:6011", None).unwrap_err();
        assert!(error.contains("ttyUSB0 (A1, interface 0), ttyUSB1 (A1, interface 1)"), "{error}");
        assert_eq!(find_in(&root, "0403:6011", Some(1)), Ok(root.path().join("dev/ttyUSB1")));
    }
}
