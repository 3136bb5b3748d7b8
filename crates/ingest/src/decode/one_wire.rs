//! Thermometers on a 1-Wire bus, in the format of the kernel's file `w1_slave`.
//!
//! The first line has the bytes of the sensor and the result of their checksum. The second line
//! has the bytes again, and the temperature in thousandths of a degree (kernel, "`w1_therm`").

use super::decoded::{ChannelMap, Decoded};
use super::decoder::{Decoder, DecoderKind};
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{AttributeType, Reason, Value};

pub(super) const KIND: DecoderKind =
    DecoderKind { name: OneWire::NAME, options: &[], create: |_| Some(OneWire.into()) };

/// The only channel.
const CHANNEL: &str = "temperature";

/// The register of a sensor before its first measurement, in thousandths of a degree Celsius
/// (DS18B20, "Operation: Measuring Temperature").
const POWER_ON_MILLIDEGREES: i32 = 85_000;

const CHECK_CABLE: &str = "check the cable";

const CHECK_DRIVER: &str = "read the file w1_slave of a thermometer";

/// Decodes the file `w1_slave`. The channel `temperature` is in °C.
#[derive(Debug, Clone, Copy)]
pub struct OneWire;

impl OneWire {
    /// The name of the format in the configuration.
    pub const NAME: &str = "w1_slave";
}

impl Decoder for OneWire {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn channels(&self) -> Option<Vec<String>> {
        Some(vec![CHANNEL.to_owned()])
    }

    fn channel_type(&self, _channel: &str) -> Option<AttributeType> {
        Some(AttributeType::Number)
    }

    fn decode(
        &self,
        _topic: &str,
        payload: &[u8],
        _births: &mut Births,
    ) -> Result<Vec<Decoded>, DecodeError> {
        Ok(vec![decode(utf8(payload)?)?.into()])
    }
}

fn decode(text: &str) -> Result<ChannelMap, DecodeError> {
    let invalid = |problem, reason, advice| DecodeError::Thermometer {
        problem,
        reason,
        excerpt: excerpt(text.as_bytes()),
        advice,
    };
    let mut lines = text.lines().map(str::trim);
    let (Some(checked), Some(measured)) = (lines.next(), lines.next()) else {
        return Err(invalid("fewer than two lines", Reason::Malformed, CHECK_DRIVER));
    };
    if checked.ends_with("NO") {
        return Err(invalid("wrong checksum", Reason::BadChecksum, CHECK_CABLE));
    }
    let (Some(bytes), Some((_, millidegrees))) =
        (checked.strip_suffix("YES"), measured.rsplit_once("t="))
    else {
        return Err(invalid("no checksum or no temperature", Reason::Malformed, CHECK_DRIVER));
    };
    // Nine zeros have the valid checksum 0, but mean that the line is shorted.
    let digits = bytes.split(':').next().unwrap_or_default();
    if digits.chars().all(|digit| matches!(digit, '0' | ' ')) {
        return Err(invalid("only zeros", Reason::BadChecksum, CHECK_CABLE));
    }
    let Ok(millidegrees) = millidegrees.parse::<i32>() else {
        return Err(invalid("the temperature is not a number", Reason::Malformed, CHECK_DRIVER));
    };
    if millidegrees == POWER_ON_MILLIDEGREES {
        let problem = "85 °C, the value before the first measurement";
        return Err(invalid(problem, Reason::OutOfRange, "check the power of the sensor"));
    }
    let temperature = Value::Float(f64::from(millidegrees) / 1e3);
    Ok(ChannelMap::from([(CHANNEL.to_owned(), Ok(temperature))]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> Option<Reason> {
        decode(text).err().map(|error| error.reason())
    }

    #[test]
    fn decodes_degrees_celsius() {
        let text = "72 01 4b 46 7f ff 0e 10 57 : crc=57 YES\n72 01 4b 46 7f ff 0e 10 57 t=23125\n";
        let temperature = Ok(Value::Float(23.125));
        assert_eq!(decode(text), Ok(ChannelMap::from([("temperature".to_owned(), temperature)])));
        let cold = text.replace("23125", "-1062");
        assert_eq!(decode(&cold).unwrap().get("temperature"), Some(&Ok(Value::Float(-1.062))));
    }

    #[test]
    fn rejects_faulty_sensors() {
        let bad = "72 01 4b 46 7f ff 0e 10 57 : crc=aa NO\n72 01 4b 46 7f ff 0e 10 57 t=23125\n";
        assert_eq!(reason(bad), Some(Reason::BadChecksum));
        let zeros = "00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n";
        assert_eq!(reason(zeros), Some(Reason::BadChecksum));
        let reset = "50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n";
        assert_eq!(reason(reset), Some(Reason::OutOfRange));
        let freezing = "00 00 4b 46 7f ff 0c 10 1c : crc=1c YES\n00 00 4b 46 7f ff 0c 10 1c t=0\n";
        assert_eq!(reason(freezing), None);
        for cut in ["", "72 01", "72 : crc=57 YES\n", "72 : crc=57 YES\nt=", "72\nt=1"] {
            assert_eq!(reason(cut), Some(Reason::Malformed), "{cut}");
        }
    }
}
