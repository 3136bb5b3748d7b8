//! Advertisements of Ruuvi sensors in hexadecimal digits, alone or from a Ruuvi Gateway.
//!
//! The crate `ruuvi_sensor_protocol` parses the data formats 3, 5, 6 and E1.

use ruuvi_sensor_protocol::gateway::MqttData;
use ruuvi_sensor_protocol::{
    Acceleration as _, AccelerationVector, BatteryPotential as _, CarbonDioxide as _,
    Humidity as _, Luminosity as _, MacAddress as _, MeasurementSequenceNumber as _,
    MovementCounter as _, NitrogenOxides as _, ParticulateMatter as _, Pressure as _, SensorValues,
    Temperature as _, TransmitterPower as _, VolatileOrganicCompounds as _,
};
use serde::Deserialize;

use super::decoded::{ChannelMap, Decoded};
use super::decoder::{Decoder, DecoderKind};
use super::error::DecodeError;
use super::sparkplug::Births;
use super::text::utf8;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{AttributeType, Value};

pub(super) const KIND: DecoderKind =
    DecoderKind { name: Ruuvi::NAME, options: &[], create: |_| Some(Ruuvi.into()) };

/// Decodes one advertisement: `{"data": "0201061BFF9904…", …}`, or only the digits.
#[derive(Debug, Clone, Copy)]
pub struct Ruuvi;

impl Ruuvi {
    /// The name of the format in the configuration.
    pub const NAME: &str = "ruuvi";
}

impl Decoder for Ruuvi {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn channel_type(&self, channel: &str) -> Option<AttributeType> {
        let is_text = matches!(channel, "gateway" | "mac");
        Some(if is_text { AttributeType::Text } else { AttributeType::Number })
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

/// The gateway's own data (docs.ruuvi.com, "MQTT: Time-stamped data from Bluetooth-sensors").
#[derive(Default, Deserialize)]
struct GatewayData {
    gw_mac: Option<String>,
    rssi: Option<i64>,
    /// The time of reception, in seconds since 1970.
    ts: Option<String>,
}

fn decode(text: &str) -> Result<ChannelMap, DecodeError> {
    let invalid = || DecodeError::Invalid {
        format: "Ruuvi advertisement",
        problem: "not in data format 3, 5, 6 or E1".into(),
        excerpt: excerpt(text.as_bytes()),
        advice: "check that the sensor is from Ruuvi",
    };
    let text = text.trim();
    let (values, gateway) = if text.starts_with('{') {
        let data: MqttData = serde_json::from_str(text).map_err(|_| invalid())?;
        (data.data, serde_json::from_str(text).map_err(|_| invalid())?)
    } else {
        let data = MqttData::deserialize(serde_json::json!({ "data": text }));
        (data.map_err(|_| invalid())?.data, GatewayData::default())
    };
    let mut channels = read(&values);
    let mut put = |name: &str, value| drop(channels.insert(name.to_owned(), Ok(value)));
    if let Some(mac) = gateway.gw_mac {
        put("gateway", Value::Text(mac));
    }
    if let Some(rssi) = gateway.rssi {
        put("rssi", Value::Integer(rssi));
    }
    if let Some(seconds) = gateway.ts.and_then(|seconds| seconds.parse().ok()) {
        put("timestamp", Value::Integer(seconds));
    }
    Ok(channels)
}

/// Returns the values in common units, with the names of `RuuviBridge`.
fn read(values: &SensorValues) -> ChannelMap {
    let mut channels = ChannelMap::new();
    let mut put = |name: &str, value: Option<Value>| {
        channels.extend(value.map(|value| (name.to_owned(), Ok(value))));
    };
    put("temperature", values.temperature_as_millicelsius().map(|value| parts(value, 1e3)));
    put("humidity", values.humidity_as_ppm().map(|value| parts(value, 1e4)));
    put("pressure", values.pressure_as_pascals().map(whole));
    if let Some(AccelerationVector(x, y, z)) = values.acceleration_vector_as_milli_g() {
        put("accelerationX", Some(parts(x, 1e3)));
        put("accelerationY", Some(parts(y, 1e3)));
        put("accelerationZ", Some(parts(z, 1e3)));
    }
    put("batteryVoltage", values.battery_potential_as_millivolts().map(|value| parts(value, 1e3)));
    put("txPower", values.tx_power_as_dbm().map(whole));
    put("movementCounter", values.movement_counter().map(whole));
    put("measurementSequenceNumber", values.measurement_sequence_number().map(whole));
    put("pm1p0", values.pm1_0_as_nanograms_per_cubic_meter().map(|value| parts(value, 1e3)));
    put("pm2p5", values.pm2_5_as_nanograms_per_cubic_meter().map(|value| parts(value, 1e3)));
    put("pm4p0", values.pm4_0_as_nanograms_per_cubic_meter().map(|value| parts(value, 1e3)));
    put("pm10p0", values.pm10_0_as_nanograms_per_cubic_meter().map(|value| parts(value, 1e3)));
    put("co2", values.carbon_dioxide_as_ppm().map(whole));
    put("voc", values.voc_index().map(whole));
    put("nox", values.nox_index().map(whole));
    put("illuminance", values.luminosity_as_millilux().map(|value| parts(value, 1e3)));
    put("mac", values.mac_address().map(|mac| Value::Text(address(mac))));
    channels
}

fn whole(number: impl Into<i64>) -> Value {
    Value::Integer(number.into())
}

fn parts(number: impl Into<f64>, of: f64) -> Value {
    Value::Float(number.into() / of)
}

fn address(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02X}")).join(":")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Returns the channels as JSON, without the address, which is always CB:B8:33:4C:88:4F.
    fn shown(data: &str) -> String {
        let mut channels = decode(&format!("1BFF9904{data}")).unwrap();
        let mac = channels.remove("mac").map(Result::unwrap);
        assert_eq!(mac, Some(Value::Text("CB:B8:33:4C:88:4F".to_owned())));
        let values = channels.into_iter().map(|(name, value)| (name, value.unwrap()));
        serde_json::to_string(&values.collect::<BTreeMap<_, _>>()).unwrap()
    }

