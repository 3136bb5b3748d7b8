//! TLS with a certificate authority, a server and a client of our own; and a proxy.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, Stream};

use super::*;

/// An answer of `get`, enough for the client.
const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
                      content-length: 2\r\nconnection: close\r\n\r\n{}";

struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    fn issue(&self, name: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let parameters = CertificateParams::new([name.to_owned()]).unwrap();
        Identity { certificate: parameters.signed_by(&key, &self.0).unwrap(), key }
    }

    fn trusted(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(self.0.der().to_vec())).unwrap();
        Arc::new(roots)
    }
}

/// Starts a server for one call with a client certificate; returns the head of the call.
fn serve(authority: &Authority) -> (String, JoinHandle<std::io::Result<String>>) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let identity = authority.issue("127.0.0.1");
    let verifier = WebPkiClientVerifier::builder(authority.trusted()).build().unwrap();
    let key = PrivatePkcs8KeyDer::from(identity.key.serialize_der());
    let chain = vec![identity.certificate.der().clone()];
    let config = ServerConfig::builder().with_client_cert_verifier(verifier);
    let config = Arc::new(config.with_single_cert(chain, key.into()).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept()?;
        let mut connection = ServerConnection::new(config).unwrap();
        let mut stream = Stream::new(&mut connection, &mut socket);
        let mut head = [0; 4096];
        let size = stream.read(&mut head)?;
        stream.write_all(ANSWER.as_bytes())?;
        stream.flush()?;
        Ok(String::from_utf8_lossy(&head[..size]).into_owned())
    });
    (url, served)
}

fn cloud(url: &str) -> Cloud {
    let token = CloudCredentials::Token(Secret::from("t".to_owned()));
    let application = "575ec8687ae143cd83dc4a97".parse().ok();
    Cloud { application, proxy: Proxy::None, ..Cloud::new(url, gateway(), token) }
}

fn pem(identity: &Identity) -> Secret {
    Secret::from(identity.certificate.pem() + &identity.key.serialize_pem())
}

#[tokio::test]
async fn uses_a_private_authority_and_client_certificate() {
    let authority = Authority::new();
    let (url, served) = serve(&authority);
    let private_ca = Some(authority.0.pem().into_bytes());
    let client_certificate = Some(pem(&authority.issue("gateway")));
    let client = Client::new(Cloud { private_ca, client_certificate, ..cloud(&url) }).unwrap();
    client.get(gateway(), Shape::default()).await.unwrap();
    let head = served.join().unwrap().unwrap();
    assert!(head.starts_with("GET /applications/575ec8687ae143cd83dc4a97/devices/"), "{head}");
}

#[tokio::test]
async fn untrusted_server_receives_nothing() {
    let (url, served) = serve(&Authority::new());
    let client = Client::new(cloud(&url)).unwrap();
    let error = client.get(gateway(), Shape::default()).await.unwrap_err();
    assert_eq!(error.response_class(), ResponseClass::Offline);
    assert!(error.to_string().contains("certificate"), "{error}");
    served.join().unwrap().unwrap_err();
}

#[tokio::test]
async fn missing_client_certificate_ends_the_connection() {
    let authority = Authority::new();
    let (url, served) = serve(&authority);
    let private_ca = Some(authority.0.pem().into_bytes());
    let client = Client::new(Cloud { private_ca, ..cloud(&url) }).unwrap();
    let error = client.get(gateway(), Shape::default()).await.unwrap_err();
    assert_eq!(error.response_class(), ResponseClass::Offline);
    served.join().unwrap().unwrap_err();
}

#[tokio::test]
async fn uses_the_configured_proxy() {
    rustls::crypto::ring::default_provider().install_default().ok();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::At(format!("http://{}", listener.local_addr().unwrap()));
    let asked = std::thread::spawn(move || {
        let mut head = [0; 1024];
        let size = listener.accept().unwrap().0.read(&mut head).unwrap();
        String::from_utf8_lossy(&head[..size]).into_owned()
    });
    let client = Client::new(Cloud { proxy, ..cloud("https://api.losant.test") }).unwrap();
    client.get(gateway(), Shape::default()).await.unwrap_err();
    let head = asked.join().unwrap();
    assert!(head.starts_with("CONNECT api.losant.test:443 "), "{head}");
}
