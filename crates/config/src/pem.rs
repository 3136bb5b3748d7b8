//! Certificates in PEM: those to trust, and a client certificate with its key.

use std::path::Path;

use super::access;
use super::check::Check;
use super::secret::{Secret, read_client_certificate};

/// The maximum size of a file of certificates in bytes; a bundle of all public ones has a quarter.
const CA_FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads certificates to trust; `key` is the option that names their file.
pub(super) fn private_ca(key: &str, path: &Path, check: &mut Check<'_>) -> Option<Vec<u8>> {
    let at = format!("{key}: {}", path.display());
    let read = std::fs::metadata(path).and_then(|metadata| {
        if metadata.len() > CA_FILE_BYTES_MAX {
            return Err(std::io::Error::other(format!(
                "it has more than {CA_FILE_BYTES_MAX} bytes"
            )));
        }
        std::fs::read(path)
    });
    let pem = read.map_err(|error| access::report(&at, path, &error, "", check.problems)).ok()?;
    let certificates = reqwest::Certificate::from_pem_bundle(&pem);
    if certificates.as_ref().is_ok_and(|certificates| !certificates.is_empty()) {
        return Some(pem);
    }
    check.problems.add(
        at,
        "has no certificate",
        "give certificates in PEM: -----BEGIN CERTIFICATE-----",
    );
    None
}

/// Reads a client certificate with its chain and key.
pub(super) fn client_certificate(path: &Path, check: &mut Check<'_>) -> Option<Secret> {
    let pem = check.secret(path, read_client_certificate)?;
    if reqwest::Identity::from_pem(pem.expose().as_bytes()).is_ok() {
        return Some(pem);
    }
    let fix = "give the certificate, its chain and its private key in PEM in this one file";
    check.problems.add(path.display().to_string(), "is not a certificate with a private key", fix);
    None
}
