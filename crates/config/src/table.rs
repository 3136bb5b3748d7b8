//! How a table of the configuration is written: each option is optional and has a type.

use std::time::Duration;

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::field::{Field, Scalar, Size};
use super::shape::{Shape, Shaped};

pub(super) type Text = Option<Field<String>>;
pub(super) type Integer = Option<Field<i64>>;
pub(super) type Float = Option<Field<f64>>;
pub(super) type Flag = Option<Field<bool>>;
pub(super) type Span = Option<Field<Duration>>;
pub(super) type Bytes = Option<Field<Size>>;
pub(super) type Word = Field<Scalar>;
pub(super) type Words = Option<Vec<Field<Scalar>>>;
pub(super) type Texts = Option<Vec<Field<String>>>;

/// A table or a list, or a word that stands for one.
#[derive(Debug)]
pub(super) enum WordOr<T> {
    Word(Field<String>),
    Whole(T),
}

impl<T: Default> Default for WordOr<T> {
    fn default() -> Self {
        Self::Whole(T::default())
    }
}

impl<T: Shaped> Shaped for WordOr<T> {
    fn shape() -> Shape {
        Shape::WordOr(T::shape)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for WordOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WordOrVisitor(PhantomData))
    }
}

struct WordOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for WordOrVisitor<T> {
    type Value = WordOr<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a word in quotes, a table or a list")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
        Ok(WordOr::Word(Field(word.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(WordOr::Whole)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
        T::deserialize(SeqAccessDeserializer::new(items)).map(WordOr::Whole)
    }
}

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