    #[test]
    fn decodes_the_test_vectors_of_data_format_5() {
        // docs.ruuvi.com, "Data format 5 (RAWv2)", test vectors.
        assert_eq!(
            shown("0512FC5394C37C0004FFFC040CAC364200CDCBB8334C884F"),
            concat!(
                r#"{"accelerationX":0.004,"accelerationY":-0.004,"accelerationZ":1.036,"#,
                r#""batteryVoltage":2.977,"humidity":53.49,"measurementSequenceNumber":205,"#,
                r#""movementCounter":66,"pressure":100044,"temperature":24.3,"txPower":4}"#
            )
        );
        assert_eq!(
            shown("057FFFFFFEFFFE7FFF7FFF7FFFFFDEFEFFFECBB8334C884F"),
            concat!(
                r#"{"accelerationX":32.767,"accelerationY":32.767,"accelerationZ":32.767,"#,
                r#""batteryVoltage":3.646,"humidity":163.835,"measurementSequenceNumber":65534,"#,
                r#""movementCounter":254,"pressure":115534,"temperature":163.835,"txPower":20}"#
            )
        );
        assert_eq!(
            shown("058001000000008001800180010000000000CBB8334C884F"),
            concat!(
                r#"{"accelerationX":-32.767,"accelerationY":-32.767,"accelerationZ":-32.767,"#,
                r#""batteryVoltage":1.6,"humidity":0.0,"measurementSequenceNumber":0,"#,
                r#""movementCounter":0,"pressure":50000,"temperature":-163.835,"txPower":-40}"#
            )
        );
        let nothing = decode("1BFF9904058000FFFFFFFF800080008000FFFFFFFFFFFFFFFFFFFFFF").unwrap();
        assert_eq!(nothing, ChannelMap::new());
    }

    #[test]
    fn adds_the_data_of_a_gateway() {
        // docs.ruuvi.com, "MQTT: Time-stamped data from Bluetooth-sensors", first example.
        let message = concat!(
            r#"{"gw_mac": "C8:25:2D:8E:9C:2C", "rssi": -26, "aoa": [], "gwts": "1653668027", "#,
            r#""ts": "1653668027", "data": "0201061BFF99040515AE4C6DC6D7000CFFF803F4ADB6AD697F"#,
            r#"F41F0C28CBD6", "coords": ""}"#
        );
        let channels = decode(message).unwrap();
        for (name, value) in [
            ("temperature", Value::Float(27.75)),
            ("rssi", Value::Integer(-26)),
            ("timestamp", Value::Integer(1_653_668_027)),
            ("gateway", Value::Text("C8:25:2D:8E:9C:2C".to_owned())),
            ("mac", Value::Text("F4:1F:0C:28:CB:D6".to_owned())),
        ] {
            assert_eq!(channels.get(name), Some(&Ok(value)), "{name}");
        }
    }

    #[test]
    fn rejects_other_advertisements() {
        for text in [
            "",
            "{}",
            r#"{"data": 5}"#,
            "0201061BFF4C00",
            "1BFF9904",
            "1BFF990405",
            "1BFF990407",
            "xyz",
            "FF",
        ] {
            assert!(matches!(decode(text), Err(DecodeError::Invalid { .. })), "{text}");
        }
    }
}
