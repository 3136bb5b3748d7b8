//! An estimate of the messages per second on small computers, from instructions and sync time.

use crate::document;
use crate::figures::text as figure;

/// The instructions per cycle of the ARM1176. This is an assumption: half of its limit, because it
/// issues one instruction in a cycle, and the daemon's data do not fit into its caches.
const ARM1176_IPC: f64 = 0.5;

/// The Dhrystone rating of the ARM1176, in DMIPS/MHz, as Arm stated it.
const ARM1176_RATING: f64 = 1.25;

/// The Dhrystone rating of the Cortex-A53, in DMIPS/MHz (systemonchips.com, "Cortex-A53 DMIPS/MHz:
/// Official Documentation and Unofficial Claims": Arm states none, others about 2.3).
const A53_RATING: f64 = 2.3;

/// The clock of both computers, in Hz.
const CLOCK: f64 = 1e9;

/// The numbers of messages in flight, mosquitto's default among them.
const INFLIGHT: [u16; 3] = [1, 20, 1_000];

/// A small computer.
struct Board {
    name: &'static str,
    instructions_per_cycle: f64,
}

fn boards() -> [Board; 2] {
    [
        Board { name: "Pi Zero (ARM1176, 1 GHz)", instructions_per_cycle: ARM1176_IPC },
        Board {
            name: "Pi Zero 2 (a Cortex-A53 of four, 1 GHz)",
            instructions_per_cycle: ARM1176_IPC * A53_RATING / ARM1176_RATING,
        },
    ]
}

/// Returns the messages per second that the processor allows.
fn by_processor(instructions_per_cycle: f64, instructions: f64, kernel_share: f64) -> f64 {
    CLOCK * instructions_per_cycle * (1.0 - kernel_share) / instructions.max(1.0)
}

/// Returns the messages per second that the card allows: one sync for all messages in flight.
fn by_card(inflight: u16, sync_ms: u32) -> f64 {
    f64::from(inflight) * 1e3 / f64::from(sync_ms.max(1))
}

/// Returns the estimate as text and table.
///
/// `instructions` are those of the daemon for a message in user mode. `kernel_share` is the part of
/// its processor time in the kernel, from 0 to 1.
pub(crate) fn text(instructions: f64, kernel_share: f64, sync_ms: u32) -> String {
    let mut head =
        ["computer", "instructions per cycle", "processor allows"].map(str::to_owned).to_vec();
    head.extend(INFLIGHT.map(|inflight| format!("with {inflight} in flight")));
    let rows: Vec<Vec<String>> = boards()
        .iter()
        .map(|board| {
            let ipc = board.instructions_per_cycle;
            let processor = by_processor(ipc, instructions, kernel_share);
            let mut row =
                vec![board.name.to_owned(), format!("{ipc:.1}"), figure(processor.round())];
            row.extend(INFLIGHT.map(|one| figure(processor.min(by_card(one, sync_ms)).round())));
            row
        })
        .collect();
    format!(
        "Messages per second, as an estimate: {} instructions for a message, {:.0} % of the \
         processor time in the kernel, {sync_ms} ms for a sync.\n\n{}",
        figure(instructions.round()),
        kernel_share * 100.0,
        document::table(&head, &rows),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slower_one_of_processor_and_card_counts() {
        assert!((by_processor(0.5, 50_000.0, 0.5) - 5_000.0).abs() < 1e-6);
        assert!((by_card(20, 20) - 1_000.0).abs() < 1e-6);
        let text = text(50_000.0, 0.5, 20);
        let row = "| Pi Zero (ARM1176, 1 GHz) | 0.5 | 5,000 | 50 | 1,000 | 5,000 |";
        assert!(text.contains(row), "{text}");
    }
}
