//! A site on which a user runs `tidegate device` in a shell.

use std::process::{Command, Output};

use serde_json::Value;
use tidegate_sandbox::{GATEWAY_ID, Sandbox, StoredState};

use super::declared::cloud_builder;
use super::instruments::probe_tables;
use super::site::{PROGRAM, Site, write_private};
use super::utf8;

/// A site with a configuration and a file with an application token.
pub(crate) struct Shell {
    pub(crate) cloud: Sandbox,
    pub(crate) site: Site,
}

/// The exit code and the output of a program.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl End {
    pub(crate) fn of(output: &Output) -> Self {
        let code = output.status.code().unwrap();
        Self { code, stdout: utf8(&output.stdout), stderr: utf8(&output.stderr) }
    }

    /// Returns all output: standard output, then standard error.
    pub(crate) fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Returns the lines of JSON that a successful program printed.
    pub(crate) fn lines(&self) -> Vec<Value> {
        assert_eq!((self.code, &*self.stderr), (0, ""), "{self:?}");
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Returns the only line of JSON that a successful program printed.
    pub(crate) fn line(&self) -> Value {
        let [line] = &self.lines()[..] else { panic!("not one line: {self:?}") };
        line.clone()
    }

    /// Asserts the exit code, and that the only output is a message that contains `words`.
    pub(crate) fn assert_refusal(&self, code: i32, words: &str) {
        assert_eq!((self.code, &*self.stdout), (code, ""), "{self:?}");
        assert!(self.stderr.contains(words), "{words}\nin {self:?}");
    }
}

impl Shell {
    pub(crate) async fn new() -> Self {
        let cloud = cloud_builder().start().await.unwrap();
        let site = Site::new(&cloud, &probe_tables(&["t"]));
        write_private(&site.path("token"), cloud.api_token());
        let application = format!("[losant]\napplication_id = \"{}\"", cloud.application_id());
        site.replace_in_config("[losant]", &application);
        Self { cloud, site }
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("device").args(words).arg("--config").arg(self.site.config());
        command
    }

    /// Runs an action with the device's access key.
    pub(crate) fn device(&self, words: &[&str]) -> End {
        End::of(&self.command(words).output().unwrap())
    }

    /// Returns the command of an action with the application's token.
    pub(crate) fn application_command(&self, words: &[&str]) -> Command {
        let mut command = self.command(words);
        command.arg("--token-file").arg(self.site.path("token"));
        command
    }

    /// Runs an action with the application's token.
    pub(crate) fn application(&self, words: &[&str]) -> End {
        End::of(&self.application_command(words).output().unwrap())
    }

    pub(crate) fn states(&self) -> Vec<StoredState> {
        self.cloud.states(GATEWAY_ID)
    }
}
