//! What may be written where: the tables and their options as data, made from the types that read them.

use std::collections::BTreeMap;

use super::field::{Field, Form, Kind};

/// An option's name, and what may stand there.
pub(super) type ShapeOf = (&'static str, fn() -> Shape);

/// What may stand at one place of the configuration.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A table with these options, in the order of their declaration.
    Table(&'static [ShapeOf]),
    /// A table of tables, whose names the operator chooses.
    Named(fn() -> Shape),
    /// A list.
    List(fn() -> Shape),
    /// A single value.
    Value(Form),
}

/// What knows its own shape.
pub(super) trait Shaped {
    fn shape() -> Shape;
}

impl<T: Kind> Shaped for Field<T> {
    fn shape() -> Shape {
        Shape::Value(T::FORM)
    }
}

impl<T: Shaped> Shaped for Option<T> {
    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: Shaped> Shaped for Vec<T> {
    fn shape() -> Shape {
        Shape::List(T::shape)
    }
}

impl<T: Shaped> Shaped for BTreeMap<String, T> {
    fn shape() -> Shape {
        Shape::Named(T::shape)
    }
}

impl Shape {
    /// What may stand one step below; nothing under an unknown key.
    pub(super) fn child(self, key: &str) -> Option<Self> {
        match self {
            Self::Table(options) => {
                options.iter().find(|(name, _)| *name == key).map(|(_, shape)| shape())
            }
            Self::Named(shape) | Self::List(shape) => Some(shape()),
            Self::Value(_) => None,
        }
    }

    /// The options of a table; none for all else.
    pub(super) fn options(self) -> impl Iterator<Item = &'static str> {
        let options = if let Self::Table(options) = self { options } else { &[] };
        options.iter().map(|(name, _)| *name)
    }
}
