//! No secret and no token appears in a log at any level, another output, an argument or a core
//! dump.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tidegate_sandbox::{GATEWAY_ID, Sandbox};

use crate::http;
use crate::support::{
    End, PROGRAM, Shell, Site, TlsCloud, cloud, probe_tables, skip, test_name, wait_until,
};

const KEY: &str = "key = \"gateway-key\"\nsecret = \"hunter2\"\n";

fn log_all(site: &Site) {
    site.replace_in_config("info,tidegate=debug", "trace");
}

fn assert_secrecy(output: &str, secrets: &[&str]) {
    for secret in secrets {
        assert!(!output.contains(secret), "{secret} in\n{output}");
    }
}

/// The libraries that make the calls log, too.
#[tokio::test(flavor = "multi_thread")]
async fn trace_log_shows_neither_secret_nor_token() {
    for (offered, trace) in [("h2", "frame=Headers"), ("http/1.1", "http1 handshake complete")] {
        let mut cloud = TlsCloud::start(&[offered]).await;
        let site = http::site(&cloud);
        site.write_credentials(KEY);
        log_all(&site);
        let daemon = site.start();
        // The calls for a token and for the connection status.
        for _ in 0..2 {
            cloud.version().await;
        }
        daemon.wait_for_log(trace);
        let arguments = std::fs::read(format!("/proc/{}/cmdline", daemon.id())).unwrap();
        let arguments = String::from_utf8(arguments).unwrap();
        assert_secrecy(&(daemon.log() + &arguments), &["hunter2", TlsCloud::TOKEN]);

        let end = End::of(&site.run(&["device", "get", "--dry-run"]));
        assert_secrecy(&format!("{end:?}"), &["hunter2", TlsCloud::TOKEN]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusal_shows_neither_secret_nor_token() {
    let cloud = cloud().await;
    let application = format!("[losant]\napplication_id = \"{}\"", cloud.application_id());
    for credentials in [KEY, "token = \"hunter2\"\n"] {
        let site = Site::new(&cloud, &probe_tables(&["t"]));
        site.write_credentials(credentials);
        site.replace_in_config("[losant]", &application);
        log_all(&site);
        let daemon = site.start();
        daemon.wait_for_log("401");
        assert_secrecy(&daemon.log(), &["hunter2"]);
        let end = End::of(&site.run(&["device", "get"]));
        assert_eq!(end.code, 77, "{end:?}");
        assert_secrecy(&format!("{end:?}"), &["hunter2"]);
    }
}

/// Returns whether this user may allow core dumps, or skips `test`.
fn may_dump_core(test: &str) -> bool {
    let mut shell = Command::new("sh");
    let allow = shell.args(["-c", "ulimit -c unlimited"]).stderr(Stdio::null());
    let is_allowed = allow.status().unwrap().success();
    if !is_allowed {
        skip(test, "this user may not allow core dumps");
    }
    is_allowed
}

/// Starts a program in the site's directory, with core dumps allowed.
fn start_dumpable(site: &Site, program: &str, words: &[&str]) -> Child {
    Command::new("sh")
        .args(["-c", "ulimit -c unlimited && exec \"$0\" \"$@\"", program])
        .args(words)
        .current_dir(site.path("."))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn leaves_a_core_dump(child: &mut Child) -> bool {
    kill_process(Pid::from_child(child), Signal::ABORT).unwrap();
    child.wait().unwrap().core_dumped()
}

/// Returns whether root owns the files of a process: so the kernel protects an undumpable process.
fn is_of_root(child: &Child) -> bool {
    std::fs::metadata(format!("/proc/{}/environ", child.id())).unwrap().uid() == 0
}

async fn assert_no_core_dump(words: &[&str], is_under_way: impl Fn(&Sandbox) -> bool) {
    let shell = Shell::new().await;
    let config = shell.site.config();
    let words = [words, &["--config", config.to_str().unwrap()]].concat();
    let mut child = start_dumpable(&shell.site, PROGRAM, &words);
    wait_until("the program has a token", || is_under_way(&shell.cloud));
    assert!(is_of_root(&child), "the memory of the process is open to its user");
    assert!(!leaves_a_core_dump(&mut child), "a crash writes the token to the disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_leaves_no_core_dump() {
    if !may_dump_core(test_name!()) {
        return;
    }
    let calls = |cloud: &Sandbox, name| cloud.counters().calls.contains_key(name);
    assert_no_core_dump(&["run"], |cloud| calls(cloud, "setConnectionStatus")).await;
    let stream = ["device", "command-stream"];
    assert_no_core_dump(&stream, |cloud| cloud.streams_open(GATEWAY_ID) == 1).await;
}

/// Shows that [`crash_leaves_no_core_dump`] can fail. For an ordinary user the owner of the files
/// is enough.
#[tokio::test]
async fn other_programs_leave_a_core_dump() {
    if !may_dump_core(test_name!()) {
        return;
    }
    let site = Site::at("http://127.0.0.1:1", "");
    let mut child = start_dumpable(&site, "sleep", &["600"]);
    wait_until("the program runs", || {
        std::fs::read_to_string(format!("/proc/{}/comm", child.id())).unwrap() == "sleep\n"
    });
    let is_shown_by_owner = !geteuid().is_root() && !is_of_root(&child);
    assert!(leaves_a_core_dump(&mut child) || is_shown_by_owner);
}
