//! The first five minutes: `tidegate setup` from a script and on a real terminal, and `tidegate provision`.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use tempfile::TempDir;
use tidegate_sandbox::{GATEWAY_ID, GREENHOUSE_ID, Sandbox};

use crate::support::{PROGRAM, Site, cloud, wait_until, write_private};

/// A machine on which nothing has been set up yet.
struct Machine {
    cloud: Sandbox,
    etc: TempDir,
}

/// How a program ended, and all that it said.
#[derive(Debug)]
struct End {
    code: i32,
    said: String,
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
        // It may end without having read it.
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        End { code: output.status.code().unwrap(), said }
    }

    /// The usual setup, from a script.
    fn set_up(&self, secret: &str, more: &[&str]) -> End {
        let words = ["setup", "--no-start", "--device-id", GATEWAY_ID, "--url", self.cloud.url()];
        let sensor = ["--bus", "/dev/ttyUSB0", "--map", "t=temperature"];
        let key = ["--access-key", "gateway-key"];
        self.script(&[&words[..], &sensor, &key, more].concat(), &format!("{secret}\n"))
    }
}

/// A program on a terminal, and the person in front of it.
struct Terminal {
    master: File,
    child: Child,
    seen: String,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let open = || {
            File::from(
                rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap(),
            )
        };
        let child = command.stdin(open()).stdout(open()).stderr(open()).spawn().unwrap();
        let flags = fcntl_getfl(&master).unwrap();
        fcntl_setfl(&master, flags | OFlags::NONBLOCK).unwrap();
        Self { master: File::from(master), child, seen: String::new() }
    }

    fn look(&mut self) {
        let mut buffer = [0; 4_096];
        while let Ok(length @ 1..) = self.master.read(&mut buffer) {
            self.seen.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }

    /// Waits for a question and answers it.
    fn answer(&mut self, question: &str, answer: &str) {
        let start = self.seen.len();
        wait_until(&format!("the question {question}"), || {
            self.look();
            self.seen[start..].contains(question)
        });
        writeln!(self.master, "{answer}").unwrap();
    }

    fn end(mut self) -> (ExitStatus, String) {
        let mut status = None;
        wait_until("the program ends", || {
            self.look();
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        self.look();
        (status.unwrap(), self.seen)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn scripted_setup_is_idempotent() {
    let machine = Machine::new().await;
    let end = machine.set_up("gateway-secret", &[]);
    assert_eq!(end.code, 0, "{}", end.said);
    assert!(end.said.contains("Found in Losant: gateway (gateway)"), "{}", end.said);
    assert!(end.said.contains("Start it with: tidegate run --config"), "{}", end.said);
    let credentials = machine.path("credentials.toml");
    let mode = std::fs::metadata(&credentials).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&credentials).unwrap();
    assert_eq!(text, "key = \"gateway-key\"\nsecret = \"gateway-secret\"\n");
    let check = machine.script(&["check"], "");
    assert!(check.said.contains("t -> gateway.temperature"), "{check:?}");

    let again = machine.set_up("gateway-secret", &[]);
    assert_eq!(again.code, 0, "{}", again.said);
    assert!(!again.said.contains("Wrote"), "{}", again.said);
    // Now all is known, so nothing has to be told.
    let silent = machine.script(&["setup", "--no-start", "--device-id", GATEWAY_ID], "");
    assert_eq!(silent.code, 0, "{}", silent.said);
    assert!(!silent.said.contains("Wrote"), "{}", silent.said);
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_with_bad_credentials_writes_nothing() {
    let machine = Machine::new().await;
    let refused = machine.set_up("hunter2", &[]);
    assert_eq!(refused.code, 77, "{}", refused.said);
    assert!(!refused.said.contains("hunter2"), "{}", refused.said);
    let unknown = machine.script(&["setup", "--device-id", GATEWAY_ID], "");
    assert_eq!(unknown.code, 64, "{}", unknown.said);
    assert!(unknown.said.contains("give --access-key KEY"), "{}", unknown.said);
    machine.cloud.set_dark(true);
    assert_eq!(machine.set_up("gateway-secret", &[]).code, 69);
    assert_eq!(std::fs::read_dir(machine.etc.path()).unwrap().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn setup_asks_and_hides_the_secret() {
    let machine = Machine::new().await;
    let words = ["setup", "--no-start", "--url", machine.cloud.url()];
    let mut terminal = Terminal::start(machine.command(&words));
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
    let (status, seen) = terminal.end();
    assert!(status.success(), "{seen}");
    assert!(seen.contains("gateway: created brandNew"), "{seen}");
    for secret in ["hunter2", "gateway-secret", machine.cloud.api_token()] {
        assert!(!seen.contains(secret), "{seen}");
    }
    for file in ["tidegate.toml", "conf.d/setup.toml", "credentials.toml"] {
        let text = std::fs::read_to_string(machine.path(file)).unwrap();
        assert!(!text.contains(machine.cloud.api_token()), "the token is kept in {file}");
    }
    assert_eq!(machine.script(&["check", "--quiet"], "").code, 0);
}

/// A site whose gateway and greenhouse report something that Losant does not have yet.
async fn site() -> (Sandbox, Site) {
    let cloud = cloud().await;
    let site = Site::new(
        &cloud,
        r#"
[bus.serial.probe]
path = "tty"
[sensor.probe]
bus = "probe"
format = "key-value"
map = [{ channel = "t", attribute = "brandNew" }, { channel = "d", attribute = "hatch" }]
[sensor.other]
bus = "probe"
device = "greenhouse"
format = "json"
map = [{ channel = "t", attribute = "newToo" }]
"#,
    );
    write_private(&site.path("token"), cloud.api_token());
    (cloud, site)
}

/// The attributes of a device in the cloud, with their types.
fn attributes(site: &Site, device: &str) -> Vec<String> {
    let output = site.run(&["device", "get", "--device", device]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |attribute: &Value, key: &str| attribute[key].as_str().unwrap().to_owned();
    let list = document["attributes"].as_array().unwrap().iter();
    list.map(|attribute| format!("{}:{}", text(attribute, "name"), text(attribute, "dataType")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_creates_only_missing_attributes() {
    let (_cloud, site) = site().await;
    let (gateway, greenhouse) = (attributes(&site, GATEWAY_ID), attributes(&site, GREENHOUSE_ID));
    let shown = site.run(&["provision", "--dry-run"]);
    let said = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success());
    assert!(said.contains("gateway: 2 of 2 attributes are missing"), "{said}");
    assert!(said.contains("greenhouse: 1 of 1 attributes are missing"), "{said}");
    assert_eq!(attributes(&site, GATEWAY_ID), gateway, "a dry run creates nothing");

    let token = site.path("token").display().to_string();
    let words = ["provision", "--token-file", &token, "--type", "hatch:boolean", "--yes"];
    let created = site.run(&words);
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let expected =
        [&gateway[..], &["brandNew:number".to_owned(), "hatch:boolean".to_owned()]].concat();
    assert_eq!(attributes(&site, GATEWAY_ID), expected);
    let expected = [&greenhouse[..], &["newToo:number".to_owned()]].concat();
    assert_eq!(attributes(&site, GREENHOUSE_ID), expected);

    let again = String::from_utf8(site.run(&words).stdout).unwrap();
    assert!(again.contains("gateway: all 2 attributes are in Losant"), "{again}");
    assert!(!again.contains("created"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn provision_needs_a_token_and_a_yes() {
    let (_cloud, site) = site().await;
    let token = site.path("token").display().to_string();
    assert_eq!(site.run(&["provision"]).status.code(), Some(64));
    assert_eq!(site.run(&["provision", "--token-file", &token]).status.code(), Some(64));
    write_private(&site.path("token"), "no-such-token");
    let refused = site.run(&["provision", "--token-file", &token, "--yes"]);
    assert_eq!(refused.status.code(), Some(77));
    assert!(!attributes(&site, GATEWAY_ID).contains(&"brandNew:number".to_owned()));
}
