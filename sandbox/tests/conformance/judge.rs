//! Runs the external validators: Python and JavaScript scripts with independent libraries.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

/// Returns the root directory of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn judge(file: &str) -> PathBuf {
    let path = root().join("target/judge").join(file);
    assert!(path.exists(), "{} is missing: run tests/prepare.sh", path.display());
    // Resolve only the directory: the interpreter of a virtual environment is a symbolic link that
    // must be called by its own path.
    path.parent().unwrap().canonicalize().unwrap().join(path.file_name().unwrap())
}

/// Returns the directory of Losant's schemas.
pub(crate) fn schemas() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

/// Returns the command of a script in `tests/conformance`: Python with Losant's client and
/// jsonschema, or JavaScript with Losant's client and ajv.
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

/// Runs a command with this input and returns its output; panics when it fails.
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
