//! What a device declares against what the configuration produces for it.

use std::collections::BTreeMap;
use std::fmt;

use super::attribute_filter::Flow;
use super::window::Aggregate;
use super::{AttributeSelector, DeviceSelector, Mapping, Sensor};
use tidegate_model::{AttributeName, DeviceId, Value};

/// The type of an attribute, as Losant declares it (schema `device`, "dataType").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttributeType {
    /// `number`.
    Number,
    /// `string`.
    Text,
    /// `boolean`.
    Boolean,
    /// `gps`: a text of latitude and longitude.
    Gps,
    /// `blob`: a text of base64.
    Blob,
}

/// What the configuration gives to an attribute, as far as it can be known before a message comes.
pub type Produced = BTreeMap<AttributeName, Option<AttributeType>>;

/// An attribute that the cloud will not take as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mismatch {
    /// The device does not have it: Losant would ignore its values.
    Undeclared(AttributeName, Option<AttributeType>),
    /// It has another type.
    Type {
        /// The attribute.
        attribute: AttributeName,
        /// As the device declares it.
        declared: AttributeType,
        /// As the configuration produces it.
        produced: AttributeType,
    },
}

/// Compares, and names what does not fit.
pub fn mismatches(
    declared: &BTreeMap<AttributeName, AttributeType>,
    produced: &Produced,
) -> Vec<Mismatch> {
    let compare = |(attribute, produced): (&AttributeName, &Option<AttributeType>)| match (
        declared.get(attribute),
        *produced,
    ) {
        (None, produced) => Some(Mismatch::Undeclared(attribute.clone(), produced)),
        (Some(declared), Some(produced)) if !declared.takes(produced) => {
            let (attribute, declared) = (attribute.clone(), *declared);
            Some(Mismatch::Type { attribute, declared, produced })
        }
        (Some(_), _) => None,
    };
    produced.iter().filter_map(compare).collect()
}

/// What sensors give to each device that is always the same, under names that are always the same.
pub fn produced<'a>(sensors: impl IntoIterator<Item = &'a Sensor>) -> BTreeMap<DeviceId, Produced> {
    let mut devices: BTreeMap<DeviceId, Produced> = BTreeMap::new();
    for sensor in sensors {
        let DeviceSelector::Fixed(device) = &sensor.device else { continue };
        let produced = devices.entry(*device).or_default();
        for mapping in &sensor.map {
            if let AttributeSelector::Fixed(attribute) = &mapping.attribute {
                produced.insert(attribute.clone(), mapping.produces());
            }
        }
        if let Some(stale) = &sensor.stale {
            produced.insert(stale.attribute.clone(), Some(AttributeType::Boolean));
        }
    }
    devices
}

impl Mapping {
    fn produces(&self) -> Option<AttributeType> {
        let Flow { window, .. } = &self.flow;
        match window.map(|window| window.aggregate) {
            Some(Aggregate::Last) | None => {}
            Some(_) => return Some(AttributeType::Number),
        }
        if self.conversion.wants_number() {
            return Some(AttributeType::Number);
        }
        let mut types = self.conversion.values.values().map(AttributeType::of);
        types.next().filter(|first| types.all(|other| other == *first))
    }
}

impl AttributeType {
    fn of(value: &Value) -> Self {
        match value {
            Value::Integer(_) | Value::Float(_) => Self::Number,
            Value::Boolean(_) => Self::Boolean,
            Value::Text(_) => Self::Text,
        }
    }

    /// Whether values of `produced` go into an attribute of this type.
    fn takes(self, produced: Self) -> bool {
        self == produced || produced == Self::Text && matches!(self, Self::Gps | Self::Blob)
    }

    /// The word that Losant has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "string",
            Self::Boolean => "boolean",
            Self::Gps => "gps",
            Self::Blob => "blob",
        }
    }

    /// The type of this word; `None` for one that is not known here.
    pub fn named(word: &str) -> Option<Self> {
        let all = [Self::Number, Self::Text, Self::Boolean, Self::Gps, Self::Blob];
        all.into_iter().find(|one| one.as_str() == word)
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undeclared(attribute, produced) => {
                let word = produced.map_or("fitting", AttributeType::as_str);
                write!(
                    formatter,
                    "the device has no attribute {attribute}; add it in Losant, of {word} type"
                )
            }
            Self::Type { attribute, declared, produced } => {
                let (declared, produced) = (declared.as_str(), produced.as_str());
                write!(
                    formatter,
                    "attribute {attribute} is a {declared} in Losant, and the configuration gives a {produced}; \
                     change its type there, or its mapping here"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_named_with_its_cure() {
        let name = |name: &str| name.parse::<AttributeName>().unwrap();
        let declared = [("t", "number"), ("door", "string"), ("at", "gps"), ("any", "number")];
        let declared = declared.map(|(one, word)| (name(one), AttributeType::named(word).unwrap()));
        let produced = [
            ("t", Some(AttributeType::Number)),
            ("door", Some(AttributeType::Boolean)),
            ("at", Some(AttributeType::Text)),
            ("any", None),
            ("h", None),
        ];
        let produced = produced.map(|(one, kind)| (name(one), kind)).into();
        let told: Vec<_> =
            mismatches(&declared.into(), &produced).iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "attribute door is a string in Losant, and the configuration gives a boolean; \
                 change its type there, or its mapping here",
                "the device has no attribute h; add it in Losant, of fitting type",
            ]
        );
        assert_eq!(AttributeType::named("integer"), None);
    }
}
