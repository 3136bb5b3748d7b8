//! Maps the channels of one decoded message of one sensor.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Instant;

use super::super::attribute_filter::FilterResult;
use super::super::conversion::numeric;
use super::super::declared_types;
use super::super::filter_table::FilterKey;
use super::super::message_context::MessageContext;
use super::super::output::OutputBuilder;
use super::super::rejection::Rejection;
use super::super::sample::Sample;
use super::super::sensor_plan::SensorPlan;
use super::super::settings::{DeviceSelector, Mapping, Sensor, Source};
use super::{Arrival, Pipeline};
use crate::decode::Decoded;
use tidegate_model::excerpt::excerpt;
use tidegate_model::{DeclaredAttributes, DeviceId, ReadingTime, Reason, Value, ValueError};

/// A sensor with its index in the pipeline and its plan.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) index: usize,
    pub(super) sensor: &'a Sensor,
    pub(super) plan: &'a SensorPlan,
}

/// A decoded message of a sensor.
struct DecodedMessage<'a> {
    reader: Reader<'a>,
    decoded: &'a Decoded,
    context: MessageContext<'a>,
    /// The device of all channels, if they have the same.
    target: OnceCell<Result<Target, Rejection>>,
    /// The time of the measurement.
    time: ReadingTime,
    /// The time of arrival.
    arrival: ReadingTime,
    now: Instant,
}

/// A device, and the attributes that it declares in Losant, if they are known.
#[derive(Clone)]
struct Target {
    device: DeviceId,
    declared: Option<Arc<DeclaredAttributes>>,
}

/// A channel of a message with its mapping and its value.
struct Channel<'a> {
    /// The index of the mapping in the sensor.
    mapping_index: usize,
    mapping: &'a Mapping,
    name: &'a str,
    value: Result<Value, Rejection>,
}

impl Pipeline {
    /// Maps the channels of a message. Returns `false` if the message has none of them.
    pub(super) fn map_message(
        &mut self,
        Arrival { message, now }: Arrival<'_>,
        reader: Reader<'_>,
        decoded: &Decoded,
        output: &mut OutputBuilder,
    ) -> bool {
        let Reader { index, sensor, plan } = reader;
        let time = match sensor.measured_at(decoded, message.time) {
            Ok(time) => time,
            Err(rejection) => {
                self.record_rejection(index, &rejection, now);
                let Rejection { reason, detail } = rejection;
                output.reject(reason, [format!("sensor {}: {detail}", sensor.name)]);
                return true;
            }
        };
        let context = MessageContext::new(&message.topic, decoded, &plan.names);
        let (target, arrival) = (OnceCell::new(), message.time);
        let message = DecodedMessage { reader, decoded, context, target, time, arrival, now };
        let mut has_channel = false;
        for (mapping_index, mapping) in sensor.map.iter().enumerate() {
            let mut put = |name, value| {
                has_channel = true;
                self.put_channel(&message, Channel { mapping_index, mapping, name, value }, output);
            };
            match &mapping.source {
                source @ Source::Channel(_) if source.is_every_channel() => {
                    let names = decoded.names().into_iter();
                    for name in names.filter(|name| !plan.named_channels.contains(*name)) {
                        if let Some(value) = message.channel(name, mapping) {
                            put(name, value);
                        }
                    }
                }
                Source::Channel(name) => {
                    if let Some(value) = message.channel(name, mapping) {
                        put(name, value);
                    }
                }
                Source::Expression(expression) => {
                    let value = expression.evaluate(message.context.expressions()).transpose();
                    if let Some(value) = value {
                        let reject = |error: tidegate_template::ExpressionError| {
                            Rejection::new(Reason::BadExpression, error.to_string())
                        };
                        put(expression.as_str(), value.map_err(reject));
                    }
                }
            }
        }
        if has_channel {
            self.stats.change(index, |stats| stats.record_message(now));
        }
        has_channel
    }

