//! The shape of the configuration: tables and options as data, from the raw types.

use std::collections::BTreeMap;

use super::field::{Field, Form, Kind};

/// The name of an option and its shape.
pub(super) type ShapeOf = (&'static str, fn() -> Shape);

/// The shape of one place of the configuration.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// A table with these options, in the order of their declaration.
    Table(&'static [ShapeOf]),
    /// A table of tables, whose names the operator chooses.
    Named(fn() -> Shape),
    /// A list.
    List(fn() -> Shape),
    /// A word, or this shape.
    WordOr(fn() -> Shape),
    /// A single value.
    Value(Form),
}

/// A raw type with a shape.
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
    /// Returns the shape one step below; nothing for an unknown key.
    pub(super) fn child(self, key: &str) -> Option<Self> {
        let child = match self {
            Self::Table(options) => {
                options.iter().find(|(name, _)| *name == key).map(|(_, shape)| shape())
            }
            Self::Named(shape) | Self::List(shape) => Some(shape()),
            Self::WordOr(shape) => shape().child(key),
            Self::Value(_) => None,
        };
        match child {
            Some(Self::WordOr(shape)) => Some(shape()),
            other => other,
        }
    }

    /// Returns the options of a table; none for other shapes.
    pub(super) fn options(self) -> impl Iterator<Item = &'static str> {
        let options = if let Self::Table(options) = self { options } else { &[] };
        options.iter().map(|(name, _)| *name)
    }
}
