//! The reasons for which a write cannot be rendered.

use tidegate_modbus::EncodeError;
use tidegate_model::topic::TopicError;
use tidegate_template::TemplateError;

/// Why a command has no valid write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The command lacks a variable of the template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A text of the command could end the serial line and begin another one.
    #[error(
        "the command holds a control character, in \"{excerpt}\"; remove line ends and other \
         control characters from its name and payload"
    )]
    ControlCharacter {
        /// The beginning of the text.
        excerpt: String,
    },
    /// The rendered topic is invalid.
    #[error(transparent)]
    Topic(#[from] TopicError),
    /// The rendered pulse length is invalid.
    #[error("invalid pulse length \"{0}\"; use a number with a unit from 1 ms to 1 day")]
    NotPulse(String),
    /// The register or output does not accept the rendered value.
    #[error(transparent)]
    Value(#[from] EncodeError),
    /// A text of the command leads to a parent directory.
    #[error("the path \"{text}\" must not contain ..")]
    Climbs {
        /// The beginning of the path.
        text: String,
    },
    /// A text of the command leads to another topic or path.
    #[error("\"{text}\" has more or fewer levels than its template; arguments must not contain /")]
    Levels {
        /// The beginning of the topic or path.
        text: String,
    },
    /// A text of the command leads to another host, or to another path on the host.
    #[error("the URL \"{url}\" is not below {origin}, or contains .. or a space")]
    Place {
        /// The beginning of the URL.
        url: String,
        /// The required scheme, host and port.
        origin: String,
    },
    /// The template rendered no bytes for a serial line.
    #[error("the template renders no bytes")]
    Empty,
    /// The template rendered other characters than pairs of hexadecimal digits.
    #[error("\"{text}\" is not a sequence of pairs of hexadecimal digits")]
    NotHex {
        /// The beginning of the text.
        text: String,
    },
    /// The write is too long.
    #[error("the write has {bytes} bytes; the maximum is {bytes_max}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The maximum.
        bytes_max: usize,
    },
}
