//! Values that compare by their text.

use std::fmt::Display;
use std::ops::Deref;

/// A compiled value, such as a regular expression, that equals another with the same text.
///
/// A reload compares settings, and compiled values have no equality of their own.
#[derive(Debug, Clone)]
pub struct ByText<T>(pub T);

impl<T: Display> PartialEq for ByText<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl<T> Deref for ByText<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
