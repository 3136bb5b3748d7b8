//! Templates and expressions of the configuration, in the Jinja language.
//!
//! A template renders text; an expression computes a value. Both read only their context, and
//! their steps and memory are limited.

mod expression;
mod template;

pub use expression::{Expression, ExpressionError};
pub use template::*;
