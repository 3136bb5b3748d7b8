//! Determines what a patch deletes.
//!
//! Its lists of tags and attributes replace the old ones, and the data of a removed attribute is
//! deleted.

use serde_json::{Value, json};

use tidegate_losant::body::{Attribute, DevicePatch, Tag};

/// The members of an attribute besides name and type (schema `deviceAttribute`).
const DETAILS: [&str; 4] = ["contentType", "description", "attributeTags", "system"];

/// Returns what `device`, an answer of `get`, loses by `patch`, in words.
pub(super) fn losses(device: &Value, patch: &DevicePatch) -> Vec<String> {
    let old =
        |key| device.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let attributes = patch
        .attributes
        .iter()
        .flat_map(|new| old("attributes").iter().flat_map(|old| attribute_losses(old, new)));
    let tags =
        patch.tags.iter().flat_map(|new| old("tags").iter().filter_map(|old| tag_loss(old, new)));
    attributes.chain(tags).collect()
}

fn attribute_losses(old: &Value, new: &[Attribute]) -> Vec<String> {
    let (name, kind) = (text(old, "name"), text(old, "dataType"));
    let new = new.iter().find(|attribute| *attribute.name == *name);
    // Escaped, so that text from Losant cannot control the terminal.
    let (name, kind) = (name.escape_debug(), kind.escape_debug());
    let Some(new) = new.map(|new| json!(new)) else {
        return vec![format!("attribute {name} ({kind}) with its data")];
    };
    let new_kind = text(&new, "dataType");
    if new_kind != text(old, "dataType") {
        return vec![format!("the data of attribute {name}, which becomes {new_kind} from {kind}")];
    }
    let is_lost =
        |key: &&&str| old.get(**key).is_some_and(is_something) && new.get(**key).is_none();
    DETAILS.iter().filter(is_lost).map(|key| format!("{key} of attribute {name}")).collect()
}

fn tag_loss(old: &Value, new: &[Tag]) -> Option<String> {
    let (key, value) = (text(old, "key"), text(old, "value"));
    let is_kept = new.iter().any(|tag| *tag.key == *key && tag.value.to_string() == value);
    (!is_kept).then(|| format!("tag {}={value:?}", key.escape_debug()))
}

fn text<'a>(json: &'a Value, key: &str) -> &'a str {
    json.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn is_something(json: &Value) -> bool {
    !matches!(json, Value::Null) && *json != json!("") && *json != json!({})
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_losant::body::parse;

    fn lost(patch: &str) -> Vec<String> {
        let device = json!({
            "name": "Shed",
            "attributes": [
                {"name": "temp", "dataType": "number", "description": "in the shade", "_type": "x"},
                {"name": "door", "dataType": "boolean", "description": ""},
            ],
            "tags": [{"key": "room", "value": "shed"}, {"key": "room", "value": "\u{1b}[2J"}],
        });
        losses(&device, &parse(patch).unwrap())
    }

    #[test]
    fn omitted_entries_are_lost() {
        assert_eq!(
            lost(r#"{"attributes": []}"#),
            ["attribute temp (number) with its data", "attribute door (boolean) with its data"]
        );
        assert_eq!(
            lost(r#"{"tags": [{"key": "room", "value": "shed"}]}"#),
            ["tag room=\"\\u{1b}[2J\""],
            "control characters are escaped"
        );
    }

    #[test]
    fn changed_type_and_missing_detail_are_losses() {
        let patch = r#"{"attributes": [{"name": "temp", "dataType": "number"},
            {"name": "door", "dataType": "string"}]}"#;
        assert_eq!(
            lost(patch),
            [
                "description of attribute temp",
                "the data of attribute door, which becomes string from boolean"
            ]
        );
    }

    #[test]
    fn kept_and_added_entries_are_no_loss() {
        let patch = r#"{"name": "Hut", "attributes": [
            {"name": "temp", "dataType": "number", "description": "in the sun"},
            {"name": "door", "dataType": "boolean"}, {"name": "light", "dataType": "number"}]}"#;
        assert_eq!(lost(patch), [""; 0]);
        assert_eq!(lost(r#"{"name": "Hut"}"#), [""; 0]);
    }
}
