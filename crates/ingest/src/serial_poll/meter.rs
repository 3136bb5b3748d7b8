//! Reads a meter with an optical or electrical interface: the handshake of IEC 62056-21, modes A, B
//! and C.
//!
//! The reader asks with `/?!` at 300 baud, and the meter identifies itself with a line that names
//! its speed. In mode C the reader acknowledges, and both change the speed; in mode B the meter
//! changes it at once; in mode A it stays. Then the meter sends a data block from STX to ETX with a
//! checksum. The next round starts at 300 baud again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::frame::Loss;
use tidegate_timing::machine::Machine;

/// The speed of a request and an identification (IEC 62056-21, 6.1).
pub const INITIAL_BAUD_RATE: u32 = 300;

/// The speeds that a meter may name (6.3.14).
const MODE_C: [u32; 7] = [300, 600, 1_200, 2_400, 4_800, 9_600, 19_200];

/// The shortest time before the reader answers (6.4.3.1).
const REACTION: Duration = Duration::from_millis(200);

/// The bits of a character: a start bit, seven data bits, parity and a stop bit.
const CHARACTER_BITS: u32 = 10;

/// The longest identification: 3 letters, the speed and 16 characters, with `/` and escapes.
const IDENTITY_BYTES_MAX: usize = 64;

const STX: u8 = 0x02;
const ETX: u8 = 0x03;
const ACK: u8 = 0x06;

/// How a meter is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterPoll {
    /// The address of the meter; empty if it is alone on its line.
    pub address: String,
    /// From the start of one round to the start of the next.
    pub interval: Duration,
    /// The longest silence of the meter.
    pub timeout: Duration,
    /// The highest speed that the reader supports, in baud.
    pub baud_rate_max: u32,
    /// The longest data block in bytes.
    pub bytes_max: usize,
}

impl MeterPoll {
    /// Returns the request.
    pub fn request(&self) -> Bytes {
        format!("/?{}!\r\n", self.address).into()
    }
}

/// An instruction to the serial task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeterAction {
    /// Set the speed of the line, in baud.
    SetSpeed(u32),
    /// Send these bytes.
    Send(Bytes),
    /// Pass on a message: the identification and the data block, without STX, ETX and checksum.
    Message(Bytes),
    /// Count lost bytes.
    ReportLoss(Loss),
    /// Report that the meter has not answered, or not to the end.
    ReportTimeout,
}

/// Reads one meter in rounds.
#[derive(Debug)]
pub struct MeterReadout {
    poll: MeterPoll,
    round_start: Instant,
    step: Step,
    buffer: Vec<u8>,
    identity: Vec<u8>,
    /// Whether bytes arrived that belong to no answer.
    has_noise: bool,
    actions: VecDeque<MeterAction>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    RequestAt(Instant),
    AwaitIdentity(Instant),
    AcknowledgeAt(Instant, Speed),
    SwitchAt(Instant, Speed),
    AwaitData(Instant, Speed),
}

/// The speed of a data block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Speed {
    baud_rate: u32,
    /// The character that the acknowledgement contains, in mode C.
    character: Option<u8>,
}

impl Speed {
    /// Returns the speed that the fifth character of an identification names, and whether it is to
    /// be acknowledged.
    fn named(character: u8, baud_rate_max: u32) -> Self {
        let named = |first: u8| MODE_C.get(usize::from(character.wrapping_sub(first))).copied();
        let mode_b = || named(b'A').and_then(|_| MODE_C.get(usize::from(character - b'A') + 1));
        match (named(b'0'), mode_b()) {
            // A reader that does not support the speed stays at the first one (6.3.3).
            (Some(baud_rate), _) if baud_rate > baud_rate_max => {
                Self { baud_rate: INITIAL_BAUD_RATE, character: Some(b'0') }
            }
            (Some(baud_rate), _) => Self { baud_rate, character: Some(character) },
            (None, Some(baud_rate)) => Self { baud_rate: *baud_rate, character: None },
            (None, None) => Self { baud_rate: INITIAL_BAUD_RATE, character: None },
        }
    }
}

impl MeterReadout {
    /// Creates a readout; the first request is due at `now`.
    pub fn new(poll: MeterPoll, now: Instant) -> Self {
        Self {
            poll,
            round_start: now,
            step: Step::RequestAt(now),
            buffer: Vec::new(),
            identity: Vec::new(),
            has_noise: false,
            actions: VecDeque::new(),
        }
    }

