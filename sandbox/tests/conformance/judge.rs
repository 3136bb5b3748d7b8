//! The programs that judge.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// The project's folder.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn judge(file: &str) -> PathBuf {
    let path = root().join("target/judge").join(file);
    assert!(path.exists(), "{} is missing: run tests/prepare.sh", path.display());
    // Not the file itself: the interpreter of a virtual environment is a link to another one.
    path.parent().unwrap().canonicalize().unwrap().join(path.file_name().unwrap())
}

/// Losant's schemas.
pub(crate) fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// A script of `tests/conformance`, ready to run: Python with Losant's client and jsonschema, or
/// JavaScript with Losant's client and ajv.
pub(crate) fn script(name: &str) -> Command {
    let mut command = if Path::new(name).extension().is_some_and(|extension| extension == "py") {
        Command::new(judge("bin/python"))
    } else {
        let mut command = Command::new("node");
        command.current_dir(judge("node_modules").parent().unwrap());
        command
    };
    let script = root().join("tests/conformance").join(name);
    command.arg(script.canonicalize().unwrap()).env("TZ", "UTC");
    command
}

/// Runs it to its end, with this input; what it printed, if it was content.
pub(crate) fn run(mut command: Command, input: String) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => panic!("cannot run {command:?}: {error}; run tests/prepare.sh"),
    };
    let mut stdin = child.stdin.take().unwrap();
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}{err}");
    writer.join().unwrap().unwrap();
    out
}
