//! `tidegate sensor probe`: detects the instrument on a serial line and prints its configuration.

use std::fmt::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::{absolute, listening_time, print_progress};
use crate::cli::{Unavailable, print};
use tidegate_bus::{PortError, open_line};
use tidegate_config::{FlowControl, Parity, Place, Port, StopBits};
use tidegate_discover::mqtt::quoted;
use tidegate_discover::serial::{BYTES_MAX, Candidate, Chunk, best_candidate, text_share};
use tidegate_model::excerpt::excerpt;
use tidegate_model::io_problem;

/// The settings that are tried, the likeliest first.
///
/// They cover terminals and most instruments, NMEA 0183 (4800 and 38400), Modbus (19200 8E1 by its
/// standard, then the defaults of meters) and smart meters (9600 7E1 for DSMR 2; 115200 later).
const SETTINGS: [(u32, u8, Parity); 14] = [
    (9_600, 8, Parity::None),
    (115_200, 8, Parity::None),
    (19_200, 8, Parity::None),
    (4_800, 8, Parity::None),
    (38_400, 8, Parity::None),
    (57_600, 8, Parity::None),
    (9_600, 7, Parity::Even),
    (19_200, 8, Parity::Even),
    (9_600, 8, Parity::Even),
    (2_400, 8, Parity::None),
    (2_400, 7, Parity::Even),
    (2_400, 8, Parity::Even),
    (1_200, 8, Parity::None),
    (230_400, 8, Parity::None),
];

/// The size of the read buffer, in bytes: that of the buffer of a tty.
const READ_BYTES: usize = 4_096;

/// The most chunks of one setting, which bounds the memory for bytes that arrive one by one.
const CHUNKS_MAX: usize = 16 * 1024;

/// How often the candidates are evaluated.
const EVALUATE_INTERVAL: Duration = Duration::from_millis(500);

/// The least score of a candidate whose configuration is printed.
const SCORE_MIN: f64 = 0.3;

/// The major number of memory devices such as /dev/null (the kernel's admin-guide/devices.txt).
const MEMORY_MAJOR: u32 = 1;

/// The name of bus and sensor.
const NAME: &str = "probed";

#[derive(Debug, Args)]
pub(in crate::cli) struct ProbeArgs {
    /// Serial line, such as /dev/ttyUSB0
    path: PathBuf,
    /// How long to listen at each setting; longer than the interval of the instrument
    ///
    /// Ctrl-C ends the probe earlier.
    #[arg(long = "for", value_name = "TIME", default_value = "4s", value_parser = listening_time)]
    time: Duration,
    /// Try only this speed
    #[arg(long, value_name = "BAUD")]
    baud_rate: Option<u32>,
}

/// The result of one setting.
struct Attempt {
    port: Port,
    bytes: usize,
    text_share: f64,
    first: Vec<u8>,
    candidate: Option<Candidate>,
    is_interrupted: bool,
}

