//! What is found on this machine: serial lines, and a broker.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Links to adapters by their serial numbers, which keep their names when adapters are moved (udev, 60-serial.rules).
pub(super) const BY_ID: &str = "/dev/serial/by-id";

/// How long a broker on this machine may take to answer.
const BROKER_TIMEOUT: Duration = Duration::from_secs(1);

/// The port of MQTT without TLS (IANA).
const MQTT_PORT: u16 = 1_883;

/// All serial lines, those with lasting names first and by these.
pub(super) fn serial_lines(by_id: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(by_id).into_iter().flatten();
    let mut lines: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    lines.sort();
    let named: Vec<_> = lines.iter().filter_map(|link| std::fs::canonicalize(link).ok()).collect();
    let ports = tokio_serial::available_ports().unwrap_or_default();
    let mut others: Vec<_> = ports.into_iter().map(|port| PathBuf::from(port.port_name)).collect();
    others.retain(|port| !named.contains(port));
    others.sort();
    lines.extend(others);
    lines
}

/// A broker on this machine.
pub(super) fn broker() -> Option<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, MQTT_PORT));
    TcpStream::connect_timeout(&address, BROKER_TIMEOUT).ok().map(|_| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_found_by_its_lasting_name() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("usb-FTDI_FT232R-if00");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert_eq!(serial_lines(directory.path()).first(), Some(&link));
        assert!(
            serial_lines(&directory.path().join("none"))
                .iter()
                .all(|line| line.starts_with("/dev"))
        );
    }
}
