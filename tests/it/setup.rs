//! `tidegate setup` from a script and on a real terminal.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tidegate_sandbox::{GATEWAY_ID, Sandbox};

use crate::support::{End, PROGRAM, Terminal, cloud};

/// A machine without a configuration.
struct Machine {
    cloud: Sandbox,
    etc: TempDir,
}

impl Machine {
    async fn new() -> Self {
        Self { cloud: cloud().await, etc: TempDir::new().unwrap() }
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
    let machine = Machine::new().await;
    let words = ["setup", "--no-start", "--url", machine.cloud.url()];
    let mut terminal = Terminal::start(&mut machine.command(&words));
    terminal.answer("Device ID of the gateway: ", GATEWAY_ID);
    terminal.answer("Access key: ", "gateway-key");
    terminal.answer("Access secret (hidden): ", "hunter2");
    terminal.answer("Losant refused", "");
    terminal.answer("Access key: ", "gateway-key");
    terminal.answer("Access secret (hidden): ", "gateway-secret");
    terminal.answer("Bus of the first sensor", "127.0.0.1:1884");
    terminal.answer("Topics, such as", "sensors/+/climate");
    terminal.answer("Format of a message", "");
    terminal.answer("Channels and attributes", "t=temperature h=brandNew");
    terminal.answer("Create them?", "y");
    terminal.answer("Application token (hidden): ", machine.cloud.api_token());
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