    /// Maps one channel, or counts why its value is not sent.
    fn put_channel<'a>(
        &mut self,
        message: &DecodedMessage<'a>,
        channel: Channel<'a>,
        output: &mut OutputBuilder,
    ) {
        let name = channel.name;
        if let Err(rejection) = self.map_channel(message, channel, output) {
            let Reader { index, sensor, .. } = message.reader;
            self.record_rejection(index, &rejection, message.now);
            let Rejection { reason, detail } = rejection;
            let name = excerpt(name.as_bytes());
            output.reject(reason, [format!("sensor {}, channel {name}: {detail}", sensor.name)]);
        }
    }

    /// Maps one channel: adds its value to the output, or counts it as filtered.
    fn map_channel<'a>(
        &mut self,
        message: &DecodedMessage<'a>,
        channel: Channel<'a>,
        output: &mut OutputBuilder,
    ) -> Result<(), Rejection> {
        let DecodedMessage { reader, time, arrival, now, .. } = *message;
        let Reader { index, sensor, .. } = reader;
        let Channel { mapping_index, mapping, name, value } = channel;
        let original = match mapping.source {
            Source::Channel(_) => message.decoded.original_texts().get(name),
            Source::Expression(_) => None,
        };
        let numbers = mapping.conversion.words.numbers;
        let value = mapping.conversion.apply(value, original.map(String::as_str))?;
        let value = if mapping.filter.needs_number() { numeric(value, numbers) } else { value };
        let Target { device, declared } = self.target(message, name)?;
        let declared = declared.as_deref();
        let attribute = mapping.attribute.resolve(&message.context, name)?;
        let is_lossy = message.decoded.is_lossy();
        let is_unknown = |value: &Value| {
            let unknown = char::REPLACEMENT_CHARACTER;
            is_lossy && matches!(value, Value::Text(text) if text.contains(unknown))
        };
        let was_unknown = is_unknown(&value);
        let value = match declared_types::fit(declared, &attribute, value, numbers) {
            Ok(value) if is_unknown(&value) => return Err(ValueError::NotUtf8.into()),
            Ok(value) => value,
            Err(_) if was_unknown => return Err(ValueError::NotUtf8.into()),
            Err(misfit) => {
                self.stats.change(index, |stats| stats.record_misfit(&misfit));
                return Err(misfit.into());
            }
        };
        self.stats.change(index, |stats| stats.record_value(&attribute, &value));
        self.silence.handle_message(index, device, now, arrival, output);
        let sample = Sample { time, value };
        let slot = if mapping.filter.passes_all() {
            None
        } else {
            let key = FilterKey { mapping: mapping_index, device, attribute: attribute.clone() };
            self.filters.find(index, sensor, key, &sample.value)
        };
        let (value, original) = match slot {
            None if mapping.filter.derive.is_some() => {
                let detail = "too many attributes are named by messages to compare values";
                return Err(Rejection::new(Reason::TooLong, detail));
            }
            None => {
                let is_unchanged = || mapping.conversion.is_identity();
                (mapping.filter.round(sample.value), original.filter(|_| is_unchanged()))
            }
            Some(slot) => match self.filters.handle_sample(slot, sample, now, output)? {
                FilterResult::Send(value) => (value, None),
                FilterResult::Filtered(reason) => {
                    output.count_filtered(reason);
                    return Ok(());
                }
            },
        };
        let value = declared_types::fit_text(declared, &attribute, value, original);
        output.add_value(device, attribute, Sample { time, value })
    }

    /// Returns the device of a channel.
    fn target<'a>(
        &self,
        message: &DecodedMessage<'a>,
        channel: &'a str,
    ) -> Result<Target, Rejection> {
        let Reader { sensor, plan, .. } = message.reader;
        let find = || {
            let device = match &sensor.device {
                DeviceSelector::Fixed(device) => *device,
                DeviceSelector::ByTemplate(template) => {
                    plan.named_device(template, &self.devices, &message.context, channel)?
                }
            };
            Ok(Target { device, declared: self.declared.get(&device).cloned() })
        };
        if plan.has_one_device { message.target.get_or_init(find).clone() } else { find() }
    }
}

impl DecodedMessage<'_> {
    /// Returns the value of a channel as a mapping reads it; `None` if the message lacks it.
    fn channel(&self, name: &str, mapping: &Mapping) -> Option<Result<Value, Rejection>> {
        let reject = |error: ValueError| {
            if self.decoded.is_null(name) {
                Rejection::new(Reason::NoValue, "the channel holds null")
            } else {
                Rejection::from(error)
            }
        };
        Some(self.decoded.read(name, &mapping.conversion.words)?.map_err(reject))
    }
}
