//! Modbus TCP units that misbehave: they close connections, are busy, or are dead behind a gateway.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::{Site, cloud, values, wait_until};

/// Answers each read of a word with its address, except where `answer` says otherwise: an
/// exception, or nothing. Closes a connection that is idle for `idle`.
fn tcp_unit(
    idle: Duration,
    answer: impl Fn(u8, u16, usize) -> Answer + Send + Sync + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let shared = Arc::new((answer, AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, shared) = (stream.unwrap(), Arc::clone(&shared));
            stream.set_read_timeout(Some(idle)).unwrap();
            std::thread::spawn(move || {
                let mut request = [0; 12];
                while stream.read_exact(&mut request).is_ok() {
                    let [a, b, .., unit, function, high, low, _, _] = request;
                    let count = shared.1.fetch_add(1, Ordering::Relaxed);
                    let answer = match shared.0(unit, u16::from_be_bytes([high, low]), count) {
                        Answer::Address => vec![a, b, 0, 0, 0, 5, unit, function, 2, high, low],
                        Answer::Exception(code) => {
                            vec![a, b, 0, 0, 0, 3, unit, function | 0x80, code]
                        }
                        Answer::Nothing => continue,
                    };
                    if stream.write_all(&answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// The answer of a unit to a read.
enum Answer {
    Address,
    Exception(u8),
    Nothing,
}

/// Returns a bus with the units 1 and 2, each of which has two registers.
fn two_units(port: u16, interval: &str) -> String {
    let unit = |name: &str, id: u8, [a, b]: [&str; 2]| {
        format!(
            r#"
[bus.modbus.plant.unit.{name}]
id = {id}
registers = [{{ channel = "a", address = 100 }}, {{ channel = "b", address = 200 }}]
[sensor.{name}]
bus = "plant"
topic = "{name}"
format = "json"
map = [{{ channel = "a", attribute = "{a}" }}, {{ channel = "b", attribute = "{b}" }}]
"#
        )
    };
    let bus = format!(
        r#"
[bus.modbus.plant]
tcp = "127.0.0.1:{port}"
interval = "{interval}"
timeout = "200 ms"
"#
    );
    bus + &unit("one", 1, ["a", "b"]) + &unit("two", 2, ["t", "n"])
}

/// The device is silent at first, and later closes each connection before the next round.
#[tokio::test]
async fn unit_that_closes_idle_connections_is_read() {
    let cloud = cloud().await;
    let silent = 2;
    let port = tcp_unit(Duration::from_millis(300), move |_, _, count| {
        if count < silent { Answer::Nothing } else { Answer::Address }
    });
    let site = Site::new(&cloud, &two_units(port, "1 s"));
    let daemon = site.start();
    for name in ["a", "b", "t", "n"] {
        wait_until("it is read in three rounds", || values(&cloud, name).len() >= 3);
    }
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn busy_unit_is_asked_again_in_the_same_round() {
    let cloud = cloud().await;
    let port = tcp_unit(Duration::from_secs(60), |unit, address, count| {
        // The first requests for the second register of the first unit.
        let is_busy = unit == 1 && address == 200 && count < 4;
        if is_busy { Answer::Exception(6) } else { Answer::Address }
    });
    let site = Site::new(&cloud, &two_units(port, "1 h"));
    let daemon = site.start();
    wait_until("each register is read", || {
        values(&cloud, "b") == [json!(200)] && values(&cloud, "n") == [json!(200)]
    });
    assert_eq!(values(&cloud, "a"), [json!(100)]);
    assert!(daemon.terminate().success());
    site.outbox();
}

#[tokio::test]
async fn dead_unit_behind_a_gateway_does_not_slow_the_others() {
    let cloud = cloud().await;
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let port = tcp_unit(Duration::from_secs(60), move |unit, _, _| {
        if unit == 2 {
            return Answer::Address;
        }
        counter.fetch_add(1, Ordering::Relaxed);
        Answer::Exception(11)
    });
    let site = Site::new(&cloud, &two_units(port, "50 ms"));
    let daemon = site.start();
    wait_until("the other is read", || values(&cloud, "n").len() >= 40);
    let requests = requests.load(Ordering::Relaxed);
    assert!((1..20).contains(&requests), "{requests} requests to the dead unit");
    let problem = daemon.status()["buses"].to_string();
    assert!(problem.contains("one"), "{problem}");
    assert!(daemon.terminate().success());
    site.outbox();
}
