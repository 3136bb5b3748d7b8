//! Bad networks: whatever lies between, the readings stay, the log says once what is wrong, the tries are spaced, and when it
//! is over all goes on.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tidegate_sandbox::{Action, Fault, Sandbox};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::delivery::{SERIAL, wait_for_numbers};
use crate::support::{Daemon, Line, Site, Tty, assert_content, cloud, wait_until};

/// The shortest wait between two tries in the tests' configuration.
const RETRY_MIN: Duration = Duration::from_millis(50);

/// Tries that must fail before a line is mended.
const TRIES: usize = 4;

fn port(cloud: &Sandbox) -> u16 {
    cloud.url().rsplit(':').next().unwrap().parse().unwrap()
}

/// A site whose cloud is at `url`, with short timeouts and `more` about it.
fn site(url: &str, more: &str) -> Site {
    let site = Site::at(url, SERIAL);
    let config = std::fs::read_to_string(site.config()).unwrap();
    let timeouts = "connect_timeout = \"1 s\"\nrequest_timeout = \"1 s\"\nproxy = \"none\"";
    site.write_config(&config.replace("[losant]", &format!("[losant]\n{timeouts}\n{more}")));
    site
}

fn told(daemon: &Daemon, words: &str) -> usize {
    daemon.log().matches(words).count()
}

/// A daemon with such a cloud keeps a reading, says one of `words` and that it is offline, each once, and tries again and
/// again, but not at once.
#[expect(clippy::disallowed_methods, reason = "a real daemon is watched in real time")]
fn assert_keeps(site: &Site, words: &str) -> Daemon {
    let mut tty = Tty::plugged(site.path("tty"));
    let began = Instant::now();
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    tty.write("n=0\n");
    wait_until("it waits", || daemon.count("/outbox/states") == 1);
    wait_until("it was tried", || told(&daemon, "nothing can be sent now") >= TRIES);
    assert!(words.split('|').any(|word| daemon.log().contains(word)), "{}", daemon.log());
    let tries = told(&daemon, "nothing can be sent now");
    let most = began.elapsed().as_millis() / RETRY_MIN.as_millis() + 1;
    assert!(tries as u128 <= most, "{tries} tries, {most} are the most");
    assert_eq!(told(&daemon, "cloud offline"), 1);
    assert_eq!(daemon.status()["cloud"]["online"], false);
    assert_eq!(daemon.count("/outbox/states"), 1);
    daemon
}

/// It is mended: what was kept arrives, once, and the log says so, once.
fn assert_recovers(site: &Site, cloud: &Sandbox, daemon: Daemon) {
    wait_for_numbers(cloud, 1);
    daemon.wait_until_sent();
    wait_until("it is told", || told(&daemon, "cloud online") == 1);
    assert_eq!(told(&daemon, "cloud offline"), 1);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(cloud);
}

/// The same over a line on which each connection meets with `trouble`.
async fn assert_survives(trouble: impl Fn(TcpStream, u16) + Send + Sync + 'static, words: &str) {
    let cloud = cloud().await;
    let line = Line::troubled(port(&cloud), trouble);
    let site = site(&line.url(), "");
    let daemon = assert_keeps(&site, words);
    line.mend();
    assert_recovers(&site, &cloud, daemon);
}

/// Reads until the other end is silent for a moment.
fn read_call(stream: &mut TcpStream) {
    let mut call = [0; 4_096];
    // However much of the call came.
    let _read = stream.read(&mut call);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "its tasks end with the test's runtime")]
async fn a_port_that_refuses_keeps_the_readings() {
    let cloud = cloud().await;
    // Bound, so that nobody else gets it, and not listened on.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let site = site(&format!("http://{}", socket.local_addr().unwrap()), "");
    let daemon = assert_keeps(&site, "Connection refused");
    let (listener, target) = (socket.listen(16).unwrap(), port(&cloud));
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = tokio::net::TcpStream::connect(("127.0.0.1", target)).await.unwrap();
            tokio::spawn(async move {
                tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
            });
        }
    });
    assert_recovers(&site, &cloud, daemon);
}

