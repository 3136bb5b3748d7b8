//! Generates values from a schema: most are valid, a few are not.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::TryRng;
use rand::rngs::SysRng;
use serde_json::{Map, Value, json};

/// Returns the seed in the variable `SEED`, or a random one.
pub(crate) fn seed() -> u64 {
    match std::env::var("SEED") {
        Ok(seed) => seed.parse().expect("SEED must be an integer"),
        Err(_) => SysRng.try_next_u64().unwrap(),
    }
}

/// Returns `count` values of a strategy; the same seed gives the same values.
pub(crate) fn sample<T>(strategy: &impl Strategy<Value = T>, seed: u64, count: usize) -> Vec<T> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// Generates a value by the schema, or in one case of twelve any value.
pub(crate) fn value(schema: &Value) -> BoxedStrategy<Value> {
    if schema.get("format").is_some() {
        // Validators differ in how they check formats, so these values are always valid.
        return exact(schema);
    }
    prop_oneof![11 => exact(schema), 1 => anything()].boxed()
}

fn exact(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(choices) = schema["enum"].as_array() {
        return select(choices.clone()).boxed();
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return one_of(choices.iter().map(value).collect());
    }
    match &schema["type"] {
        Value::Array(types) => one_of(types.iter().map(|name| typed(name, schema)).collect()),
        name @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Object(_)) => typed(name, schema),
    }
}

fn one_of(choices: Vec<BoxedStrategy<Value>>) -> BoxedStrategy<Value> {
    proptest::strategy::Union::new(choices).boxed()
}

fn typed(name: &Value, schema: &Value) -> BoxedStrategy<Value> {
    match name.as_str() {
        Some("object") => object(schema),
        Some("array") => vec(value(&schema["items"]), 0..4).prop_map(Value::Array).boxed(),
        Some("string") => string(schema),
        Some("integer") => number(schema, false),
        Some("number") => number(schema, true),
        Some("boolean") => any::<bool>().prop_map(Value::Bool).boxed(),
        Some("null") => Just(Value::Null).boxed(),
        _ => anything(),
    }
}

/// Generates objects: 97 % have a required property, 40 % an optional one, 5 % an unknown one.
fn object(schema: &Value) -> BoxedStrategy<Value> {
    let required = schema["required"].as_array().cloned().unwrap_or_default();
    let mut fields: Vec<BoxedStrategy<Option<(String, Value)>>> = Vec::new();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let probability = if required.contains(&json!(name)) { 0.97 } else { 0.4 };
        let name = name.clone();
        let field = value(schema).prop_map(move |value| (name.clone(), value));
        fields.push(proptest::option::weighted(probability, field).boxed());
    }
    for (pattern, schema) in schema["patternProperties"].as_object().into_iter().flatten() {
        let name = matching(pattern);
        for _ in 0..3 {
            fields.push(proptest::option::of((name.clone(), value(schema))).boxed());
        }
    }
    let extra = ("[a-z $.é]{0,3}", anything());
    fields.push(proptest::option::weighted(0.05, extra).boxed());
    fields
        .prop_map(|fields| Value::Object(fields.into_iter().flatten().collect::<Map<_, _>>()))
        .boxed()
}

fn matching(pattern: &str) -> BoxedStrategy<String> {
    // The generator ignores anchors, and `\d` must match only ASCII digits.
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$').replace(r"\d", "0-9");
    let short = pattern.replace("{1,255}", "{1,3}");
    let long = pattern.replace("{1,255}", "{255,256}");
    let matching = |pattern: &str| proptest::string::string_regex(pattern).unwrap();
    prop_oneof![15 => matching(&short), 1 => matching(&long)].boxed()
}

fn string(schema: &Value) -> BoxedStrategy<Value> {
    if let Some(pattern) = schema["pattern"].as_str() {
        return matching(pattern).prop_map(Value::String).boxed();
    }
    match schema["format"].as_str() {
        Some("uri") => return Just(json!("http://127.0.0.1:9/")).boxed(),
        Some("email") => return Just(json!("someone@example.com")).boxed(),
        _ => {}
    }
    // Lengths at the limits, with characters of one and of several bytes.
    let limit = |name: &str| schema[name].as_u64().and_then(|limit| usize::try_from(limit).ok());
    let lengths = [limit("minLength"), limit("maxLength"), Some(1)].into_iter().flatten();
    let lengths = lengths.flat_map(|length| [length.saturating_sub(1), length, length + 1]);
    let lengths = lengths.collect::<Vec<_>>();
    let letter = select(vec!['a', 'é', '😀', '"', '\n', ' ']);
    (select(lengths), letter)
        .prop_map(|(length, letter)| Value::String(letter.to_string().repeat(length)))
        .boxed()
}

fn number(schema: &Value, fractions: bool) -> BoxedStrategy<Value> {
    let limits = ["minimum", "maximum"].iter().filter_map(|name| schema[name].as_i64());
    let mut near = limits.flat_map(|limit| [limit - 1, limit, limit + 1]).collect::<Vec<_>>();
    near.push(7);
    let integer = select(near).prop_map(|number| json!(number));
    // In JSON Schema 7.0 is an integer.
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    let integral_float = (0..4000_i64).prop_map(|number| json!(number as f64));
    let float = any::<f64>().prop_filter("JSON numbers are finite", |number| number.is_finite());
    let float = float.prop_map(|number| json!(number));
    let weight = if fractions { 5 } else { 1 };
    prop_oneof![8 => integer, 2 => integral_float, weight => float].boxed()
}

fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|number| json!(number)),
        "[ -~]{0,3}".prop_map(Value::String),
        Just(json!({"$date": "2026-05-01T10:00:00.000Z"})),
        Just(json!({"$date": 5})),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::Array),
            vec(("[a-z]{1,3}", inner), 0..3).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
    .boxed()
}
