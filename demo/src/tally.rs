//! The demo's last word: whether every reading and every command is accounted for.

use std::collections::BTreeMap;
use std::fmt;

/// The readings of one bus, from the instrument to the cloud.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bus {
    /// What the reader knows it by.
    pub(crate) label: String,
    /// Put on the wire whole, or acknowledged by the broker.
    pub(crate) produced: u64,
    /// Lines that an unplugging cut; they hold no whole reading.
    pub(crate) lines_cut: u64,
    /// Counted by the daemon as they came in.
    pub(crate) received: u64,
    /// Distinct device, time and attribute in the cloud.
    pub(crate) stored: u64,
    /// Refused by the cloud, by reason.
    pub(crate) rejected: BTreeMap<String, u64>,
    /// Given up by the daemon, by reason.
    pub(crate) dropped: BTreeMap<String, u64>,
}

impl Bus {
    /// Whether the daemon received what was produced. It may also have seen a line that was cut,
    /// and rejected it as one reading.
    fn is_received_whole(&self) -> bool {
        let surplus_max = self.lines_cut.min(self.rejected.values().sum());
        (self.produced..=self.produced + surplus_max).contains(&self.received)
    }
}

/// The orders of one actuator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    /// What the reader knows it by.
    pub(crate) label: String,
    /// What should have reached it, in order.
    pub(crate) expected: Vec<String>,
    /// What reached it, in order.
    pub(crate) seen: Vec<String>,
}

/// Everything that is counted at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// One entry a bus.
    pub(crate) buses: Vec<Bus>,
    /// Readings left in the outbox.
    pub(crate) outbox: u64,
    /// One entry an actuator.
    pub(crate) orders: Vec<Orders>,
}

impl Tally {
    /// What does not add up, as sentences; empty when everything does.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for bus in &self.buses {
            if !bus.is_received_whole() {
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
        for orders in self.orders.iter().filter(|orders| orders.expected != orders.seen) {
            problems.push(format!(
                "{}: the orders sent were {:?}, but it saw {:?}",
                orders.label, orders.expected, orders.seen
            ));
        }
        problems
    }

    /// The readings of all buses that are stored in the cloud.
    pub(crate) fn stored(&self) -> u64 {
        self.sum(|bus| bus.stored)
    }

    fn dropped(&self) -> u64 {
        self.sum(|bus| bus.dropped.values().sum())
    }

    fn rejected(&self) -> u64 {
        self.sum(|bus| bus.rejected.values().sum())
    }

    fn sum(&self, count: impl Fn(&Bus) -> u64) -> u64 {
        self.buses.iter().map(count).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "  {:<24}{:>10}{:>10}{:>10}", "readings", "produced", "received", "stored")?;
        for bus in &self.buses {
            let Bus { label, produced, received, stored, .. } = bus;
            writeln!(out, "  {label:<24}{produced:>10}{received:>10}{stored:>10}")?;
        }
        writeln!(out, "  {:<24}{:>30}", "left in the outbox", self.outbox)?;
        self.losses(out, "dropped", |bus| &bus.dropped)?;
        self.losses(out, "rejected", |bus| &bus.rejected)?;
        let lines_cut = self.sum(|bus| bus.lines_cut);
        if lines_cut > 0 {
            let label = "cut by the unplugging";
            writeln!(out, "  {label:<24}{lines_cut:>10}  half line, not a reading")?;
        }
        writeln!(out)?;
        writeln!(out, "  {:<24}{:>10}{:>10}", "commands", "sent", "executed")?;
        for Orders { label, expected, seen } in &self.orders {
            writeln!(out, "  {label:<24}{:>10}{:>10}", expected.len(), seen.len())?;
        }
        Ok(())
    }
}

impl Tally {
    fn losses(
        &self,
        out: &mut fmt::Formatter<'_>,
        word: &str,
        of: impl Fn(&Bus) -> &BTreeMap<String, u64>,
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
        assert_eq!(tally().problems(), Vec::<String>::new());
    }

    #[test]
    fn counts_dropped_and_rejected_readings() {
        let mut tally = tally();
        tally.buses[0].stored -= 3;
        tally.buses[0].dropped.insert("outbox full".to_owned(), 2);
        tally.buses[0].rejected.insert("schema".to_owned(), 1);
        assert_eq!(tally.problems(), Vec::<String>::new());
        assert!(tally.to_string().contains("outbox full"));
    }

    #[test]
    fn reports_readings_that_the_daemon_missed() {
        let mut tally = tally();
        tally.buses[0].produced += 1;
        assert_eq!(tally.problems().len(), 1);
        assert!(tally.problems()[0].starts_with("serial"), "{:?}", tally.problems());
    }

    #[test]
    fn truncated_line_may_be_rejected_but_not_stored() {
        let mut tally = tally();
        tally.buses[0].received += 1;
        tally.buses[0].stored += 1;
        assert!(tally.problems()[0].starts_with("serial"), "{:?}", tally.problems());
        tally.buses[0].stored -= 1;
        tally.buses[0].rejected.insert("malformed".to_owned(), 1);
        assert_eq!(tally.problems(), Vec::<String>::new());
    }

    #[test]
    fn reports_readings_that_vanished_after_receipt() {
        let mut tally = tally();
        tally.buses[0].stored -= 1;
        assert!(tally.problems()[0].contains("accounted"), "{:?}", tally.problems());
    }

    #[test]
    fn reports_a_command_executed_twice() {
        let mut tally = tally();
        tally.orders[0].seen.push("FAN 80".to_owned());
        assert!(tally.problems()[0].starts_with("fan"), "{:?}", tally.problems());
    }

    fn tally() -> Tally {
        let bus = Bus {
            label: "serial".to_owned(),
            produced: 100,
            lines_cut: 1,
            received: 100,
            stored: 96,
            ..Bus::default()
        };
        let fan = vec!["FAN 80".to_owned()];
        let orders = Orders { label: "fan".to_owned(), expected: fan.clone(), seen: fan };
        Tally { buses: vec![bus], outbox: 4, orders: vec![orders] }
    }
}
