//! Pushes of clients that are slow, faulty or unauthorised.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::json;

use crate::support::{Daemon, Site, cloud, values, wait_until, write_private};

/// Starts a gateway with an HTTP endpoint. Returns its port too.
async fn start() -> (tidegate_sandbox::Sandbox, Site, Daemon, u16) {
    let cloud = cloud().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let site = Site::new(
        &cloud,
        &format!(
            r#"
[bus.http.push]
listen = "127.0.0.1:{port}"
credentials_file = "push-token"
size_max = "1 KiB"
connections_max = 1
[sensor.push]
bus = "push"
topic = "größe/living room"
format = "json"
map = [{{ channel = "n", attribute = "n" }}]
"#
        ),
    );
    write_private(&site.path("push-token"), "correct-horse\n");
    let daemon = site.start();
    daemon.wait_for_log("listening for pushes");
    (cloud, site, daemon, port)
}

/// Sends all of the request before reading the answer.
fn say(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn refusal_reaches_a_client_that_keeps_sending() {
    let (_cloud, site, daemon, port) = start().await;
    let body = "x".repeat(200_000);
    for (token, status) in [("wrong", "401"), ("correct-horse", "413")] {
        for length in [
            format!("Content-Length: {}\r\n\r\n", body.len()),
            "Transfer-Encoding: chunked\r\n\r\n30d40\r\n".into(),
        ] {
            let answer = say(
                port,
                &format!(
                    "POST /push HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \
                     {token}\r\n{length}{body}\r\n0\r\n\r\n"
                ),
            );
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
    }
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn topic_may_be_percent_encoded() {
    let (cloud, site, daemon, port) = start().await;
    for (n, path) in
        ["gr%C3%B6%C3%9Fe/living%20room", "gr%c3%b6ße/living%20room"].iter().enumerate()
    {
        let answer = say(
            port,
            &format!(
                "POST /push/{path} HTTP/1.0\r\nAuthorization: bearer \
                 correct-horse\r\nContent-Length: 7\r\n\r\n{{\"n\":{n}}}"
            ),
        );
        assert!(answer.contains("200 OK"), "{answer}");
    }
    for path in ["%2", "%zz", "%ff", "a%2B", "a%00"] {
        let answer = say(
            port,
            &format!(
                "POST /push/{path} HTTP/1.0\r\nAuthorization: Bearer \
                 correct-horse\r\nContent-Length: 7\r\n\r\n{{\"n\":9}}"
            ),
        );
        assert!(answer.contains("400 Bad Request"), "{path}: {answer}");
    }
    wait_until("they arrive", || values(&cloud, "n") == [json!(0), json!(1)]);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn silent_clients_do_not_block_others() {
    let (cloud, site, daemon, port) = start().await;
    let silent: Vec<_> = (0..3).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    let answer = say(
        port,
        "POST /push/gr%C3%B6%C3%9Fe/living%20room HTTP/1.0\r\nAuthorization: Bearer \
         correct-horse\r\nContent-Length: 7\r\n\r\n{\"n\":1}",
    );
    assert!(answer.contains("200 OK"), "{answer}");
    wait_until("it arrives", || values(&cloud, "n") == [json!(1)]);
    drop(silent);
    assert!(daemon.terminate().success());
    site.outbox();
}
