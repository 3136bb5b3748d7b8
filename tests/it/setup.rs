//! `tidegate setup` from a script and on a real terminal.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tidegate_sandbox::{GATEWAY_ID, Sandbox};

use crate::support::{Broker, End, PROGRAM, Terminal, Tty, default_cloud};

/// A machine without a configuration.
struct Machine {
    cloud: Sandbox,
    etc: TempDir,
}

impl Machine {
    async fn new() -> Self {
        Self { cloud: default_cloud().await, etc: TempDir::new().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.etc.path().join(name)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(words).arg("--config").arg(self.path("tidegate.toml"));
        command.env_remove("CREDENTIALS_DIRECTORY");
        command
    }

    /// Runs the program without a terminal.
    fn script(&self, words: &[&str], stdin: &str) -> End {
        let mut command = self.command(words);
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // The program may end before it reads its input.
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
        End::of(&child.wait_with_output().unwrap())
    }

    /// Runs the usual setup from a script.
    fn set_up(&self, secret: &str, more: &[&str]) -> End {
        let words = ["setup", "--no-start", "--device-id", GATEWAY_ID, "--url", self.cloud.url()];
        let sensor = ["--bus", "/dev/ttyUSB0", "--map", "t=temperature"];
        let key = ["--access-key", "gateway-key"];
        self.script(&[&words[..], &sensor, &key, more].concat(), &format!("{secret}\n"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripted_setup_is_idempotent() {
    let machine = Machine::new().await;
    let end = machine.set_up("gateway-secret", &[]);
    assert_eq!(end.code, 0, "{}", end.text());
    assert!(end.text().contains("Found in Losant: gateway (gateway)"), "{}", end.text());
    assert!(end.text().contains("Start it with: tidegate run --config"), "{}", end.text());
    let credentials = machine.path("credentials.toml");
    let mode = std::fs::metadata(&credentials).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&credentials).unwrap();
    assert_eq!(text, "key = \"gateway-key\"\nsecret = \"gateway-secret\"\n");
    let check = machine.script(&["check"], "");
    assert!(check.text().contains("t -> gateway.temperature"), "{check:?}");

    let again = machine.set_up("gateway-secret", &[]);
    assert_eq!(again.code, 0, "{}", again.text());
    assert!(!again.text().contains("Wrote"), "{}", again.text());
    // The files contain all settings, so that no argument is needed.
    let silent = machine.script(&["setup", "--no-start", "--device-id", GATEWAY_ID], "");
    assert_eq!(silent.code, 0, "{}", silent.text());
    assert!(!silent.text().contains("Wrote"), "{}", silent.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_with_bad_credentials_writes_nothing() {
    let machine = Machine::new().await;
    let refused = machine.set_up("hunter2", &[]);
    assert_eq!(refused.code, 77, "{}", refused.text());
    assert!(!refused.text().contains("hunter2"), "{}", refused.text());
    let unknown = machine.script(&["setup", "--device-id", GATEWAY_ID], "");
    assert_eq!(unknown.code, 64, "{}", unknown.text());
    assert!(unknown.text().contains("give --access-key KEY"), "{}", unknown.text());
    machine.cloud.set_offline(true);
    assert_eq!(machine.set_up("gateway-secret", &[]).code, 69);
    assert_eq!(std::fs::read_dir(machine.etc.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_asks_and_hides_the_secret() {
    let (machine, broker) = (Machine::new().await, Broker::start());
    let words = ["setup", "--no-start", "--url", machine.cloud.url()];
    let mut terminal = Terminal::start(&mut machine.command(&words));
    terminal.answer("Device ID of the gateway: ", GATEWAY_ID);
    terminal.answer("Access key: ", "gateway-key");
    terminal.answer("Access secret (hidden): ", "hunter2");
    terminal.answer("Losant refused", "");
    terminal.answer("Access key: ", "gateway-key");
    terminal.answer("Access secret (hidden): ", "gateway-secret");
    terminal.answer("Bus of the first sensor", &format!("127.0.0.1:{}", broker.port()));
    terminal.answer("Listen to the broker", "n");
    terminal.answer("Topics, such as", "sensors/+/climate");
    terminal.answer("Format of a message", "");
    terminal.answer("Channels and attributes", "t=temperature h=brandNew");
    terminal.answer("Create them?", "y");
    terminal.answer("Application token (hidden): ", machine.cloud.api_token());
    terminal.answer("Run the gateway now", "n");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("gateway: created brandNew"), "{screen}");
    for secret in ["hunter2", "gateway-secret", machine.cloud.api_token()] {
        assert!(!screen.contains(secret), "{screen}");
    }
    for file in ["tidegate.toml", "conf.d/setup.toml", "credentials.toml"] {
        let text = std::fs::read_to_string(machine.path(file)).unwrap();
        assert!(!text.contains(machine.cloud.api_token()), "the token is kept in {file}");
    }
    assert_eq!(machine.script(&["check", "--quiet"], "").code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_asks_again_after_malformed_answers() {
    let (machine, broker) = (Machine::new().await, Broker::start());
    let address = format!("127.0.0.1:{}", broker.port());
    let words = ["setup", "--no-start", "--url", machine.cloud.url()];
    let mut terminal = Terminal::start(&mut machine.command(&words));
    terminal.answer("Device ID of the gateway: ", "nonsense");
    terminal.answer("Try again", GATEWAY_ID);
    terminal.answer("Access key: ", "two words");
    terminal.answer("Try again", "back");
    terminal.answer("Device ID of the gateway", "");
    terminal.answer("Access key: ", "gateway-key");
    terminal.answer("Access secret (hidden): ", "");
    terminal.answer("Nothing was entered", "gateway-secret");
    terminal.answer("Bus of the first sensor", "mqtt://host");
    terminal.answer("Try again", "127.0.0.1:1");
    terminal.answer("connection refused", "/dev/no-such-line");
    terminal.answer("there is no serial line /dev/no-such-line", &address);
    terminal.answer("Listen to the broker", "maybe");
    terminal.answer("Answer y or n", "n");
    terminal.answer("Topics, such as", "a/#/b");
    terminal.answer("Try again", "back");
    terminal.answer("Bus of the first sensor", &address);
    terminal.answer("Listen to the broker", "n");
    terminal.answer("Topics, such as", "a/b");
    terminal.answer("Format of a message", "jason");
    terminal.answer("Try again", "json");
    terminal.answer("Channels and attributes", "t");
    terminal.answer("Try again", "t=a.b");
    terminal.answer("Try again", "t=temperature");
    terminal.answer("Run the gateway now", "n");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    let check = machine.script(&["check"], "");
    assert!(check.text().contains("t -> gateway.temperature"), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_ends_without_a_sensor_when_it_is_skipped() {
    let machine = Machine::new().await;
    let words = ["setup", "--no-start", "--url", machine.cloud.url()];
    let mut terminal = Terminal::start(&mut machine.command(&words));
    terminal.answer("Device ID of the gateway: ", GATEWAY_ID);
    terminal.answer("Access key: ", "gateway-key");
    terminal.answer("Access secret (hidden): ", "gateway-secret");
    terminal.answer("Bus of the first sensor", "nothing");
    let (code, screen) = terminal.end();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("There is no sensor yet"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pasted_secret_does_not_reach_the_shell() {
    let machine = Machine::new().await;
    let words = ["setup", "--no-start", "--url", machine.cloud.url()];
    let mut terminal = Terminal::start_in_shell(&mut machine.command(&words));
    terminal.wait_for("Device ID of the gateway: ");
    // Ctrl-D ends the input; the rest of the paste follows.
    terminal.paste("\u{4}");
    terminal.paste("gateway-key\nhunter2\nmore");
    let (code, left) = terminal.leftover();
    assert_eq!((code, &*left), (64, ""), "the shell gets nothing");
}

/// Answers the questions for the gateway.
fn answer_gateway(terminal: &mut Terminal) {
    terminal.answer("Device ID of the gateway: ", GATEWAY_ID);
    terminal.answer("Access key: ", "gateway-key");
    terminal.answer("Access secret (hidden): ", "gateway-secret");
}

/// Writes a configuration whose files are in the directory of the machine.
fn write_paths(machine: &Machine) {
    let text = "[outbox]\npath = \"outbox\"\n[status]\nsocket = \"s\"\n\
                [clock]\ntrust = \"always\"\n";
    std::fs::write(machine.path("tidegate.toml"), text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_learns_from_a_broker_and_shows_the_first_state() {
    let (machine, broker) = (Machine::new().await, std::sync::Arc::new(Broker::start()));
    write_paths(&machine);
    let sender = std::sync::Arc::clone(&broker);
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&is_over);
    let sending = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        while !seen.load(std::sync::atomic::Ordering::Relaxed) {
            let payload = br#"{"temperature":21.5,"contact":true}"#.to_vec();
            let message = ("zigbee2mqtt/kitchen".to_owned(), payload);
            runtime.block_on(sender.publish([message].into_iter()));
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    });
    let words = ["setup", "--no-start", "--listen", "2s", "--url", machine.cloud.url()];
    let mut terminal = Terminal::start(&mut machine.command(&words));
    answer_gateway(&mut terminal);
    terminal.answer("Bus of the first sensor", &format!("127.0.0.1:{}", broker.port()));
    terminal.answer("Listen to the broker for 2 s", "y");
    terminal.answer("Use these tables?", "");
    terminal.answer("Create them?", "y");
    terminal.answer("Application token (hidden): ", "wrong");
    terminal.answer("Try another token?", "y");
    terminal.answer("Application token (hidden): ", machine.cloud.api_token());
    terminal.answer("Run the gateway now", "y");
    let (code, screen) = terminal.end();
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    sending.join().unwrap();
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("kitchen_contact      boolean  add"), "{screen}");
    let first = screen.lines().find(|line| line.contains("Losant has the first state of gateway"));
    assert!(first.unwrap().contains("\"kitchen_temperature\":21.5"), "{screen}");
    assert!(screen.contains("created kitchen_contact, kitchen_temperature"), "{screen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_probes_a_serial_line() {
    let machine = Machine::new().await;
    let mut tty = Tty::plugged(machine.path("tty"));
    let is_over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = std::sync::Arc::clone(&is_over);
    let instrument = std::thread::spawn(move || {
        while !seen.load(std::sync::atomic::Ordering::Relaxed) {
            tty.try_write(b"t=21.5 h=40\r\n");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    });
    let words = ["setup", "--no-start", "--url", machine.cloud.url()];
    let mut terminal = Terminal::start(&mut machine.command(&words));
    answer_gateway(&mut terminal);
    terminal.answer("Bus of the first sensor", machine.path("tty").to_str().unwrap());
    terminal.answer("Listen to the line", "y");
    terminal.answer("Use these tables?", "y");
    terminal.answer("Create them?", "n");
    terminal.answer("Run the gateway now", "n");
    let (code, screen) = terminal.end();
    is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    instrument.join().unwrap();
    assert_eq!(code, 0, "{screen}");
    let check = machine.script(&["check"], "");
    assert!(check.text().contains("at 9600 baud"), "{check:?}");
    assert!(check.text().contains("h -> gateway.h"), "{check:?}");
}
