//! Topic filters and topics as an operator writes them: mistakes that MQTT allows, but that match
//! nothing.

use super::check::Check;
use tidegate_model::topic::{TopicFilter, check_topic};

/// Parses the filter of a sensor.
pub(super) fn filter(key: &str, text: &str, check: &mut Check<'_>) -> Option<TopicFilter> {
    if let Some((what, fix)) = outer_blank(text).or_else(|| template(text)) {
        check.problems.add(key, what, fix);
        return None;
    }
    check.parsed(key, text)
}

/// Checks the filter of a sensor on an MQTT bus. On other buses a topic is a path or a name.
pub(super) fn check_mqtt_filter(key: &str, filter: &TopicFilter, check: &mut Check<'_>) {
    let text = filter.as_str();
    if text.contains("://") {
        let fix = "give the topic alone: topic = \"sensors/+/climate\"";
        return check.problems.add(key, format!("\"{text}\" is a URL"), fix);
    }
    if text.contains('*') {
        let suggestion: Vec<_> =
            text.split('/').map(|level| if level.contains('*') { "+" } else { level }).collect();
        let fix = format!(
            "+ is any one level, and # at the end is all further levels: topic = \"{}\"",
            suggestion.join("/")
        );
        return check.problems.add(key, format!("\"{text}\": * is not a wildcard of MQTT"), fix);
    }
    let inner = text.strip_prefix('/').unwrap_or(text);
    if text.len() > 1 && inner.split('/').any(str::is_empty) {
        let what = format!("\"{text}\" has an empty level, which no usual topic has");
        let fix = "remove the / too many; + matches an empty level, too";
        check.problems.add(key, what, fix);
    } else if text.len() > 1 && text.starts_with('/') {
        let what = format!("\"{text}\" begins with /, and does not match \"{inner}\"");
        check.problems.warn(key, what, "remove the / unless the topics begin with it, too");
    }
    if text.split('/').any(|level| level != level.trim()) {
        let what = format!("\"{text}\" has a blank at the start or end of a level");
        check.problems.warn(key, what, "remove it unless the topics have it, too");
    }
}

/// Checks a topic to which a message is published, or on which exactly one device answers.
pub(super) fn check_published(key: &str, topic: &str, check: &mut Check<'_>) {
    if let Some((what, fix)) = outer_blank(topic).or_else(|| template(topic)) {
        return check.problems.add(key, what, fix);
    }
    let fix = "name one topic";
    if let Err(error) = check_topic(topic) {
        return check.problems.add(key, error, fix);
    }
    if topic.contains('*') {
        return check.problems.add(key, format!("\"{topic}\" holds *"), fix);
    }
    if topic.len() > 1 && topic.trim_start_matches('/').split('/').any(str::is_empty) {
        let what = format!("\"{topic}\" has an empty level");
        check.problems.warn(key, what, "remove the / too many");
    }
}

/// Checks the fixed parts of a topic template.
pub(super) fn check_template(key: &str, text: &str, check: &mut Check<'_>) {
    if let Some((what, fix)) = outer_blank(text) {
        return check.problems.add(key, what, fix);
    }
    let fixed = without_blocks(text);
    if fixed.contains(['+', '#', '*']) {
        let what = format!("\"{text}\" holds a wildcard; a message is published to one topic");
        check.problems.add(key, what, "write a template in place of the wildcard");
    } else if fixed == text && !text.is_empty() {
        check_published(key, text, check);
    }
}

/// Returns a template with `x` in place of each block.
fn without_blocks(text: &str) -> String {
    let (mut fixed, mut rest) = (String::new(), text);
    while let Some((start, close)) = [("{{", "}}"), ("{%", "%}"), ("{#", "#}")]
        .iter()
        .filter_map(|(open, close)| Some((rest.find(open)?, *close)))
        .min()
    {
        fixed.extend([rest.get(..start).unwrap_or_default(), "x"]);
        let block = rest.get(start..).unwrap_or_default();
        let Some(end) = block.find(close) else { return fixed };
        rest = block.get(end + close.len()..).unwrap_or_default();
    }
    fixed + rest
}

fn outer_blank(text: &str) -> Option<(String, String)> {
    let trimmed = text.trim();
    (trimmed != text && !trimmed.is_empty()).then(|| {
        let what = format!("{text:?} begins or ends with a blank");
        (what, format!("write it without: \"{trimmed}\""))
    })
}

fn template(text: &str) -> Option<(String, String)> {
    (text.contains("{{") || text.contains("{%")).then(|| {
        let what = format!("\"{text}\" is a template, and this topic is fixed");
        (what, "write + for one level of any name, or name the topic".to_owned())
    })
}

/// Returns whether a topic exists that both filters match.
pub(super) fn overlap(one: &TopicFilter, other: &TopicFilter) -> bool {
    let (mut one, mut other) = (one.as_str().split('/'), other.as_str().split('/'));
    loop {
        match (one.next(), other.next()) {
            (None, None) | (Some("#"), _) | (_, Some("#")) => return true,
            (Some(one), Some(other)) if one == "+" || other == "+" || one == other => {}
            (_, _) => return false,
        }
    }
}

/// Returns the number of levels that a topic of this filter has; `None` for any number.
pub(super) fn levels(filter: &TopicFilter) -> Option<usize> {
    let text = filter.as_str();
    let is_open = text == "#" || text.ends_with("/#");
    (!is_open).then(|| text.split('/').count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> TopicFilter {
        text.parse().unwrap()
    }

    #[test]
    fn overlapping_filters_are_found() {
        for (one, other, expected) in [
            ("a/b", "a/b", true),
            ("a/+", "a/b", true),
            ("a/+/c", "a/b/+", true),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("#", "x/y", true),
            ("a/+", "a/b/c", false),
            ("a/b", "a/c", false),
            ("+/b", "a/c", false),
        ] {
            assert_eq!(overlap(&parse(one), &parse(other)), expected, "{one} {other}");
            assert_eq!(overlap(&parse(other), &parse(one)), expected, "{other} {one}");
        }
    }

    #[test]
    fn levels_are_counted() {
        assert_eq!(levels(&parse("a/+")), Some(2));
        assert_eq!(levels(&parse("a/#")), None);
        assert_eq!(levels(&parse("#")), None);
    }

    #[test]
    fn blocks_of_a_template_are_removed() {
        assert_eq!(without_blocks("a/{{ payload['#'] }}/{% if x %}b{% endif %}"), "a/x/xbx");
        assert_eq!(without_blocks("a/+"), "a/+");
        assert_eq!(without_blocks("a/{{ x"), "a/x");
    }
}
