//! How a table of the configuration is written: each option is optional and has a type.

use std::time::Duration;

use super::field::{Field, Scalar, Size};

pub(super) type Text = Option<Field<String>>;
pub(super) type Integer = Option<Field<i64>>;
pub(super) type Float = Option<Field<f64>>;
pub(super) type Flag = Option<Field<bool>>;
pub(super) type Span = Option<Field<Duration>>;
pub(super) type Bytes = Option<Field<Size>>;
pub(super) type Word = Field<Scalar>;
pub(super) type Words = Option<Vec<Field<Scalar>>>;
pub(super) type Texts = Option<Vec<Field<String>>>;

/// Defines a raw table with its options, and its shape for the schema.
macro_rules! table {
    ($name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        #[derive(Debug, Default, serde::Deserialize)]
        #[serde(default)]
        pub(in crate) struct $name {
            $(pub(in crate) $field: $type,)*
        }

        impl crate::shape::Shaped for $name {
            fn shape() -> crate::shape::Shape {
                crate::shape::Shape::Table(const {
                    &[$((
                        crate::table::option_name(stringify!($field)),
                        <$type as crate::shape::Shaped>::shape,
                    )),*]
                })
            }
        }
    };
}

pub(super) use table;

/// Returns the name of an option, without the mark of a raw identifier: `type`, not `r#type`.
pub(super) const fn option_name(field: &'static str) -> &'static str {
    let [b'r', b'#', name @ ..] = field.as_bytes() else { return field };
    match std::str::from_utf8(name) {
        Ok(name) => name,
        Err(_) => field,
    }
}
