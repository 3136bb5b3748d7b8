//! The walls: what each crate may depend on, as its manifest says.

use crate::report;
use crate::sources::read;

/// The crates that do no IO and read no clock.
const PURE: &[&str] =
    &["model", "template", "modbus", "timing", "ingest", "delivery", "commands", "discover"];

/// Crates that do IO, read a clock or hold a store. A pure crate depends on none of them.
const IMPURE: &[&str] = &[
    "hyper",
    "reqwest",
    "rumqttc",
    "rustix",
    "sled",
    "tokio",
    "tokio-modbus",
    "tokio-serial",
    "tokio-util",
    "tidegate-runtime",
];

/// Returns the names in a table of a manifest, such as `dependencies`.
fn dependencies(manifest: &str, table: &str) -> Vec<String> {
    let manifest: toml::Table = manifest.parse().unwrap();
    let table = manifest.get(table).and_then(toml::Value::as_table).cloned();
    table.unwrap_or_default().keys().cloned().collect()
}

#[test]
fn pure_crates_depend_on_no_io() {
    let mut offences = Vec::new();
    for name in PURE {
        let path = format!("crates/{name}/Cargo.toml");
        for dependency in dependencies(&read(&path), "dependencies") {
            let ours = dependency.strip_prefix("tidegate-");
            let is_pure = ours.is_none_or(|ours| PURE.contains(&ours));
            if !is_pure || IMPURE.contains(&dependency.as_str()) {
                offences.push(format!("{path}: a pure crate depends on {dependency}"));
            }
        }
    }
    report(&offences);
}

#[test]
fn sandbox_depends_on_no_crate_of_the_daemon() {
    let manifest = read("sandbox/Cargo.toml");
    let names = ["dependencies", "dev-dependencies"].map(|table| dependencies(&manifest, table));
    let ours = names.into_iter().flatten().filter(|name| name.starts_with("tidegate"));
    report(&ours.collect::<Vec<_>>());
}

#[test]
fn finds_dependencies_by_table() {
    let manifest = "[dependencies]\ntokio = \"1\"\n[dev-dependencies]\nrand = \"1\"";
    assert_eq!(dependencies(manifest, "dependencies"), ["tokio"]);
}