    /// Processes bytes of the meter, which arrived at `now`.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        self.handle_timeout(now);
        for byte in bytes {
            // A line with eight data bits delivers the parity bit, too.
            self.handle_byte(byte & 0x7f, now);
        }
    }

    fn handle_byte(&mut self, byte: u8, now: Instant) {
        match self.step {
            Step::RequestAt(_) => self.has_noise = true,
            // The echo of an optical head.
            Step::AcknowledgeAt(..) | Step::SwitchAt(..) => {}
            Step::AwaitIdentity(_) => {
                self.step = Step::AwaitIdentity(now + self.poll.timeout);
                self.buffer.push(byte);
                if byte == b'\n' {
                    let line = std::mem::take(&mut self.buffer);
                    self.handle_identity(&line, now);
                } else if self.buffer.len() > IDENTITY_BYTES_MAX {
                    self.fail(Loss::TooLong, now);
                }
            }
            Step::AwaitData(_, speed) => {
                self.step = Step::AwaitData(now + self.poll.timeout, speed);
                self.buffer.push(byte);
                self.handle_data(speed, now);
            }
        }
    }

    /// Processes a line that may be the identification.
    fn handle_identity(&mut self, line: &[u8], now: Instant) {
        let start = line.iter().position(|byte| *byte == b'/').unwrap_or(line.len());
        let line = line.get(start..).unwrap_or_default().trim_ascii_end();
        // The echo of the request is no identification.
        let (Some(character), false) = (line.get(4), line.starts_with(b"/?")) else { return };
        let speed = Speed::named(*character, self.poll.baud_rate_max);
        self.identity = line.to_vec();
        self.step = match speed.character {
            Some(_) => Step::AcknowledgeAt(now + REACTION, speed),
            None => Step::SwitchAt(now, speed),
        };
        self.handle_timeout(now);
    }

    /// Checks whether the last byte completes the data block.
    fn handle_data(&mut self, speed: Speed, now: Instant) {
        let first = self.buffer.iter().position(|byte| *byte == STX);
        let block = first.and_then(|first| self.buffer.get(first + 1..));
        if let Some(block) = block {
            let Some(end) = block.iter().position(|byte| *byte == ETX) else {
                return self.check_length(now);
            };
            let Some(given) = block.get(end + 1) else { return };
            let covered = block.get(..=end).unwrap_or_default();
            if covered.iter().fold(0, |sum, byte| sum ^ byte) != *given {
                return self.fail(Loss::Checksum, now);
            }
            let data = block.get(..end).unwrap_or_default().to_vec();
            return self.finish(&data, now);
        }
        // In modes A and B there are meters that send no STX.
        let text = self.buffer.trim_ascii_start();
        let is_last_line = |text: &[u8]| {
            let line = text.rsplit(|byte| *byte == b'\n').nth(1);
            line.is_some_and(|line| line.starts_with(b"!"))
        };
        if speed.character.is_none() && text.ends_with(b"\n") && is_last_line(text) {
            let data = text.to_vec();
            return self.finish(&data, now);
        }
        self.check_length(now);
    }

    fn check_length(&mut self, now: Instant) {
        if self.buffer.len() > self.poll.bytes_max {
            self.fail(Loss::TooLong, now);
        }
    }

    fn finish(&mut self, data: &[u8], now: Instant) {
        let message = [&self.identity, &b"\r\n"[..], data].concat();
        self.actions.push_back(MeterAction::Message(message.into()));
        self.end_round(now);
    }

    fn fail(&mut self, loss: Loss, now: Instant) {
        self.actions.push_back(MeterAction::ReportLoss(loss));
        self.end_round(now);
    }

    fn end_round(&mut self, now: Instant) {
        self.buffer.clear();
        // Missed rounds are not made up. A meter needs a pause before the next request.
        let pause = self.poll.timeout;
        self.round_start = (self.round_start + self.poll.interval).max(now + pause);
        self.step = Step::RequestAt(self.round_start);
    }

    fn send_request(&mut self, now: Instant) {
        if std::mem::take(&mut self.has_noise) {
            self.actions.push_back(MeterAction::ReportLoss(Loss::Noise));
        }
        let request = self.poll.request();
        let sent_at = now + wire_time(request.len());
        self.actions.push_back(MeterAction::SetSpeed(INITIAL_BAUD_RATE));
        self.actions.push_back(MeterAction::Send(request));
        self.step = Step::AwaitIdentity(sent_at + self.poll.timeout);
    }

    fn acknowledge(&mut self, speed: Speed, now: Instant) {
        let Some(character) = speed.character else { return };
        let acknowledgement = [ACK, b'0', character, b'0', b'\r', b'\n'];
        let sent_at = now + wire_time(acknowledgement.len());
        self.actions.push_back(MeterAction::Send(Bytes::copy_from_slice(&acknowledgement)));
        // An earlier change of the speed would garble what is still being sent.
        self.step = Step::SwitchAt(sent_at, speed);
    }
}

