//! The ledger as sums that a person can check.

use super::layout::{GLUE, Page, Style};
use super::node::{Node, grouped};

/// The indent of the sums, as wide as the labels of the other lines.
const INDENT: &str = "          ";

/// The counts of a bus, or their total.
#[derive(Debug, Default)]
struct Sums {
    received: u64,
    generated: u64,
    stored: u64,
    filtered: u64,
    skipped: u64,
    rejected: u64,
    dropped: u64,
}

impl Sums {
    fn of(account: Node<'_>) -> Self {
        Self {
            received: account.count("/received"),
            generated: account.count("/generated"),
            stored: account.count("/stored"),
            filtered: account.sum("/filtered"),
            skipped: account.sum("/skipped"),
            rejected: account.sum("/rejected"),
            dropped: account.sum("/dropped"),
        }
    }

    fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.generated += other.generated;
        self.stored += other.stored;
        self.filtered += other.filtered;
        self.skipped += other.skipped;
        self.rejected += other.rejected;
        self.dropped += other.dropped;
    }

    /// Returns the readings that are neither stored nor given up.
    fn waiting(&self) -> u64 {
        let Self { stored, filtered, skipped, rejected, dropped, .. } = self;
        let ended = stored + filtered + skipped + rejected + dropped;
        (self.received + self.generated).saturating_sub(ended)
    }

    /// Writes the sum. Each term stays on one line.
    fn text(&self) -> String {
        let terms = [
            ("", self.received, "received"),
            ("+", self.generated, "generated"),
            ("=", self.stored, "stored"),
            ("+", self.waiting(), "waiting"),
            ("+", self.filtered, "filtered"),
            ("+", self.skipped, "skipped"),
            ("+", self.rejected, "rejected"),
            ("+", self.dropped, "dropped"),
        ];
        let term = |(sign, number, word): (&str, u64, &str)| {
            let sign = if sign.is_empty() { String::new() } else { format!("{sign}{GLUE}") };
            format!("{sign}{}{GLUE}{word}", grouped(number))
        };
        terms.map(term).join(" ")
    }
}

/// Shows the sums of each bus and their total.
pub(super) fn ledger(page: &mut Page, node: Node<'_>) {
    let buses: Vec<_> = node.members("/ledger").collect();
    if buses.is_empty() {
        return;
    }
    page.gap();
    page.text("", "READINGS", Style::Heading);
    let mut total = Sums::default();
    let count = buses.len();
    for (name, account) in buses {
        let sums = Sums::of(account);
        total.add(&sums);
        show(page, name, &sums);
        let reasons = reasons(account);
        if !reasons.is_empty() {
            page.text(INDENT, &reasons, Style::Faint);
        }
    }
    if count > 1 {
        show(page, "total", &total);
    }
}

fn show(page: &mut Page, name: &str, sums: &Sums) {
    let style = if sums.dropped > 0 { Style::Warning } else { Style::Plain };
    // A name that is wider than the other labels has a line of its own.
    let label = if name.chars().count() + 2 <= INDENT.len() {
        format!("{name:<width$}", width = INDENT.len())
    } else {
        page.text("", name, style);
        INDENT.to_owned()
    };
    page.text(&label, &sums.text(), style);
}

/// Lists why readings were not sent, the most frequent reason first.
fn reasons(account: Node<'_>) -> String {
    let kinds = ["filtered", "skipped", "rejected", "dropped"].map(|kind| {
        let mut reasons: Vec<_> = account.members(&format!("/{kind}")).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(count.0.as_u64()));
        let reason = |(reason, count): (&str, Node<'_>)| {
            format!("{reason}{GLUE}{}", grouped(count.0.as_u64().unwrap_or_default()))
        };
        let reasons: Vec<_> = reasons.into_iter().map(reason).collect();
        (!reasons.is_empty()).then(|| format!("{kind}: {}", reasons.join(", ")))
    });
    kinds.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