/// Tries all settings, then prints the configuration of the best candidate.
pub(super) fn probe(args: &ProbeArgs) -> anyhow::Result<()> {
    let path = absolute(&args.path)?;
    if let Some(user) = find_user(&args.path) {
        let cure = "each process would receive only a part; stop it first";
        return Err(Unavailable(format!("{path} is in use by {user}; {cure}")).into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let attempts = runtime.context("cannot start the runtime")?.block_on(listen(args))?;
    let is_silent = attempts.iter().all(|attempt| attempt.bytes == 0);
    let best = attempts.iter().filter_map(|one| Some((&one.port, one.candidate.as_ref()?)));
    let best = best.reduce(|best, one| if one.1.score > best.1.score { one } else { best });
    match best.filter(|(_, candidate)| candidate.score >= SCORE_MIN) {
        Some((port, candidate)) if candidate.is_modbus && candidate.bus_keys.is_empty() => {
            let (notation, description) = (notation(port), &candidate.description);
            let evidence = candidate.evidence.join("; ");
            let advice = "write its [bus.modbus.…] by the data sheet";
            Err(Unavailable(format!("{notation}, {description}: {evidence}; {advice}")).into())
        }
        Some((port, candidate)) => {
            let page = page(&path, port, candidate)?;
            // The printed tables must be a valid configuration.
            tidegate_config::check_text(&page)?;
            print(&page)
        }
        None if is_silent => Err(Unavailable(format!(
            "no data arrived on {path}. Is the instrument on, is its transmitter wired to the \
             receiver of this computer, with a common ground? Does it send less often than every \
             {} s (--for)? Does it send only when polled (poll = [\"…\"] in the table of the bus)?",
            args.time.as_secs()
        ))
        .into()),
        None => Err(Unavailable(format!(
            "bytes arrived on {path}, but no known format fits at any setting. Is the speed \
             unusual (--baud-rate)? Is it RS-485 or RS-232 on a TTL adapter, or are its wires \
             swapped?"
        ))
        .into()),
    }
}

/// Returns the process that has the line open, if it is visible.
///
/// Root can open a line that another process has locked.
fn find_user(path: &Path) -> Option<String> {
    let line = std::fs::canonicalize(path).ok()?;
    let metadata = std::fs::metadata(&line).ok()?;
    if !metadata.file_type().is_char_device() || rustix::fs::major(metadata.rdev()) == MEMORY_MAJOR
    {
        // Not a line; opening it reports that.
        return None;
    }
    let own = std::process::id().to_string();
    std::fs::read_dir("/proc").ok()?.filter_map(Result::ok).find_map(|process| {
        let number = process.file_name().into_string().ok().filter(|name| *name != own)?;
        let files = std::fs::read_dir(process.path().join("fd")).ok()?;
        let is_line = |file: &Path| std::fs::read_link(file).is_ok_and(|target| target == line);
        files.filter_map(Result::ok).find(|file| is_line(&file.path()))?;
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        Some(format!("{} (process {number})", name.trim()))
    })
}

/// Tries the settings in turn until a candidate is good.
async fn listen(args: &ProbeArgs) -> anyhow::Result<Vec<Attempt>> {
    let wanted = |one: &&(u32, u8, Parity)| args.baud_rate.is_none_or(|baud| one.0 == baud);
    let mut settings: Vec<_> = SETTINGS.iter().filter(wanted).copied().collect();
    if settings.is_empty() {
        let odd = [(8, Parity::None), (8, Parity::Even), (7, Parity::Even)];
        settings
            .extend(odd.map(|(bits, parity)| (args.baud_rate.unwrap_or_default(), bits, parity)));
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut attempts = Vec::new();
    for (baud_rate, data_bits, parity) in settings {
        let port = Port {
            rs485: None,
            place: Place::Path(args.path.clone()),
            baud_rate,
            data_bits,
            parity,
            stop_bits: StopBits::One,
            flow_control: FlowControl::None,
        };
        let notation = notation(&port);
        match listen_at(port, args.time, &mut interrupt).await {
            Ok(one) => {
                print_progress(&format!("{}\n", one.summary()));
                let is_done =
                    one.is_interrupted || one.candidate.as_ref().is_some_and(Candidate::is_good);
                attempts.push(one);
                if is_done {
                    break;
                }
            }
            Err(error) if attempts.is_empty() => return Err(Unavailable(error.to_string()).into()),
            Err(error) => print_progress(&format!("{notation}: {error}\n")),
        }
    }
    Ok(attempts)
}

/// Why a setting cannot be tried.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Open(#[from] PortError),
    #[error("{}", io_problem(.0))]
    Read(#[from] std::io::Error),
    #[error("the line was unplugged")]
    Unplugged,
}

async fn listen_at(
    port: Port,
    time: Duration,
    interrupt: &mut Signal,
) -> Result<Attempt, AttemptError> {
    let mut stream = open_line(&port).await?;
    // Bytes that arrived at the previous setting.
    stream.discard_input()?;
    print_progress(&format!("{}: ", notation(&port)));
    let end = Instant::now() + time;
    let mut evaluate_at = Instant::now() + EVALUATE_INTERVAL;
    let (mut chunks, mut bytes) = (Vec::new(), 0);
    let mut buffer = [0; READ_BYTES];
    let is_interrupted = loop {
        // Cancel-safe: unread bytes stay in the tty.
        tokio::select! {
            read = stream.read(&mut buffer) => {
                let length = read?;
                if length == 0 {
                    return Err(AttemptError::Unplugged);
                }
                if bytes == 0 {
                    print_progress("receiving, ");
                }
                bytes += length;
                let received = buffer.get(..length).unwrap_or_default().to_vec();
                chunks.push(Chunk { at: Instant::now().into_std(), bytes: received });
            }
            () = tokio::time::sleep_until(evaluate_at) => {
                evaluate_at = Instant::now() + EVALUATE_INTERVAL;
                if best_candidate(&chunks).is_some_and(|candidate| candidate.is_certain()) {
                    break false;
                }
            }
            () = tokio::time::sleep_until(end) => break false,
            _ = interrupt.recv() => break true,
        }
        if bytes >= BYTES_MAX || chunks.len() >= CHUNKS_MAX {
            break false;
        }
    };
    let first = chunks.first().map(|chunk: &Chunk| chunk.bytes.clone()).unwrap_or_default();
    let (text_share, candidate) = (text_share(&chunks), best_candidate(&chunks));
    Ok(Attempt { port, bytes, text_share, first, candidate, is_interrupted })
}

impl Attempt {
    fn summary(&self) -> String {
        if self.bytes == 0 {
            return "no data".to_owned();
        }
        let percent = self.text_share * 100.0;
        let start = format!("{} bytes, {percent:.0} % text", self.bytes);
        match &self.candidate {
            Some(candidate) if candidate.score >= SCORE_MIN => {
                format!("{start}; {}, score {:.2}", candidate.description, candidate.score)
            }
            Some(_) | None => format!("{start}; unknown format, such as {}", excerpt(&self.first)),
        }
    }
}

/// Returns the usual notation, such as `9600 8N1`.
fn notation(port: &Port) -> String {
    let parity = match port.parity {
        Parity::None => 'N',
        Parity::Even => 'E',
        Parity::Odd => 'O',
    };
    format!("{} {}{parity}1", port.baud_rate, port.data_bits)
}

/// Returns the configuration with the evidence as comments.
fn page(path: &str, port: &Port, candidate: &Candidate) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    writeln!(
        page,
        "# {}, {}, score {:.2} of 1:",
        notation(port),
        candidate.description,
        candidate.score
    )?;
    for sentence in &candidate.evidence {
        writeln!(page, "# - {sentence}")?;
    }
    let kind = if candidate.is_modbus { "modbus" } else { "serial" };
    writeln!(page, "[bus.{kind}.{NAME}]\npath = {}", quoted(path))?;
    writeln!(page, "baud_rate = {}", port.baud_rate)?;
    if port.data_bits != 8 {
        writeln!(page, "data_bits = {}", port.data_bits)?;
    }
    if port.parity == Parity::Even {
        writeln!(page, "parity = \"even\"")?;
    }
    page.push_str(&candidate.bus_keys.replace("NAME", NAME));
    writeln!(page, "\n[sensor.{NAME}]\nbus = \"{NAME}\"")?;
    page.push_str(&candidate.sensor_keys);
    if candidate.is_modbus {
        writeln!(
            page,
            "map = [{{ channel = \"*\", attribute = \"{{{{ topic[0] }}}}_{{{{ channel }}}}\" }}]"
        )?;
    } else {
        writeln!(page, "map = [\n{}]", candidate.map())?;
    }
    Ok(page)
}
