//! Writes to a GPIO output.

use std::time::Duration;

use super::checks::text;
use super::{Render, Variables, WriteError};
use tidegate_modbus::parse_bool;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{Command, GpioWrite, Name, Write};
use tidegate_template::Template;

/// The allowed length of a pulse. A daemon cannot time shorter ones.
const PULSE_RANGE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(86_400);

/// The template of a level for a GPIO output.
#[derive(Debug, Clone, PartialEq)]
pub struct GpioTemplate {
    /// The name of the output on its bus.
    pub output: Name,
    /// Whether it becomes active: renders `true`, `false`, `1` or `0`.
    pub value: Template,
    /// For how long, such as `500 ms`; `None` means until the next write.
    pub pulse: Option<Template>,
}

impl Render for GpioTemplate {
    fn render(&self, _command: &Command, variables: &Variables<'_>) -> Result<Write, WriteError> {
        let pulse = match &self.pulse {
            Some(pulse) => Some(parse_pulse(&text(pulse, variables)?)?),
            None => None,
        };
        let is_active = parse_bool(&text(&self.value, variables)?)?;
        Ok(Write::Gpio(GpioWrite { output: self.output.clone(), is_active, pulse }))
    }
}

fn parse_pulse(text: &str) -> Result<Duration, WriteError> {
    let length = humantime::parse_duration(text).ok().filter(|length| PULSE_RANGE.contains(length));
    length.ok_or_else(|| WriteError::NotPulse(excerpt(text.as_bytes())))
}
