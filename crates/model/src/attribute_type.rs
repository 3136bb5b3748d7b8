//! The type of an attribute in Losant, and the values that fit it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{AttributeName, DeviceId, Reason, Value};

/// The type of an attribute in Losant (schema `device`, "dataType").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "&'static str")]
pub enum AttributeType {
    /// `number`.
    Number,
    /// `string`.
    Text,
    /// `boolean`.
    Boolean,
    /// `gps`: a text with latitude and longitude.
    Gps,
    /// `blob`: a text in base64.
    Blob,
    /// A type that this version of tidegate does not know. Every value fits.
    Unknown,
}

/// The attributes that a device declares in Losant, with their types.
pub type DeclaredAttributes = BTreeMap<AttributeName, AttributeType>;

/// The attributes of the devices that are known.
pub type DeclaredDevices = BTreeMap<DeviceId, Arc<DeclaredAttributes>>;

/// The reason that Losant would ignore a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The device declares no such attribute.
    #[error(
        "the device has no attribute {attribute} in Losant; add it there, or run \
         \"tidegate provision\""
    )]
    Undeclared {
        /// The attribute.
        attribute: AttributeName,
    },
    /// The value does not fit the declared type.
    #[error(
        "attribute {attribute} has the type {declared} in Losant, which {value} does not fit; \
         {advice}", declared = .declared.as_str(), advice = .declared.advice()
    )]
    WrongType {
        /// The attribute.
        attribute: AttributeName,
        /// Its type in Losant.
        declared: AttributeType,
        /// The value, shortened.
        value: String,
    },
}

impl Misfit {
    /// Returns the attribute.
    pub fn attribute(&self) -> &AttributeName {
        match self {
            Self::Undeclared { attribute } | Self::WrongType { attribute, .. } => attribute,
        }
    }

    /// Returns whether the device may still ignore such a value: it does not declare the attribute,
    /// or still with the same type.
    pub fn holds_for(&self, attributes: &DeclaredAttributes) -> bool {
        match self {
            Self::Undeclared { attribute } => !attributes.contains_key(attribute),
            Self::WrongType { attribute, declared, .. } => {
                attributes.get(attribute) == Some(declared)
            }
        }
    }

    /// Returns the reason for the ledger.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Undeclared { .. } => Reason::Undeclared,
            Self::WrongType { .. } => Reason::WrongType,
        }
    }
}

/// The longest value to show, in characters.
const SHOWN_CHARS_MAX: usize = 32;

impl AttributeType {
    /// Returns the name of the type in Losant.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Text => "string",
            Self::Boolean => "boolean",
            Self::Gps => "gps",
            Self::Blob => "blob",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the type with this name in Losant.
    pub fn named(word: &str) -> Self {
        let known = [Self::Number, Self::Text, Self::Boolean, Self::Gps, Self::Blob];
        known.into_iter().find(|one| one.as_str() == word).unwrap_or(Self::Unknown)
    }

