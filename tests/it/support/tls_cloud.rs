//! A minimal cloud behind TLS that records the HTTP version of each request.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tidegate_sandbox::APPLICATION_ID;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::TIMEOUT;

/// The most requests whose versions are not read yet.
const REQUESTS_MAX: usize = 1_000;

/// A server that issues one token and accepts every call.
pub(crate) struct TlsCloud {
    pub(crate) url: String,
    /// The server's own certificate, as PEM.
    pub(crate) certificate: String,
    requests: mpsc::Receiver<Version>,
}

impl TlsCloud {
    /// The token that the server issues.
    pub(crate) const TOKEN: &str = "a-token-of-the-cloud";

    /// Starts a server that offers these protocols (ALPN).
    #[expect(clippy::disallowed_methods, reason = "its tasks end with the test's runtime")]
    pub(crate) async fn start(offered: &[&str]) -> Self {
        let identity = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config =
            config.with_single_cert(vec![identity.cert.der().clone()], key.into()).unwrap();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let (versions, requests) = mpsc::channel(REQUESTS_MAX);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(acceptor.clone(), socket, versions.clone()));
            }
        });
        Self { url, certificate: identity.cert.pem(), requests }
    }

    /// Returns the HTTP version of the next request.
    pub(crate) async fn version(&mut self) -> Version {
        let next = tokio::time::timeout(TIMEOUT, self.requests.recv());
        next.await.expect("a request arrives").unwrap()
    }
}

async fn serve(acceptor: TlsAcceptor, socket: TcpStream, versions: mpsc::Sender<Version>) {
    // A client may refuse the certificate.
    let Ok(stream) = acceptor.accept(socket).await else { return };
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        versions.try_send(request.version()).ok();
        let token = TlsCloud::TOKEN;
        let body = format!(
            r#"{{"applicationId": "{APPLICATION_ID}", "token": "{token}", "success": true}}"#
        );
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}
