//! The programs that do the same work: MQTT to a durable queue to HTTP.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use clap::ValueEnum;

use crate::generator::DEVICES;
use crate::process::Program;

/// The settings that the programs share.
pub(crate) struct Site {
    /// The directory of the program under measurement.
    pub(crate) directory: PathBuf,
    /// The port of the broker.
    pub(crate) broker: u16,
    /// The port of the sink.
    pub(crate) sink: u16,
    /// The longest back-off of tidegate, such as `2 s`. The other programs retry each second.
    pub(crate) retry_max: &'static str,
}

/// Where the programs are.
#[derive(Clone)]
pub(crate) struct Tools {
    /// The release build of tidegate.
    pub(crate) tidegate: PathBuf,
    /// The directory that `prepare.sh` fills.
    pub(crate) installed: PathBuf,
}

/// A program under measurement.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Peer {
    /// The daemon of this project.
    Tidegate,
    /// A short program in Python with the same guarantee.
    Script,
    /// Debian's syslog-ng, which reads from `mosquitto_sub`.
    SyslogNg,
    /// Node-RED with a queue in a file.
    NodeRed,
}

impl Peer {
    /// The heading of its column.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tidegate => "tidegate",
            Self::Script => "Python script",
            Self::SyslogNg => "syslog-ng (no sync)",
            Self::NodeRed => "Node-RED (acknowledges first)",
        }
    }

    /// Returns whether it is installed.
    pub(crate) fn is_installed(self, tools: &Tools) -> bool {
        match self {
            Self::Tidegate => tools.tidegate.exists(),
            Self::Script => python(tools).exists(),
            Self::SyslogNg => output(Command::new("syslog-ng").arg("--version")).is_some(),
            Self::NodeRed => node_red(tools).exists(),
        }
    }

    /// Returns its version, with those of the programs that it needs.
    pub(crate) fn version(self, tools: &Tools) -> String {
        let version = match self {
            Self::Tidegate => output(Command::new(&tools.tidegate).arg("--version")),
            Self::Script => {
                let code = "import sys, importlib.metadata as m; print('Python', \
                            sys.version.split()[0] + ', paho-mqtt', m.version('paho-mqtt'))";
                output(Command::new(python(tools)).args(["-c", code]))
            }
            Self::SyslogNg => {
                syslog_ng_line("Installer-Version: ").map(|version| format!("syslog-ng {version}"))
            }
            Self::NodeRed => {
                let code = "console.log('Node-RED', require(process.argv[1]).version + ', Node.js',\
                            process.versions.node)";
                let package = tools.installed.join("node_modules/node-red/package.json");
                output(Command::new("node").args(["-e", code]).arg(absolute(&package)))
            }
        };
        version.unwrap_or_else(|| format!("{}: unknown version", self.name()))
    }

    /// Returns the bytes of the program and of the packages that it adds to a system with Python or
    /// Node.js.
    pub(crate) fn size(self, tools: &Tools) -> anyhow::Result<u64> {
        match self {
            Self::Tidegate => Ok(fs::metadata(&tools.tidegate)?.len()),
            Self::Script => disk_use(&tools.installed.join("python/lib"), &["pip", "setuptools"]),
            Self::SyslogNg => {
                let mut query = Command::new("dpkg-query");
                query.args(["--show", "--showformat", "${Installed-Size}\n"]);
                query.args(["syslog-ng-core", "syslog-ng-mod-http", "mosquitto-clients"]);
                let sizes = output(&mut query).context("dpkg-query does not know syslog-ng")?;
                Ok(sizes.lines().flat_map(str::parse::<u64>).sum::<u64>() * 1024)
            }
            Self::NodeRed => disk_use(&tools.installed.join("node_modules"), &[]),
        }
    }

    /// Writes its configuration, and starts it.
    ///
    /// # Errors
    ///
    /// A file cannot be written, or the program cannot be executed.
    pub(crate) fn start(self, tools: &Tools, site: &Site) -> anyhow::Result<Program> {
        fs::create_dir_all(&site.directory)?;
        let mut command = self.command(tools, site)?;
        Program::start(&mut command, &site.directory.join("log"))
    }

    /// Writes its configuration. Returns the command that starts it.
    pub(crate) fn command(self, tools: &Tools, site: &Site) -> anyhow::Result<Command> {
        let directory = &site.directory;
        Ok(match self {
            Self::Tidegate => {
                let mut command = Command::new(absolute(&tools.tidegate));
                command.args(["run", "--config"]).arg(tidegate_config(site)?);
                command
            }
            Self::Script => {
                let script = site.write("gateway.py", include_str!("../peers/gateway.py"))?;
                let mut command = Command::new(python(tools));
                let (broker, sink) = (site.broker.to_string(), site.sink.to_string());
                command.arg(script).args([broker, sink]).arg(directory.join("outbox.db"));
                command
            }
            Self::SyslogNg => {
                let version =
                    syslog_ng_line("Config version: ").context("syslog-ng states no version")?;
                let text = include_str!("../peers/syslog-ng.conf").replace("@VERSION@", &version);
                let mut command = Command::new("syslog-ng");
                command.args(["--foreground", "--no-caps", "--cfgfile"]);
                command.arg(site.write("syslog-ng.conf", &text)?);
                for (option, file) in
                    [("--persist-file", "persist"), ("--pidfile", "pid"), ("--control", "ctl")]
                {
                    command.arg(option).arg(directory.join(file));
                }
                command
            }
            Self::NodeRed => {
                let queue = site.fill(include_str!("../peers/node-red-queue.js"));
                let flow = include_str!("../peers/node-red-flow.json")
                    .replace("@QUEUE@", &serde_json::to_string(&queue)?);
                site.write("flows.json", &flow)?;
                let settings =
                    site.write("settings.js", include_str!("../peers/node-red-settings.js"))?;
                let mut command = Command::new("node");
                command.arg(node_red(tools)).arg("--userDir").arg(directory);
                command.arg("--settings").arg(settings);
                command.env("NODE_RED_PORT", crate::world::free_port()?.to_string());
                command
            }
        })
    }
}

