//! Templates and expressions in a configuration: a template makes text, an expression a value.

mod expression;
mod template;

pub use expression::{Expression, ExpressionError};
pub use template::*;
