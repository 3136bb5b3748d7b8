//! What a connection to a broker is made of: who we are, how it is secured, and our last will.

use std::sync::Arc;

use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::{MqttBus, MqttTls};

/// Above this a packet ends the connection; below it a payload that is too large is rejected and acknowledged, so that it
/// does not come again for ever. A sensor's message is a thousand times smaller.
const PACKET_BYTES_MAX: usize = 64 << 20;

/// What the broker keeps at the status topic while we are there, and what it says when we are not.
pub(super) const ONLINE: &str = "online";
pub(super) const OFFLINE: &str = "offline";

/// The options of a session that outlives its connections.
///
/// # Errors
/// When a certificate cannot be used: nothing can be done about that before it is replaced.
pub(super) fn options(settings: &MqttBus) -> Result<MqttOptions, String> {
    let mut options = MqttOptions::new(&settings.client_id, &settings.host, settings.port);
    options
        .set_keep_alive(settings.keep_alive)
        .set_clean_session(false)
        .set_manual_acks(true)
        .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    if let Some(credentials) = &settings.credentials {
        options.set_credentials(&credentials.user, credentials.password.expose());
    }
    if let Some(topic) = &settings.status_topic {
        options.set_last_will(LastWill::new(topic, OFFLINE, QoS::AtLeastOnce, true));
    }
    if let Some(tls) = &settings.tls {
        let config = TlsConfiguration::Rustls(Arc::new(client_config(tls)?));
        options.set_transport(Transport::tls_with_config(config));
    }
    Ok(options)
}

fn client_config(tls: &MqttTls) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &tls.private_ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(|error| format!("ca_file: {error}"))?;
                roots.add(certificate).map_err(|error| format!("ca_file: {error}"))?;
            }
        }
        // Some of the system's certificates may be odd; those that are not will do.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let Some(pem) = &tls.client_certificate else { return Ok(config.with_no_client_auth()) };
    let unusable = |error: &dyn std::fmt::Display| format!("client_certificate: {error}");
    let pem = pem.expose().as_bytes();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(|error| unusable(&error))?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| unusable(&error))?;
    config.with_client_auth_cert(chain, key).map_err(|error| unusable(&error))
}
