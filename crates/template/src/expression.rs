//! Expressions that compute a value from other values, such as `voltage * current`.
//!
//! An expression reads only its context. Its steps and its memory are limited, as for a template.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use minijinja::{Environment, ErrorKind};

use crate::template::{FUNCTIONS, TemplateError, environment};
use tidegate_model::{Value, ValueError};

/// The language and its limits, which are the same for all expressions. A compiled expression
/// borrows from it.
///
/// It has no functions: a channel may be called `range`.
static ENVIRONMENT: LazyLock<Result<Environment<'static>, minijinja::Error>> =
    LazyLock::new(|| {
        let mut environment = environment()?;
        for function in FUNCTIONS {
            environment.remove_global(function);
        }
        Ok(environment)
    });

/// A compiled expression. Cheap to clone.
#[derive(Clone)]
pub struct Expression {
    compiled: Arc<minijinja::Expression<'static, 'static>>,
    name: Arc<str>,
    text: Arc<str>,
    needs: Arc<[String]>,
}

/// The reason that an expression yields no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// The evaluation failed: a wrong type, a division by zero, or too many steps.
    #[error(transparent)]
    Failed(#[from] TemplateError),
    /// The result is a list, a map, nothing, or a number that JSON cannot represent.
    #[error(transparent)]
    NoValue(#[from] ValueError),
}

impl Expression {
    /// Compiles `text`. Errors contain `name`; use the key in the configuration.
    ///
    /// # Errors
    /// If the text is not a valid expression.
    pub fn compile(name: &str, text: &str) -> Result<Self, TemplateError> {
        let environment = ENVIRONMENT.as_ref().map_err(|error| TemplateError::new(name, error))?;
        let compiled = environment
            .compile_expression_owned(text.to_owned())
            .map_err(|error| TemplateError::new(name, &error))?;
        let needs: BTreeSet<_> = compiled.undeclared_variables(false).into_iter().collect();
        let needs = needs.into_iter().collect();
        Ok(Self { compiled: Arc::new(compiled), name: name.into(), text: text.into(), needs })
    }

    /// Returns the names of the context that the expression uses, in alphabetical order.
    pub fn variables(&self) -> &[String] {
        &self.needs
    }

    /// Returns the source text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Computes the value from `context`. `None` if the context lacks a name that the expression
    /// uses, or the result is `none`.
    ///
    /// # Errors
    /// If a value in the context has the wrong type, or the evaluation exceeds its limits.
    pub fn evaluate(&self, context: &minijinja::Value) -> Result<Option<Value>, ExpressionError> {
        let lacks = |name: &String| context.get_attr(name).is_ok_and(|value| value.is_undefined());
        if self.needs.iter().any(lacks) {
            return Ok(None);
        }
        let value = match self.compiled.eval(context) {
            Ok(value) => value,
            Err(error) if error.kind() == ErrorKind::UndefinedError => return Ok(None),
            Err(error) => return Err(TemplateError::new(&self.name, &error).into()),
        };
        if value.is_undefined() || value.is_none() {
            return Ok(None);
        }
        let json = serde_json::to_value(&value).map_err(|_| ValueError::NotScalar)?;
        // JSON represents a NaN as null.
        if json.is_null() && value.is_number() {
            return Err(ValueError::NotFinite.into());
        }
        Ok(Some(Value::try_from(&json)?))
    }
}

/// Compares name and text.
impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.to_string() == other.to_string()
    }
}

/// Writes the source text.
impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(text: &str) -> Result<Option<Value>, ExpressionError> {
        let context = serde_json::json!({
            "u": 230.5, "i": 2, "list": [1, {"t": 4}], "name": "a", "comma": "21,5",
            "unit": "-3.5C", "sign": "-", "raw": 4095, "range": 2, "null": null
        });
        Expression::compile("power", text)
            .unwrap()
            .evaluate(&minijinja::Value::from(minijinja::value::Serde(context)))
    }

    #[test]
    fn computes_values_from_the_context() {
        assert_eq!(evaluate("u * i"), Ok(Some(Value::Float(461.0))));
        assert_eq!(evaluate("list[1].t - 1"), Ok(Some(Value::Integer(3))));
        assert_eq!(evaluate("'on' if i > 1 else 'off'"), Ok(Some(Value::Text("on".to_owned()))));
        assert_eq!(evaluate("comma | replace(',', '.') | float"), Ok(Some(Value::Float(21.5))));
        assert_eq!(evaluate("unit | replace('C', '') | float"), Ok(Some(Value::Float(-3.5))));
        assert_eq!(evaluate("-u if sign == '-' else u"), Ok(Some(Value::Float(-230.5))));
        assert_eq!(evaluate("raw - 4096 if raw > 2047 else raw"), Ok(Some(Value::Integer(-1))));
        assert_eq!(evaluate("i > 1 and name == 'a'"), Ok(Some(Value::Boolean(true))));
    }

    #[test]
    fn names_of_functions_are_channels() {
        assert_eq!(evaluate("u * range"), Ok(Some(Value::Float(461.0))));
        assert_eq!(evaluate("u * dict"), Ok(None));
    }

    #[test]
    fn missing_names_yield_no_value() {
        assert_eq!(evaluate("u if i > 2 else none"), Ok(None));
        assert_eq!(evaluate("null"), Ok(None));
        assert_eq!(evaluate("u * missing"), Ok(None));
        assert_eq!(evaluate("missing"), Ok(None));
        assert_eq!(evaluate("list[7].t + 1"), Ok(None));
    }

    #[test]
    fn rejects_results_that_are_not_values() {
        for text in ["name * u", "list", "u / 0", "'x' * 100000000"] {
            assert!(evaluate(text).is_err(), "{text}: {:?}", evaluate(text));
        }
        assert!(Expression::compile("power", "u *").is_err());
    }
}