#[test]
fn unresolvable_name_keeps_readings() {
    let site = site("http://cloud.invalid", "");
    let daemon = assert_keeps(&site, "dns error|failed to lookup");
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn black_hole_keeps_readings() {
    // It takes the connection and what is sent, and never says a word.
    let swallow = |mut stream: TcpStream, _| {
        stream.read_to_end(&mut Vec::new()).ok();
    };
    assert_survives(swallow, "timed out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silently_vanished_peer_is_reconnected() {
    let cloud = cloud().await;
    let line = Line::to(port(&cloud));
    let site = site(&line.url(), "");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    tty.write("n=0\n");
    wait_for_numbers(&cloud, 1);
    daemon.wait_until_sent();
    // The connection stays open on our side, and nothing comes over it any more.
    line.freeze();
    tty.write("n=1\n");
    wait_until("it is noticed", || told(&daemon, "cloud offline") == 1);
    assert_eq!(daemon.count("/outbox/states"), 1);
    wait_for_numbers(&cloud, 2);
    daemon.wait_until_sent();
    assert_eq!((told(&daemon, "cloud offline"), told(&daemon, "cloud online")), (1, 2));
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_answer_keeps_readings() {
    let half = |mut stream: TcpStream, _| {
        read_call(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"success\"").ok();
    };
    assert_survives(half, "end of file|connection closed|incomplete|decoding").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_reset_keeps_readings() {
    let reset = |mut stream: TcpStream, _| {
        // What is closed before all was read is reset.
        stream.read_exact(&mut [0; 20]).ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"success\"").ok();
    };
    assert_survives(reset, "reset|end of file|connection closed|error sending").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_of_a_byte_per_second_keeps_readings() {
    // The cloud has the reading, and its answer takes minutes.
    let trickle = |mut stream: TcpStream, cloud| {
        let mut far = TcpStream::connect(("127.0.0.1", cloud)).unwrap();
        let mut call = [0; 8_192];
        let count = stream.read(&mut call).unwrap_or(0);
        far.write_all(&call[..count]).ok();
        let mut byte = [0; 1];
        while far.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {
            std::thread::sleep(Duration::from_secs(1));
        }
    };
    assert_survives(trickle, "timed out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn non_http_peer_keeps_readings() {
    let mail = |mut stream: TcpStream, _| {
        stream.write_all(b"220 mail ready\r\n").ok();
    };
    assert_survives(mail, "invalid HTTP|unexpected message|connection error|reset|closed").await;
}

/// A certificate for `name`, `alter`ed, of this authority, as the configuration of a server.
fn certified(
    authority: &CertifiedIssuer<'_, KeyPair>,
    name: &str,
    alter: fn(&mut CertificateParams),
) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
    alter(&mut parameters);
    let certificate = parameters.signed_by(&key, authority).unwrap();
    let (chain, key) =
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()));
    Arc::new(
        ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key.into()).unwrap(),
    )
}

/// Passes TLS connections on to the cloud, with the certificate of the moment.
#[expect(clippy::disallowed_methods, reason = "its tasks end with the test's runtime")]
async fn tls_server(config: watch::Receiver<Arc<ServerConfig>>, cloud: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(Arc::clone(&config.borrow()));
            tokio::spawn(async move {
                // A client that does not like the certificate is none of the server's errors.
                let Ok(mut near) = acceptor.accept(socket).await else { return };
                let mut far = tokio::net::TcpStream::connect(("127.0.0.1", cloud)).await.unwrap();
                tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
            });
        }
    });
    port
}

/// A certificate that is not good enough keeps the readings until there is a good one.
async fn assert_tls_survives(name: &str, alter: fn(&mut CertificateParams), words: &str) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let cloud = cloud().await;
    let (renew, config) = watch::channel(certified(&authority, name, alter));
    let port = tls_server(config, port(&cloud)).await;
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, authority.pem()).unwrap();
    let more = format!("ca_file = \"{}\"", file.display());
    let site = site(&format!("https://127.0.0.1:{port}"), &more);
    let daemon = assert_keeps(&site, words);
    renew.send_replace(certified(&authority, "127.0.0.1", |_| {}));
    assert_recovers(&site, &cloud, daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_for_another_name_keeps_readings() {
    assert_tls_survives("elsewhere.example", |_| {}, "not valid for name|NotValidForName").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_certificate_keeps_readings() {
    let expired = |parameters: &mut CertificateParams| {
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    };
    assert_tls_survives("127.0.0.1", expired, "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn future_certificate_keeps_readings() {
    let early = |parameters: &mut CertificateParams| {
        parameters.not_before = rcgen::date_time_ymd(2090, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2091, 1, 1);
    };
    assert_tls_survives("127.0.0.1", early, "not valid yet").await;
}

#[tokio::test]
async fn slow_answers_lose_nothing() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, SERIAL);
    let mut tty = Tty::plugged(site.path("tty"));
    let slow = Fault::Slow { bytes: 1, pause: Duration::from_millis(20) };
    cloud.fail_next(Action::SendState, 2, slow);
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    tty.write("n=0\n");
    wait_for_numbers(&cloud, 1);
    wait_until("it is confirmed", || daemon.count("/cloud/readings_stored") == 1);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}
