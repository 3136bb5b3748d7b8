//! Reads a meter with the handshake of IEC 62056-21.

use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::tty::Tty;
use super::{Driver, READ_BYTES, now};
use crate::WriteError;
use tidegate_ingest::serial_poll::{MeterAction, MeterPoll, MeterReadout};
use tidegate_runtime::wait::sleep_until;
use tidegate_timing::machine::Machine as _;

impl Driver {
    /// Reads the meter until the bus is stopped (`Ok`) or the line is lost.
    pub(super) async fn read_meter(&mut self, mut tty: Tty, poll: MeterPoll) -> io::Result<()> {
        let mut readout = MeterReadout::new(poll, now());
        let mut buffer = [0; READ_BYTES];
        let mut is_silent = false;
        loop {
            let due = readout.poll_timeout().map(Instant::from_std);
            tokio::select! {
                () = self.context.stopped() => return Ok(()),
                // A meter that is read accepts no other bytes.
                Some(request) = self.writes.recv() => request.finish(Err(WriteError::WrongKind)),
                () = sleep_until(due) => readout.handle_timeout(now()),
                read = tty.read(&mut buffer) => match read? {
                    0 => return Err(io::Error::other("the line was unplugged")),
                    length => {
                        readout.handle_bytes(buffer.get(..length).unwrap_or_default(), now());
                    }
                },
            }
            while let Some(action) = readout.poll_action() {
                self.perform(action, &mut tty, &mut is_silent).await?;
            }
        }
    }

    async fn perform(
        &self,
        action: MeterAction,
        tty: &mut Tty,
        is_silent: &mut bool,
    ) -> io::Result<()> {
        let bus = &self.context.bus;
        match action {
            MeterAction::SetSpeed(baud_rate) => {
                debug!(%bus, baud_rate, "speed of the line changed");
                tty.set_speed(baud_rate)?;
            }
            MeterAction::Send(bytes) => tty.send(&bytes).await?,
            MeterAction::Message(message) => {
                if std::mem::take(is_silent) {
                    info!(%bus, "the meter answers again");
                }
                self.context.offer("", message);
            }
            MeterAction::ReportLoss(loss) => self.context.count_loss(loss),
            MeterAction::ReportTimeout => {
                if !std::mem::replace(is_silent, true) {
                    warn!(%bus, "the meter does not answer; see poll_timeout and poll_address");
                }
            }
        }
        Ok(())
    }
}
