//! The rows of the table.

/// A measured figure.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    /// Messages through the program.
    Throughput,
    /// Processor time for a million messages.
    Cpu,
    /// The part of that time in the kernel.
    KernelShare,
    /// The largest resident memory at that load.
    Peak,
    /// Bytes written for a message at that load.
    Written,
    /// Resident memory of a calm plant.
    CalmResident,
    /// Processor time of a calm plant.
    CalmCpu,
    /// Bytes written in a calm plant.
    CalmWritten,
    /// Bytes written while messages come in and the cloud is away.
    OutageWritten,
    /// Bytes written while no messages come in and the cloud is away.
    DarkWritten,
    /// Processor time of the same time.
    DarkCpu,
    /// Resident memory of the same time.
    DarkResident,
    /// The time until the cloud has all messages of an outage.
    Drain,
    /// The messages of an outage that the cloud did not receive.
    DrainMissing,
    /// Messages that a kill lost.
    Lost,
    /// Messages that a kill repeated.
    Twice,
    /// Messages with one in flight.
    Serial,
    /// The size of the program.
    Size,
}

impl Row {
    /// All rows, in the order of the table.
    pub(crate) const ALL: [Self; 18] = [
        Self::Throughput,
        Self::Cpu,
        Self::KernelShare,
        Self::Peak,
        Self::Written,
        Self::CalmResident,
        Self::CalmCpu,
        Self::CalmWritten,
        Self::OutageWritten,
        Self::DarkWritten,
        Self::DarkCpu,
        Self::DarkResident,
        Self::Drain,
        Self::DrainMissing,
        Self::Lost,
        Self::Twice,
        Self::Serial,
        Self::Size,
    ];

    /// Returns the first cell of its row, for an outage of so many messages.
    pub(crate) fn title(self, messages: u64, seconds: u64) -> String {
        let messages = crate::figures::text(crate::figures::float(messages));
        match self {
            Self::Throughput => "MQTT QoS 1 to durable to POST: thousand messages/s".to_owned(),
            Self::Cpu => "CPU seconds for a million messages".to_owned(),
            Self::KernelShare => "of this CPU time in the kernel: %".to_owned(),
            Self::Peak => "largest resident memory at that load: MB".to_owned(),
            Self::Written => "bytes written to disk for a message of 120 bytes".to_owned(),
            Self::CalmResident => "50 messages/s: MB resident".to_owned(),
            Self::CalmCpu => "50 messages/s: CPU ms/s".to_owned(),
            Self::CalmWritten => "50 messages/s: kB written/s".to_owned(),
            Self::OutageWritten => format!("{messages} messages, cloud answers 503: MB written"),
            Self::DarkWritten => format!("then no messages for {seconds} s: MB written"),
            Self::DarkCpu => format!("then no messages for {seconds} s: CPU seconds"),
            Self::DarkResident => format!("then no messages for {seconds} s: MB resident"),
            Self::Drain => format!("cloud is back: {messages} messages drained, seconds"),
            Self::DrainMissing => "cloud is back: messages missing after that".to_owned(),
            Self::Lost => "kill -9 at 5,000 messages/s: lost".to_owned(),
            Self::Twice => "kill -9 at 5,000 messages/s: sent twice".to_owned(),
            Self::Serial => "`max_inflight_messages 1`: messages/s".to_owned(),
            Self::Size => "size of the program and its packages: MB".to_owned(),
        }
    }
}
