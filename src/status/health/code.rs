//! The codes of problems, each with its severity and its cure.

use serde::Serialize;

use super::Condition;

/// Defines [`ProblemCode`] from a table: name, code, severity and cure of each problem.
macro_rules! codes {
    (
        $($(#[doc = $doc:literal])+
        $name:ident, $code:literal, $condition:ident, $cure:literal;)+
    ) => {
        /// The code of a problem. Codes are stable, so that alarms can refer to them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(into = "&'static str")]
        pub enum ProblemCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ProblemCode {
            /// All codes, the worst first.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Returns the condition that this problem alone causes.
            pub fn condition(self) -> Condition {
                match self {
                    $(Self::$name => Condition::$condition,)+
                }
            }

            /// Returns the code as the status document and the metrics have it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// Returns what to do, as one imperative sentence.
            pub fn cure(self) -> &'static str {
                match self {
                    $(Self::$name => $cure,)+
                }
            }
        }
    };
}

codes! {
    /// A task missed its deadline or does not yield.
    TaskStuck, "task_stuck", Failing,
        "Wait until systemd has restarted the daemon, and report the defect if it repeats.";
    /// Writing to the outbox fails.
    OutboxWriteFailing, "outbox_write_failing", Failing,
        "Free space on the disk of outbox.path, or replace the disk if it is read-only or broken.";
    /// The outbox drops its oldest states, or will soon.
    OutboxFull, "outbox_full", Failing,
        "Restore the connection to Losant, raise outbox.size_max, or send fewer values.";
    /// Losant does not have values as it confirmed them.
    AuditDifference, "audit_difference", Failing,
        "Run tidegate audit, and correct the cause that it names for each attribute.";
    /// The outbox is more than 80 % full.
    OutboxFilling, "outbox_filling", Degraded,
        "Restore the connection to Losant, raise outbox.size_max, or send fewer values.";
    /// The disk has little free space.
    DiskLow, "disk_low", Degraded,
        "Delete files on the disk of outbox.path, or move outbox.path to a larger disk.";
    /// Losant rejects the access key, the token or the device id of the gateway.
    CredentialsRefused, "credentials_refused", Degraded,
        "Correct losant.device_id and the access key in losant.credentials_file, and restart \
         tidegate.";
    /// Losant cannot be reached.
    CloudOffline, "cloud_offline", Degraded,
        "Check the network, the proxy and losant.url; tidegate connects again by itself.";
    /// Another client reports for the device of this gateway.
    DeviceIdShared, "device_id_shared", Degraded,
        "Stop the other client, or give each gateway a device and an access key of its own.";
    /// The clock is not synchronised, so no state is sent.
    ClockUntrusted, "clock_untrusted", Degraded,
        "Give the computer access to an NTP server or to Losant, or fit a battery-backed clock.";
    /// The clock differs from Losant's by more than a minute.
    ClockDiffers, "clock_differs", Degraded,
        "Synchronise the clock with NTP, for example with timedatectl set-ntp true.";
    /// Losant does not know a device of the configuration.
    DeviceNotFound, "device_not_found", Degraded,
        "Correct the id of the device in the configuration, or create the device in Losant.";
    /// Losant refuses calls for a device.
    DeviceRefused, "device_refused", Degraded,
        "Assign the peripheral to this gateway in Losant, or extend the access key to it.";
    /// Values are rejected because their device does not declare the attribute.
    AttributeUndeclared, "attribute_undeclared", Degraded,
        "Add the attribute to the device in Losant, for example with tidegate provision.";
    /// Values are rejected because the attribute has another type in Losant.
    AttributeWrongType, "attribute_wrong_type", Degraded,
        "Change the type of the attribute in Losant, or the mapping of the sensor.";
    /// Two values of one message have the same attribute.
    AttributeDuplicate, "attribute_duplicate", Degraded,
        "Give each mapping of the sensor an attribute of its own, and run tidegate reload.";
    /// A bus has no connection.
    BusDown, "bus_down", Degraded,
        "Connect the instrument or the broker, or correct the options of the bus.";
    /// A part of a bus, such as a unit or a file, cannot be read.
    BusProblem, "bus_problem", Degraded,
        "Check the part that the sentence names; tidegate reads it again by itself.";
    /// Another MQTT client has the client id of a bus.
    ClientIdShared, "client_id_shared", Degraded,
        "Give each client of the broker a client_id of its own.";
    /// A broker refuses a subscription.
    SubscriptionRefused, "subscription_refused", Degraded,
        "Allow the user of the bus to read this topic in the access rules of the broker.";
    /// A sensor has sent nothing for longer than its `stale` option allows.
    SensorStale, "sensor_stale", Degraded,
        "Check the power, the battery and the connection of the sensor.";
    /// All messages of a sensor are rejected.
    SensorRejected, "sensor_rejected", Degraded,
        "Correct the format or the map of the sensor; tidegate sensor test shows each step.";
    /// No message of a sensor has had a channel that the sensor maps.
    SensorUnmapped, "sensor_unmapped", Degraded,
        "Correct the channel names in the map of the sensor; tidegate sensor test shows them.";
    /// The command stream of a device is closed although Losant can be reached.
    CommandStreamClosed, "command_stream_closed", Degraded,
        "Extend the access key to the device if Losant refuses the stream; else wait for the \
         next attempt.";
    /// The configuration on disk is invalid: the last reload changed nothing, and a restart would
    /// fail.
    ReloadFailed, "reload_failed", Degraded,
        "Correct the configuration at the place that the sentence names, and run tidegate reload.";
}

impl ProblemCode {
    /// Returns the code in words.
    pub fn words(self) -> String {
        self.as_str().replace('_', " ")
    }
}

impl From<ProblemCode> for &'static str {
    fn from(code: ProblemCode) -> Self {
        code.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_cure_and_row_in_manual() {
        let manual = include_str!("../../../docs/health.md");
        for code in ProblemCode::ALL {
            let condition = match code.condition() {
                Condition::Healthy => "healthy",
                Condition::Degraded => "degraded",
                Condition::Failing => "failing",
            };
            let row = format!("| `{}` | {condition} | ", code.as_str());
            assert!(manual.contains(&row), "docs/health.md has no row \"{row}\"");
            let cure = code.cure();
            assert!(cure.starts_with(char::is_uppercase) && cure.ends_with('.'), "{cure}");
            assert_eq!(cure.matches(". ").count(), 0, "more than one sentence: {cure}");
        }
        let rows = manual
            .lines()
            .filter(|line| line.contains("` | degraded | ") || line.contains("` | failing | "));
        assert_eq!(rows.count(), ProblemCode::ALL.len(), "docs/health.md has other rows");
    }

    #[test]
    fn worst_codes_come_first() {
        let conditions: Vec<_> = ProblemCode::ALL.iter().map(|code| code.condition()).collect();
        assert!(conditions.is_sorted_by(|one, next| one >= next));
    }
}