    /// Returns the type of a value.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Integer(_) | Value::Float(_) => Self::Number,
            Value::Boolean(_) => Self::Boolean,
            Value::Text(_) => Self::Text,
        }
    }

    /// Returns whether values of the type `produced` can fit an attribute of this type. Every value
    /// can be written as a text.
    pub fn accepts(self, produced: Self) -> bool {
        let is_text = produced == Self::Text;
        self == produced
            || matches!(self, Self::Text | Self::Unknown)
            || is_text && matches!(self, Self::Gps | Self::Blob)
    }

    /// Converts a value to this type where no information is lost or invented.
    ///
    /// A text that is a number becomes a number. A number or a boolean becomes a text: `original`,
    /// its text in the message, or else its usual form. The texts `true` and `false` become
    /// booleans.
    ///
    /// # Errors
    /// Returns the value if it does not fit.
    pub fn fit(self, value: Value, original: Option<&str>) -> Result<Value, Value> {
        match (self, value) {
            (Self::Number, Value::Text(text)) => match Value::parse_word(text.trim()) {
                Ok(number @ (Value::Integer(_) | Value::Float(_))) => Ok(number),
                Ok(Value::Boolean(_) | Value::Text(_)) | Err(_) => Err(Value::Text(text)),
            },
            (Self::Boolean, Value::Text(text)) => match text.trim() {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => Err(Value::Text(text)),
            },
            (Self::Text, value @ (Value::Integer(_) | Value::Float(_) | Value::Boolean(_))) => {
                Ok(Value::Text(original.map_or_else(|| json(&value), str::to_owned)))
            }
            (Self::Gps, Value::Text(text)) if !is_position(text.trim()) => Err(Value::Text(text)),
            (Self::Blob, Value::Text(text)) if !is_base64(&text) => Err(Value::Text(text)),
            (declared, value) if declared.accepts(Self::of(&value)) => Ok(value),
            (_, value) => Err(value),
        }
    }

    /// Returns what the user can do about a value of another type.
    fn advice(self) -> &'static str {
        match self {
            Self::Number => {
                "map a number, give the words numbers with \"values\", or change the type in Losant"
            }
            Self::Boolean => {
                "map true and false with \"values\", such as { \"1\" = true, \"0\" = false }, or \
                 change the type in Losant"
            }
            Self::Gps => "send \"latitude,longitude\" in degrees, such as \"53.55,9.99\"",
            Self::Blob => "send base64",
            Self::Text | Self::Unknown => "change the type in Losant",
        }
    }
}

impl From<String> for AttributeType {
    fn from(word: String) -> Self {
        Self::named(&word)
    }
}

impl From<AttributeType> for &'static str {
    fn from(kind: AttributeType) -> Self {
        kind.as_str()
    }
}

/// Converts a value to the declared type of its attribute.
///
/// `original` is the text of the value in the message, if the mapping did not change the value.
///
/// # Errors
/// If the device does not declare the attribute, or the value does not fit its type.
pub fn fit_value(
    declared: &DeclaredAttributes,
    attribute: &AttributeName,
    value: Value,
    original: Option<&str>,
) -> Result<Value, Misfit> {
    let Some(kind) = declared.get(attribute) else {
        return Err(Misfit::Undeclared { attribute: attribute.clone() });
    };
    kind.fit(value, original).map_err(|value| {
        let value = json(&value).chars().take(SHOWN_CHARS_MAX).collect();
        Misfit::WrongType { attribute: attribute.clone(), declared: *kind, value }
    })
}

/// Returns the value as JSON.
fn json(value: &Value) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns whether the text is a position that Losant accepts: decimal degrees within their range,
/// degrees with minutes, or the NMEA sentences GGA and GLL (devices/state, "gps").
fn is_position(text: &str) -> bool {
    if text.starts_with('$') {
        return text.get(3..6).is_some_and(|kind| kind == "GGA" || kind == "GLL");
    }
    let Some((latitude, longitude)) = text.split_once(',') else { return is_in_minutes(text) };
    let degrees =
        |text: &str, max: f64| text.trim().parse::<f64>().is_ok_and(|degrees| degrees.abs() <= max);
    degrees(latitude, 90.0) && degrees(longitude, 180.0) || is_in_minutes(text)
}

