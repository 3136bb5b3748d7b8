//! Options of a connection to a broker: client id, credentials, TLS and the last will.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::v5::mqttbytes::QoS as QoS5;
use rumqttc::v5::mqttbytes::v5::LastWill as LastWill5;
use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport, v5};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use tidegate_config::{MqttBus, MqttTls, MqttVersion};

/// The largest packet. A larger one ends the connection. A payload below this bound that is too
/// large for the bus is rejected and acknowledged, so that the broker does not redeliver it for
/// ever.
const PACKET_BYTES_MAX: u32 = 64 << 20;

/// The most unacknowledged publishes. MQTT 5 would allow 65,535, each with a place in memory.
const PUBLISHES_MAX: u16 = 100;

/// The message at the status topic while the gateway is connected.
pub(super) const ONLINE: &str = "online";

/// The message at the status topic while the gateway is disconnected.
pub(super) const OFFLINE: &str = "offline";

/// The options of a session.
#[derive(Clone)]
pub(super) enum Options {
    V3(Box<MqttOptions>),
    V5(Box<v5::MqttOptions>),
}

/// Why a certificate cannot be used. A retry does not help until it is replaced.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("ca_file: {0}")]
    CaPem(pem::Error),
    #[error("ca_file: {0}")]
    CaCertificate(rustls::Error),
    #[error("client_certificate: {0}")]
    ClientPem(pem::Error),
    #[error("client_certificate: {0}")]
    ClientCertificate(rustls::Error),
}

/// Creates the options of a bus.
///
/// # Errors
/// If a certificate cannot be used.
pub(super) fn options(settings: &MqttBus) -> Result<Options, TlsError> {
    let transport = match &settings.tls {
        Some(tls) => {
            let config = TlsConfiguration::Rustls(Arc::new(client_config(tls)?));
            Transport::tls_with_config(config)
        }
        None => Transport::tcp(),
    };
    Ok(match settings.version {
        MqttVersion::V3 => Options::V3(Box::new(options3(settings, transport))),
        MqttVersion::V5 { session_expiry } => {
            let expiry = if settings.is_lasting { session_expiry } else { Duration::ZERO };
            let seconds = u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX);
            Options::V5(Box::new(options5(settings, transport, seconds)))
        }
    })
}

fn options3(settings: &MqttBus, transport: Transport) -> MqttOptions {
    let mut options = MqttOptions::new(&settings.client_id, &settings.host, settings.port);
    let bytes_max = usize::try_from(PACKET_BYTES_MAX).unwrap_or(usize::MAX);
    options
        .set_keep_alive(settings.keep_alive)
        .set_clean_session(!settings.is_lasting)
        .set_manual_acks(true)
        .set_inflight(PUBLISHES_MAX)
        .set_max_packet_size(bytes_max, bytes_max)
        .set_transport(transport);
    if let Some(credentials) = &settings.credentials {
        options.set_credentials(&credentials.user, credentials.password.expose());
    }
    if let Some(topic) = &settings.status_topic {
        options.set_last_will(LastWill::new(topic, OFFLINE, QoS::AtLeastOnce, true));
    }
    options
}

/// Sets an expiry, because without one MQTT 5 ends a session with its connection. Requests no topic
/// aliases, so that the broker sends none.
fn options5(settings: &MqttBus, transport: Transport, session_expiry_s: u32) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(&settings.client_id, &settings.host, settings.port);
    options
        .set_keep_alive(settings.keep_alive)
        .set_clean_start(!settings.is_lasting)
        .set_session_expiry_interval(Some(session_expiry_s))
        .set_manual_acks(true)
        .set_outgoing_inflight_upper_limit(PUBLISHES_MAX)
        .set_max_packet_size(Some(PACKET_BYTES_MAX))
        .set_transport(transport);
    if let Some(credentials) = &settings.credentials {
        options.set_credentials(&credentials.user, credentials.password.expose());
    }
    if let Some(topic) = &settings.status_topic {
        options.set_last_will(LastWill5::new(topic, OFFLINE, QoS5::AtLeastOnce, true, None));
    }
    options
}

fn client_config(tls: &MqttTls) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    match &tls.private_ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem) {
                let certificate = certificate.map_err(TlsError::CaPem)?;
                roots.add(certificate).map_err(TlsError::CaCertificate)?;
            }
        }
        // Invalid certificates of the system are skipped.
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let config = ClientConfig::builder().with_root_certificates(roots);
    let Some(pem) = &tls.client_certificate else { return Ok(config.with_no_client_auth()) };
    let pem = pem.expose().as_bytes();
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = chain.map_err(TlsError::ClientPem)?;
    let key = PrivateKeyDer::from_pem_slice(pem).map_err(TlsError::ClientPem)?;
    config.with_client_auth_cert(chain, key).map_err(TlsError::ClientCertificate)
}
