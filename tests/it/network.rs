//! Bad networks: the daemon keeps its readings, logs the cause once, spaces its retries and
//! recovers.

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

use crate::support::{
    Daemon, Relay, Site, Tty, assert_content, cloud, probe_tables, wait_for_numbers, wait_until,
};

/// The shortest pause between two tries in the tests' configuration.
const RETRY_MIN: Duration = Duration::from_millis(50);

/// Tries that must fail before the connection is repaired.
const TRIES: usize = 4;

fn port(cloud: &Sandbox) -> u16 {
    cloud.url().rsplit(':').next().unwrap().parse().unwrap()
}

/// Returns a site whose cloud is at `url`, with short timeouts and `more` options.
fn site(url: &str, more: &str) -> Site {
    let site = Site::at(url, &probe_tables(&["n"]));
    let timeouts = "connect_timeout = \"1 s\"\nrequest_timeout = \"1 s\"\nproxy = \"none\"";
    site.replace_in_config("[losant]", &format!("[losant]\n{timeouts}\n{more}"));
    site
}

fn count_in_log(daemon: &Daemon, words: &str) -> usize {
    daemon.log().matches(words).count()
}

/// Asserts that a daemon that cannot reach its cloud keeps a reading and spaces its retries.
///
/// Its log must contain one of `words`, which are separated by `|`, and once that it is offline.
#[expect(clippy::disallowed_methods, reason = "a real daemon is observed in real time")]
fn assert_keeps(site: &Site, words: &str) -> Daemon {
    let mut tty = Tty::plugged(site.path("tty"));
    let began = Instant::now();
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    tty.write("n=0\n");
    wait_until("the state waits", || daemon.count("/outbox/states") == 1);
    wait_until("several tries have failed", || {
        count_in_log(&daemon, "cannot send states; retrying") >= TRIES
    });
    assert!(words.split('|').any(|word| daemon.log().contains(word)), "{}", daemon.log());
    let tries = count_in_log(&daemon, "cannot send states; retrying");
    let most = began.elapsed().as_millis() / RETRY_MIN.as_millis() + 1;
    assert!(tries as u128 <= most, "{tries} tries, expected at most {most}");
    assert_eq!(count_in_log(&daemon, "cloud offline; queueing"), 1);
    assert_eq!(daemon.status()["cloud"]["online"], false);
    assert_eq!(daemon.count("/outbox/states"), 1);
    daemon
}

/// Asserts that the kept reading arrives once, and that the log reports the recovery once.
fn assert_recovers(site: &Site, cloud: &Sandbox, daemon: Daemon) {
    wait_for_numbers(cloud, 1);
    daemon.wait_until_sent();
    wait_until("the recovery is logged", || count_in_log(&daemon, "cloud online") == 1);
    assert_eq!(count_in_log(&daemon, "cloud offline; queueing"), 1);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(cloud);
}

/// Asserts that a daemon keeps its readings while `fault` serves its connections, and recovers.
async fn assert_survives(fault: impl Fn(TcpStream, u16) + Send + Sync + 'static, words: &str) {
    let cloud = cloud().await;
    let relay = Relay::failing(port(&cloud), fault);
    let site = site(&relay.url(), "");
    let daemon = assert_keeps(&site, words);
    relay.repair();
    assert_recovers(&site, &cloud, daemon);
}

/// Reads some bytes of a request.
fn read_request(stream: &mut TcpStream) {
    // The connection may end before any bytes arrive.
    let _read = stream.read(&mut [0; 4_096]);
}

#[tokio::test(flavor = "multi_thread")]
#[expect(clippy::disallowed_methods, reason = "its tasks end with the test's runtime")]
async fn a_port_that_refuses_keeps_the_readings() {
    let cloud = cloud().await;
    // The port is bound, so that no other process gets it, and does not listen.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let site = site(&format!("http://{}", socket.local_addr().unwrap()), "");
    let daemon = assert_keeps(&site, "connection refused");
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
    let daemon = assert_keeps(&site, "the host name cannot be resolved");
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn black_hole_keeps_readings() {
    // The peer accepts the connection and its data, and never answers.
    let swallow = |mut stream: TcpStream, _| {
        stream.read_to_end(&mut Vec::new()).ok();
    };
    assert_survives(swallow, "timed out").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silently_vanished_peer_is_reconnected() {
    let cloud = cloud().await;
    let relay = Relay::to(port(&cloud));
    let site = site(&relay.url(), "");
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    tty.write("n=0\n");
    wait_for_numbers(&cloud, 1);
    daemon.wait_until_sent();
    // The connection stays open on the daemon's side, and carries no more data.
    relay.freeze();
    tty.write("n=1\n");
    wait_until("the loss is noticed", || count_in_log(&daemon, "cloud offline; queueing") == 1);
    assert_eq!(daemon.count("/outbox/states"), 1);
    wait_for_numbers(&cloud, 2);
    daemon.wait_until_sent();
    assert_eq!(
        (count_in_log(&daemon, "cloud offline; queueing"), count_in_log(&daemon, "cloud online")),
        (1, 2)
    );
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_answer_keeps_readings() {
    let half = |mut stream: TcpStream, _| {
        read_request(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"success\"").ok();
    };
    assert_survives(half, "end of file|connection closed|incomplete|decoding").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_reset_keeps_readings() {
    let reset = |mut stream: TcpStream, _| {
        // A connection that is closed with unread data is reset.
        stream.read_exact(&mut [0; 20]).ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"success\"").ok();
    };
    assert_survives(reset, "reset|end of file|connection closed|error sending").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_of_a_byte_per_second_keeps_readings() {
    // The cloud stores the reading, and its answer takes minutes.
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
    // It depends on who is faster, the greeting or the request.
    let words = "before the request was sent|invalid HTTP|unexpected message|reset|closed";
    assert_survives(mail, words).await;
}

/// Returns the configuration of a server with a certificate for `name` that `alter` has changed.
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

/// Forwards TLS connections to the cloud, with the current certificate.
#[expect(clippy::disallowed_methods, reason = "its tasks end with the test's runtime")]
async fn tls_server(config: watch::Receiver<Arc<ServerConfig>>, cloud: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(Arc::clone(&config.borrow()));
            tokio::spawn(async move {
                // A client may refuse the certificate.
                let Ok(mut near) = acceptor.accept(socket).await else { return };
                let mut far = tokio::net::TcpStream::connect(("127.0.0.1", cloud)).await.unwrap();
                tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
            });
        }
    });
    port
}

/// Asserts that a daemon keeps its readings until an invalid certificate is replaced.
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
    let site = Site::new(&cloud, &probe_tables(&["n"]));
    let mut tty = Tty::plugged(site.path("tty"));
    let slow = Fault::Slow { bytes: 1, pause: Duration::from_millis(20) };
    cloud.fail_next(Action::SendState, 2, slow);
    let daemon = site.start();
    daemon.wait_for_log("serial line open");
    tty.write("n=0\n");
    wait_for_numbers(&cloud, 1);
    wait_until("the reading is confirmed", || daemon.count("/cloud/readings_stored") == 1);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}
