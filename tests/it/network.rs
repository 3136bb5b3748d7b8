//! Bad networks: whatever lies between, the readings stay, the log says what is wrong, and the daemon ends when it is told to.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, Stream};
use tidegate_sandbox::{Action, Fault};

use crate::delivery::{SERIAL, wait_for_numbers};
use crate::support::{Site, Tty, assert_content, cloud, wait_until};

/// Serves each connection with `serve` until the test ends, and returns the port.
fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, serve) = (stream.unwrap(), Arc::clone(&serve));
            std::thread::spawn(move || serve(stream));
        }
    });
    port
}

/// A port that nobody listens on.
fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A daemon with this cloud keeps a reading, and its log says one of these words.
fn assert_keeps(url: &str, more: &str, words: &str) {
    let site = Site::at(url, SERIAL);
    let config = std::fs::read_to_string(site.config()).unwrap();
    let timeouts = "connect_timeout = \"1 s\"\nrequest_timeout = \"1 s\"\nproxy = \"none\"";
    site.write_config(&config.replace("[losant]", &format!("[losant]\n{timeouts}\n{more}")));
    let mut tty = Tty::plugged(site.path("tty"));
    let daemon = site.start();
    tty.write("n=0\n");
    wait_until("it waits", || daemon.count("/outbox/states") == 1);
    let is_told = || words.split('|').any(|word| daemon.log().contains(word));
    wait_until(words, is_told);
    wait_until("the cloud is offline", || daemon.status()["cloud"]["online"] == false);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 1);
}

#[test]
fn a_port_that_refuses_keeps_the_readings() {
    assert_keeps(&format!("http://127.0.0.1:{}", closed_port()), "", "Connection refused");
}

#[test]
fn a_name_that_cannot_be_resolved_keeps_the_readings() {
    assert_keeps("http://cloud.invalid", "", "dns error|failed to lookup");
}

#[test]
fn a_black_hole_keeps_the_readings() {
    // It takes the connection and what is sent, and never says a word.
    let port = server(|mut stream| {
        let mut sink = Vec::new();
        stream.read_to_end(&mut sink).ok();
    });
    assert_keeps(&format!("http://127.0.0.1:{port}"), "", "timed out");
}

#[test]
fn an_answer_that_breaks_off_keeps_the_readings() {
    let port = server(|mut stream| {
        let mut head = [0; 4_096];
        // However much of the call came.
        let _read = stream.read(&mut head);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"success\"").ok();
    });
    assert_keeps(
        &format!("http://127.0.0.1:{port}"),
        "",
        "end of file|connection closed|incomplete|decoding",
    );
}

#[test]
fn what_does_not_speak_http_keeps_the_readings() {
    let port = server(|mut stream| {
        stream.write_all(b"220 mail ready\r\n").ok();
    });
    assert_keeps(
        &format!("http://127.0.0.1:{port}"),
        "",
        "invalid HTTP|connection error|reset|closed",
    );
}

/// A server behind TLS whose certificate is `alter`ed, and the authority's certificate in PEM.
fn tls_server(name: &str, alter: fn(&mut CertificateParams)) -> (u16, String) {
    rustls::crypto::ring::default_provider().install_default().ok();
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
    alter(&mut parameters);
    let certificate = parameters.signed_by(&key, &authority).unwrap();
    let (chain, key) =
        (vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(chain, key.into()).unwrap());
    let port = server(move |mut socket| {
        let mut connection = ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut head = [0; 1_024];
        let _read = Stream::new(&mut connection, &mut socket).read(&mut head);
    });
    (port, authority.pem())
}

fn assert_tls_keeps(name: &str, alter: fn(&mut CertificateParams), words: &str) {
    let (port, authority) = tls_server(name, alter);
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, authority).unwrap();
    let more = format!("ca_file = \"{}\"", file.display());
    assert_keeps(&format!("https://127.0.0.1:{port}"), &more, words);
}

#[test]
fn a_certificate_of_another_name_keeps_the_readings() {
    assert_tls_keeps("elsewhere.example", |_| {}, "not valid for name|NotValidForName");
}

#[test]
fn a_certificate_that_has_expired_keeps_the_readings() {
    let expired = |parameters: &mut CertificateParams| {
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    };
    assert_tls_keeps("127.0.0.1", expired, "expired");
}

#[test]
fn a_certificate_that_is_not_valid_yet_keeps_the_readings() {
    let early = |parameters: &mut CertificateParams| {
        parameters.not_before = rcgen::date_time_ymd(2090, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2091, 1, 1);
    };
    assert_tls_keeps("127.0.0.1", early, "not valid yet");
}

#[tokio::test]
async fn answers_of_one_byte_at_a_time_delay_and_lose_nothing() {
    let cloud = cloud().await;
    let site = Site::new(&cloud, SERIAL);
    let mut tty = Tty::plugged(site.path("tty"));
    let slow = Fault::Slow { bytes: 1, pause: std::time::Duration::from_millis(20) };
    cloud.fail_next(Action::SendState, 2, slow);
    let daemon = site.start();
    tty.write("n=0\n");
    wait_for_numbers(&cloud, 1);
    wait_until("it is confirmed", || daemon.count("/cloud/readings_stored") == 1);
    assert!(daemon.terminate().success());
    assert_eq!(site.outbox()["states"], 0);
    assert_content(&cloud);
}