impl Site {
    /// Replaces the places in a configuration.
    fn fill(&self, text: &str) -> String {
        text.replace("@BROKER@", &self.broker.to_string())
            .replace("@SINK@", &self.sink.to_string())
            .replace("@DIRECTORY@", &self.directory.to_string_lossy())
            .replace("@RETRY@", self.retry_max)
    }

    /// Writes a file with its places replaced. Returns its path.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(name);
        fs::write(&path, self.fill(text)).with_context(|| format!("cannot write {name}"))?;
        Ok(path)
    }
}

fn tidegate_config(site: &Site) -> anyhow::Result<PathBuf> {
    let credentials = "key = \"bench\"\nsecret = \"bench\"\n";
    let path = site.write("credentials.toml", credentials)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    let mut text = include_str!("../peers/tidegate.toml").to_owned();
    for device in 0..DEVICES {
        write!(text, "\n[device.s{device:02}]\nid = \"575ecf887ae143cd83dc4b{device:02x}\"\n")?;
    }
    text.push_str("\n[sensor.all.devices]\n");
    for device in 0..DEVICES {
        writeln!(text, "\"s-{device:02}\" = \"s{device:02}\"")?;
    }
    site.write("tidegate.toml", &text)
}

fn python(tools: &Tools) -> PathBuf {
    absolute(&tools.installed.join("python/bin/python"))
}

fn node_red(tools: &Tools) -> PathBuf {
    absolute(&tools.installed.join("node_modules/node-red/red.js"))
}

/// Returns the rest of a line of what syslog-ng says about its version.
fn syslog_ng_line(start: &str) -> Option<String> {
    let text = output(Command::new("syslog-ng").arg("--version"))?;
    text.lines().find_map(|line| line.strip_prefix(start)).map(|rest| rest.trim().to_owned())
}

/// Returns the output of a command that succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns an absolute path without resolving links: a virtual environment depends on its link.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Returns the bytes on the disk below a directory, without entries whose names begin with `left`.
fn disk_use(directory: &Path, left: &[&str]) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if left.iter().any(|left| name.starts_with(left)) {
            continue;
        }
        let metadata = entry.metadata()?;
        let is_directory = metadata.is_dir();
        bytes +=
            if is_directory { disk_use(&entry.path(), left)? } else { 512 * metadata.blocks() };
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_of_tidegate_is_valid() {
        let directory = tempfile::tempdir().unwrap();
        let site = Site {
            directory: directory.path().to_owned(),
            broker: 1883,
            sink: 8080,
            retry_max: "2 s",
        };
        let file = tidegate_config(&site).unwrap();
        tidegate_config::load(&file).unwrap();
    }
}