impl Machine for MeterReadout {
    type Action = MeterAction;

    fn handle_timeout(&mut self, now: Instant) {
        if self.poll_timeout().is_none_or(|due| now < due) {
            return;
        }
        match self.step {
            Step::RequestAt(_) => self.send_request(now),
            Step::AcknowledgeAt(_, speed) => self.acknowledge(speed, now),
            Step::SwitchAt(_, speed) => {
                self.buffer.clear();
                self.actions.push_back(MeterAction::SetSpeed(speed.baud_rate));
                self.step = Step::AwaitData(now + self.poll.timeout, speed);
            }
            Step::AwaitIdentity(_) | Step::AwaitData(..) => {
                if !self.buffer.is_empty() {
                    self.actions.push_back(MeterAction::ReportLoss(Loss::Incomplete));
                }
                self.actions.push_back(MeterAction::ReportTimeout);
                self.end_round(now);
            }
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let (Step::RequestAt(due)
        | Step::AwaitIdentity(due)
        | Step::AcknowledgeAt(due, _)
        | Step::SwitchAt(due, _)
        | Step::AwaitData(due, _)) = self.step;
        Some(due)
    }

    fn poll_action(&mut self) -> Option<MeterAction> {
        self.actions.pop_front()
    }
}

/// Returns how long bytes take at the first speed.
fn wire_time(bytes: usize) -> Duration {
    let bits = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_mul(CHARACTER_BITS);
    Duration::from_millis((u64::from(bits) * 1_000).div_ceil(u64::from(INITIAL_BAUD_RATE)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Our own bytes, in the form of IEC 62056-21, 6.3; the checksum covers 3 to ETX.
    const BLOCK: &[u8] = b"\x021.8.0(000123.4*kWh)\r\n!\r\n\x03";

    struct Bench {
        start: Instant,
        readout: MeterReadout,
    }

    impl Bench {
        #[expect(clippy::disallowed_methods, reason = "the test needs any instant to start from")]
        fn new() -> Self {
            let start = Instant::now();
            let poll = MeterPoll {
                address: String::new(),
                interval: Duration::from_secs(60),
                timeout: Duration::from_secs(2),
                baud_rate_max: 9_600,
                bytes_max: 200,
            };
            Self { start, readout: MeterReadout::new(poll, start) }
        }

        fn actions(&mut self) -> Vec<MeterAction> {
            std::iter::from_fn(|| self.readout.poll_action()).collect()
        }

        fn at(&mut self, ms: u64) -> Vec<MeterAction> {
            self.readout.handle_timeout(self.start + Duration::from_millis(ms));
            self.actions()
        }

        fn bytes(&mut self, ms: u64, bytes: &[u8]) -> Vec<MeterAction> {
            self.readout.handle_bytes(bytes, self.start + Duration::from_millis(ms));
            self.actions()
        }
    }

    fn block() -> Vec<u8> {
        let checksum = BLOCK.iter().skip(1).fold(0, |sum, byte| sum ^ byte);
        [BLOCK, &[checksum]].concat()
    }

    fn request() -> Vec<MeterAction> {
        let send = MeterAction::Send(Bytes::from_static(b"/?!\r\n"));
        vec![MeterAction::SetSpeed(300), send]
    }

    fn message(identity: &str) -> MeterAction {
        let data = BLOCK[1..BLOCK.len() - 1].to_vec();
        MeterAction::Message([format!("{identity}\r\n").into_bytes(), data].concat().into())
    }

    #[test]
    fn mode_c_acknowledges_and_changes_the_speed() {
        let mut bench = Bench::new();
        assert_eq!(bench.at(0), request());
        assert_eq!(bench.bytes(100, b"/?!\r\n"), [], "the echo of the optical head");
        assert_eq!(bench.bytes(600, b"/ISk5MT174-0001\r\n"), []);
        let acknowledgement = MeterAction::Send(Bytes::from_static(b"\x06050\r\n"));
        assert_eq!(bench.at(800), [acknowledgement]);
        assert_eq!(bench.bytes(900, b"\x06050\r\n"), [], "its echo");
        assert_eq!(bench.at(999), []);
        assert_eq!(bench.at(1_000), [MeterAction::SetSpeed(9_600)]);
        let with_parity: Vec<u8> = block().iter().map(|byte| byte | 0x80).collect();
        assert_eq!(bench.bytes(1_300, &with_parity), [message("/ISk5MT174-0001")]);
        assert_eq!(bench.at(59_999), []);
        assert_eq!(bench.at(60_000), request());
    }

    #[test]
    fn modes_a_and_b_need_no_acknowledgement() {
        for (identity, baud_rate) in [("/ABB@V6.23", 300), ("/LGZEZMD", 9_600)] {
            let mut bench = Bench::new();
            bench.at(0);
            let line = format!("{identity}\r\n");
            let switched = bench.bytes(500, line.as_bytes());
            assert_eq!(switched, [MeterAction::SetSpeed(baud_rate)], "{identity}");
            assert_eq!(bench.bytes(900, &block()), [message(identity)]);
        }
        let mut bench = Bench::new();
        bench.at(0);
        bench.bytes(500, b"/ABB@V6.23\r\n");
        let data = &BLOCK[1..BLOCK.len() - 1];
        assert_eq!(bench.bytes(900, data), [message("/ABB@V6.23")], "without STX");
    }

    proptest! {
        #[test]
        fn actions_do_not_depend_on_chunks(
            bytes in prop::collection::vec(
                prop_oneof![any::<u8>(), prop::sample::select(&b"/?!AB@\r\n\x02\x03"[..])],
                0..600,
            ),
            chunk in 1..40_usize,
        ) {
            let (mut one, mut other) = (Bench::new(), Bench::new());
            let (mut actions, mut others) = (one.at(0), other.at(0));
            let start = *b"/ABB@V\r\n";
            let bytes = [&start[..], &bytes[..]].concat();
            actions.extend(one.bytes(100, &bytes));
            bytes.chunks(chunk).for_each(|bytes| others.extend(other.bytes(100, bytes)));
            prop_assert_eq!(actions, others);
            prop_assert!(one.readout.buffer.len() <= 202);
        }
    }

    #[test]
    fn unsupported_speed_is_declined() {
        let mut bench = Bench::new();
        bench.at(0);
        bench.bytes(500, b"/ISk6MT174\r\n");
        let acknowledgement = MeterAction::Send(Bytes::from_static(b"\x06000\r\n"));
        assert_eq!(bench.at(700), [acknowledgement]);
        assert_eq!(bench.at(900), [MeterAction::SetSpeed(300)]);
    }

    #[test]
    fn damage_and_silence_cost_one_round() {
        let mut bench = Bench::new();
        bench.at(0);
        bench.bytes(500, b"/ABB@V6.23\r\n");
        let mut damaged = block();
        damaged[5] ^= 1;
        assert_eq!(bench.bytes(900, &damaged), [MeterAction::ReportLoss(Loss::Checksum)]);
        bench.at(60_000);
        bench.bytes(60_500, b"/ABB@V6.23\r\n");
        bench.bytes(60_900, &block()[..9]);
        let cut = [MeterAction::ReportLoss(Loss::Incomplete), MeterAction::ReportTimeout];
        assert_eq!(bench.at(62_900), cut);
        assert_eq!(bench.at(120_000), request());
        assert_eq!(bench.at(123_000), [MeterAction::ReportTimeout], "no answer at all");
        assert_eq!(bench.at(180_000), request());
        bench.bytes(180_500, b"/ABB@V6.23\r\n");
        let endless = [MeterAction::ReportLoss(Loss::TooLong)];
        assert_eq!(bench.bytes(180_900, &[b'1'; 201]), endless);
    }
}
