//! The final report: whether every reading and every command is accounted for.

use std::collections::BTreeMap;
use std::fmt;

/// The readings of one bus, from the instrument to the cloud.
#[derive(Clone, Debug, Default)]
pub(crate) struct BusReport {
    /// The name in the report.
    pub(crate) label: String,
    /// Readings in complete lines, or in messages that the broker acknowledged.
    pub(crate) produced: u64,
    /// Lines that an unplugging truncated; they contain no complete reading.
    pub(crate) lines_truncated: u64,
    /// Readings that the daemon received.
    pub(crate) received: u64,
    /// Distinct values (device, time and attribute) in the cloud.
    pub(crate) stored: u64,
    /// Readings that the daemon or the cloud rejected, by reason.
    pub(crate) rejected: BTreeMap<String, u64>,
    /// Readings that the daemon dropped, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
}

impl BusReport {
    /// Returns whether the daemon received all produced readings. In addition, it may have received
    /// a truncated line and rejected it as one reading.
    fn is_received_completely(&self) -> bool {
        let surplus_max = self.lines_truncated.min(self.rejected.values().sum());
        (self.produced..=self.produced + surplus_max).contains(&self.received)
    }
}

/// The commands of one actuator.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActuatorReport {
    /// The name in the report.
    pub(crate) label: String,
    /// The commands sent to the actuator, in order.
    pub(crate) sent: Vec<String>,
    /// The commands that the actuator received, in order.
    pub(crate) received: Vec<String>,
}

/// The final counts of all readings and commands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    pub(crate) buses: Vec<BusReport>,
    /// Readings left in the outbox.
    pub(crate) outbox: u64,
    pub(crate) actuators: Vec<ActuatorReport>,
}

impl Report {
    /// Returns a sentence for each count that does not add up.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for bus in &self.buses {
            if !bus.is_received_completely() {
                problems.push(format!(
                    "{}: {} readings were produced, but the daemon received {}",
                    bus.label, bus.produced, bus.received
                ));
            }
        }
        let received = self.sum(|bus| bus.received);
        let (stored, dropped, rejected) = (self.stored(), self.dropped(), self.rejected());
        let accounted = stored + self.outbox + dropped + rejected;
        if received != accounted {
            problems.push(format!(
                "the daemon received {received} readings, but {accounted} are accounted for \
                 ({stored} stored, {} in the outbox, {dropped} dropped, {rejected} rejected)",
                self.outbox
            ));
        }
        for actuator in self.actuators.iter().filter(|actuator| actuator.sent != actuator.received)
        {
            problems.push(format!(
                "{}: the commands sent were {:?}, but it received {:?}",
                actuator.label, actuator.sent, actuator.received
            ));
        }
        problems
    }

    /// Returns the readings of all buses that are stored in the cloud.
    pub(crate) fn stored(&self) -> u64 {
        self.sum(|bus| bus.stored)
    }

    fn dropped(&self) -> u64 {
        self.sum(|bus| bus.dropped.values().sum())
    }

    fn rejected(&self) -> u64 {
        self.sum(|bus| bus.rejected.values().sum())
    }

    fn sum(&self, count: impl Fn(&BusReport) -> u64) -> u64 {
        self.buses.iter().map(count).sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "  {:<24}{:>10}{:>10}{:>10}", "readings", "produced", "received", "stored")?;
        for bus in &self.buses {
            let BusReport { label, produced, received, stored, .. } = bus;
            writeln!(out, "  {label:<24}{produced:>10}{received:>10}{stored:>10}")?;
        }
        writeln!(out, "  {:<24}{:>30}", "left in the outbox", self.outbox)?;
        self.write_losses(out, "dropped", |bus| &bus.dropped)?;
        self.write_losses(out, "rejected", |bus| &bus.rejected)?;
        let lines_truncated = self.sum(|bus| bus.lines_truncated);
        if lines_truncated > 0 {
            let label = "truncated lines";
            writeln!(out, "  {label:<24}{lines_truncated:>10}  unplugged; not a reading")?;
        }
        writeln!(out)?;
        writeln!(out, "  {:<24}{:>10}{:>10}", "commands", "sent", "received")?;
        for ActuatorReport { label, sent, received } in &self.actuators {
            writeln!(out, "  {label:<24}{:>10}{:>10}", sent.len(), received.len())?;
        }
        Ok(())
    }
}

impl Report {
    fn write_losses(
        &self,
        out: &mut fmt::Formatter<'_>,
        word: &str,
        of: impl Fn(&BusReport) -> &BTreeMap<String, u64>,
    ) -> fmt::Result {
        let total: u64 = self.sum(|bus| of(bus).values().sum());
        writeln!(out, "  {word:<24}{total:>30}")?;
        for bus in &self.buses {
            for (reason, count) in of(bus) {
                writeln!(out, "    {:<22}{count:>30}  {reason}", bus.label)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complete_run_has_no_problems() {
        assert_eq!(complete_report().problems(), Vec::<String>::new());
    }

    #[test]
    fn counts_dropped_and_rejected_readings() {
        let mut report = complete_report();
        report.buses[0].stored -= 3;
        report.buses[0].dropped.insert("outbox full".to_owned(), 2);
        report.buses[0].rejected.insert("schema".to_owned(), 1);
        assert_eq!(report.problems(), Vec::<String>::new());
        assert!(report.to_string().contains("outbox full"));
    }

    #[test]
    fn reports_readings_that_the_daemon_missed() {
        let mut report = complete_report();
        report.buses[0].produced += 1;
        assert_eq!(report.problems().len(), 1);
        assert!(report.problems()[0].starts_with("serial"), "{:?}", report.problems());
    }

    #[test]
    fn truncated_line_may_be_rejected_but_not_stored() {
        let mut report = complete_report();
        report.buses[0].received += 1;
        report.buses[0].stored += 1;
        assert!(report.problems()[0].starts_with("serial"), "{:?}", report.problems());
        report.buses[0].stored -= 1;
        report.buses[0].rejected.insert("malformed".to_owned(), 1);
        assert_eq!(report.problems(), Vec::<String>::new());
    }

    #[test]
    fn reports_readings_that_vanished_after_receipt() {
        let mut report = complete_report();
        report.buses[0].stored -= 1;
        assert!(report.problems()[0].contains("accounted"), "{:?}", report.problems());
    }

    #[test]
    fn reports_a_command_executed_twice() {
        let mut report = complete_report();
        report.actuators[0].received.push("FAN 80".to_owned());
        assert!(report.problems()[0].starts_with("fan"), "{:?}", report.problems());
    }

    fn complete_report() -> Report {
        let bus = BusReport {
            label: "serial".to_owned(),
            produced: 100,
            lines_truncated: 1,
            received: 100,
            stored: 96,
            ..BusReport::default()
        };
        let fan = vec!["FAN 80".to_owned()];
        let actuator = ActuatorReport { label: "fan".to_owned(), sent: fan.clone(), received: fan };
        Report { buses: vec![bus], outbox: 4, actuators: vec![actuator] }
    }
}
