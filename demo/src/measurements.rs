//! The simulated measurements: smooth and repeatable sine waves.

use std::f64::consts::TAU;

/// Returns the value at `step` of a sine with a period of `period` steps.
#[expect(clippy::cast_precision_loss, reason = "the step count of a demo is far below 2^52")]
pub(crate) fn wave(step: u64, period: u64, amplitude: f64) -> f64 {
    amplitude * (TAU * (step % period) as f64 / period as f64).sin()
}

/// Returns the JSON of the climate sensor in the greenhouse: three readings.
pub(crate) fn climate(step: u64) -> String {
    let temperature = 19.3 + wave(step, 40, 2.0);
    let humidity = 61.0 + wave(step, 55, 6.0);
    let battery = 97_u64.saturating_sub(step / 100);
    format!(
        r#"{{"temperature": {temperature:.1}, "humidity": {humidity:.0}, "battery": {battery}}}"#
    )
}

/// Returns the electric power of the workshop in watts: one reading.
pub(crate) fn power(step: u64) -> String {
    format!("{:.1}", 1450.0 + wave(step, 30, 900.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn climate_payload_has_three_values() {
        for step in 0..500 {
            let value: serde_json::Value = serde_json::from_str(&climate(step)).unwrap();
            let values = value.as_object().unwrap();
            assert_eq!(values.keys().collect::<Vec<_>>(), ["temperature", "humidity", "battery"]);
            assert!(values.values().all(serde_json::Value::is_number), "{value}");
        }
    }

    #[test]
    fn power_payload_is_a_positive_number() {
        assert!((0..500).all(|step| power(step).parse::<f64>().unwrap() > 0.0));
    }
}
