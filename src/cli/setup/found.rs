//! Finds serial lines and an MQTT broker on this machine.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The directory of links to adapters by serial number, whose names stay when adapters change ports
/// (udev, 60-serial.rules).
pub(super) const BY_ID: &str = "/dev/serial/by-id";

/// The longest wait for a connection to a broker.
const BROKER_TIMEOUT: Duration = Duration::from_secs(2);

/// The port of MQTT without TLS (IANA).
const MQTT_PORT: u16 = 1_883;

/// Returns all serial lines; lines with persistent names come first.
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

/// Fails if nothing listens at the address of a broker.
pub(super) fn check_broker(host: &str, port: u16) -> Result<(), String> {
    let unreachable = |problem: &dyn std::fmt::Display| {
        format!("cannot connect to {host}:{port}: {problem}; is the broker running there?")
    };
    let name = host.trim_matches(['[', ']']);
    let addresses = (name, port).to_socket_addrs().map_err(|_| unreachable(&"unknown host"))?;
    let mut problem = "unknown host".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(&address, BROKER_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                "connection refused".clone_into(&mut problem);
            }
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                "no answer".clone_into(&mut problem);
            }
            Err(error) => problem = error.kind().to_string(),
        }
    }
    Err(unreachable(&problem))
}

/// Returns the address of a broker on this machine.
pub(super) fn broker() -> Option<SocketAddr> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, MQTT_PORT));
    TcpStream::connect_timeout(&address, BROKER_TIMEOUT).ok().map(|_| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adapter_is_found_by_its_persistent_name() {
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
