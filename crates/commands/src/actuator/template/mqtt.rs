//! Writes to an MQTT bus.

use super::checks::{check_levels, message};
use super::{Render, Variables, WriteError};
use tidegate_model::topic::check_topic;
use tidegate_model::{Command, TopicReply, Write};
use tidegate_template::Template;

/// The template of a message for an MQTT bus.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttTemplate {
    /// The topic.
    pub topic: Template,
    /// The payload.
    pub payload: Template,
    /// The quality of service, 0 or 1.
    pub qos: u8,
    /// Whether the broker keeps the message for later subscribers.
    pub retain: bool,
    /// The messages that confirm success and failure.
    pub reply: Option<TopicReply>,
}

impl Render for MqttTemplate {
    fn render(&self, _command: &Command, variables: &Variables<'_>) -> Result<Write, WriteError> {
        let topic = self.topic.render(variables)?;
        check_topic(&topic)?;
        check_levels(&self.topic, &topic)?;
        let payload = message(&self.payload, variables)?.into();
        let (qos, retain, reply) = (self.qos, self.retain, self.reply.clone());
        Ok(Write::Mqtt { topic, payload, qos, retain, reply })
    }
}