/// Returns whether the text looks like degrees with minutes, such as `53°33'N 9°59'E`.
fn is_in_minutes(text: &str) -> bool {
    let has = |letters: &[char]| text.contains(letters);
    has(&['N', 'S', 'n', 's'])
        && has(&['E', 'W', 'e', 'w'])
        && has(&['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
}

/// Returns whether the text has only letters of base64, with padding at its end.
fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    text.len() - body.len() <= 2 && text.len().is_multiple_of(4) && body.bytes().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn numbers_in_texts_become_numbers() {
        for (word, number) in [("21.5", 21.5), (" -3 ", -3.0), ("1.0e3", 1000.0)] {
            let fitted = AttributeType::Number.fit(text(word), None).unwrap();
            let fitted = match fitted {
                Value::Integer(integer) => f64::from(i32::try_from(integer).unwrap()),
                Value::Float(number) => number,
                Value::Boolean(_) | Value::Text(_) => panic!("{word}: {fitted:?}"),
            };
            assert!((fitted - number).abs() < f64::EPSILON, "{word}: {fitted}");
        }
        for word in ["ERR", "---", "None", "", "nan", "inf", "true", "0x1F", "1,5", "5 of 6"] {
            assert_eq!(AttributeType::Number.fit(text(word), None), Err(text(word)));
        }
        assert!(AttributeType::Number.fit(Value::Boolean(true), None).is_err());
    }

    #[test]
    fn numbers_become_the_text_of_the_message() {
        let string = AttributeType::Text;
        assert_eq!(string.fit(Value::Integer(12), Some("0012")), Ok(text("0012")));
        assert_eq!(string.fit(Value::Float(0.5), None), Ok(text("0.5")));
        assert_eq!(string.fit(Value::Boolean(true), None), Ok(text("true")));
        assert_eq!(string.fit(text("on"), None), Ok(text("on")));
    }

    #[test]
    fn types_accept_what_can_be_converted() {
        use AttributeType::{Blob, Boolean, Gps, Number, Text, Unknown};
        for (declared, produced) in
            [(Text, Gps), (Text, Number), (Gps, Text), (Blob, Text), (Gps, Gps), (Unknown, Number)]
        {
            assert!(declared.accepts(produced), "{declared:?} {produced:?}");
        }
        for (declared, produced) in [(Number, Boolean), (Number, Text), (Gps, Blob), (Boolean, Gps)]
        {
            assert!(!declared.accepts(produced), "{declared:?} {produced:?}");
        }
    }

    #[test]
    fn only_true_and_false_become_booleans() {
        let boolean = AttributeType::Boolean;
        assert_eq!(boolean.fit(text("true"), None), Ok(Value::Boolean(true)));
        assert_eq!(boolean.fit(Value::Boolean(false), None), Ok(Value::Boolean(false)));
        assert!(boolean.fit(Value::Integer(1), None).is_err());
        assert!(boolean.fit(text("on"), None).is_err());
    }

    #[test]
    fn positions_and_base64_are_checked() {
        let gps = AttributeType::Gps;
        for good in ["53.55,9.99", "-90, 180", "$GPGLL,5333.0,N,00959.4,E", "53°33'N 9°59'E"] {
            assert!(gps.fit(text(good), None).is_ok(), "{good}");
        }
        for bad in ["", "53.55", "91,0", "0,181", "$GPRMC,1", "nowhere"] {
            assert!(gps.fit(text(bad), None).is_err(), "{bad}");
        }
        assert!(gps.fit(Value::Float(53.55), None).is_err());
        let blob = AttributeType::Blob;
        assert!(blob.fit(text("aGFsbG8="), None).is_ok());
        assert!(blob.fit(text("not base64"), None).is_err());
        assert!(blob.fit(text("aGFsbG8"), None).is_err());
    }

    #[test]
    fn unknown_types_accept_everything() {
        let unknown = AttributeType::named("vector");
        assert_eq!(unknown, AttributeType::Unknown);
        assert_eq!(unknown.fit(Value::Integer(1), None), Ok(Value::Integer(1)));
    }

    #[test]
    fn misfits_name_attribute_type_and_advice() {
        let name = |name: &str| name.parse::<AttributeName>().unwrap();
        let declared = [(name("t"), AttributeType::Number)].into();
        let error = fit_value(&declared, &name("t"), text("ERR"), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "attribute t has the type number in Losant, which \"ERR\" does not fit; map a number, \
             give the words numbers with \"values\", or change the type in Losant"
        );
        let error = fit_value(&declared, &name("h"), text("1"), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the device has no attribute h in Losant; add it there, or run \"tidegate provision\""
        );
    }
}
