//! tidegate.toml(5), from the annotated defaults: a section for each table, an entry for each
//! option.

use roff::{Roff, bold, roman};

/// The page as roff.
pub(crate) fn page(defaults: &str) -> String {
    let mut roff = Roff::new();
    roff.control("TH", ["tidegate.toml", "5", "", "tidegate", "tidegate"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("tidegate.toml - the configuration of tidegate")]);
    roff.control("SH", ["DESCRIPTION"]);
    let mut comment = Comment::default();
    for line in defaults.lines() {
        match Line::of(line) {
            Line::Comment(text) => comment.add(text),
            Line::Rule(title) => {
                comment.flush(&mut roff);
                roff.control("SH", [title.to_uppercase().as_str()]);
            }
            Line::Table(table) => {
                let about = comment.take();
                roff.control("SS", [table]);
                for paragraph in about {
                    roff.control("PP", []).text([roman(paragraph)]);
                }
            }
            Line::Option(option) => {
                let about = comment.take();
                roff.control("TP", []);
                roff.text([bold(option)]);
                roff.text([roman(about.join(" "))]);
            }
            Line::Example(example) => {
                comment.flush(&mut roff);
                roff.control("nf", []).text([roman(example)]).control("fi", []);
            }
            Line::Blank => comment.flush(&mut roff),
        }
    }
    comment.flush(&mut roff);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([bold("tidegate"), roman("(1)")]);
    roff.to_roff()
}

/// What one line of the defaults is.
enum Line<'a> {
    Blank,
    /// `# Words.`
    Comment(&'a str),
    /// `# ------ Buses`
    Rule(&'a str),
    /// `[outbox]`
    Table(&'a str),
    /// `size_max = "256 MiB"`, also behind a `#`.
    Option(&'a str),
    /// A line of a table that is there only as an example.
    Example(&'a str),
}

impl<'a> Line<'a> {
    fn of(line: &'a str) -> Self {
        if line.starts_with("#:") {
            // It is for editors.
            return Self::Blank;
        }
        let Some(text) = line.strip_prefix('#').map(|text| text.strip_prefix(' ').unwrap_or(text))
        else {
            return match line {
                "" => Self::Blank,
                table if table.starts_with('[') => Self::Table(table.trim_matches(['[', ']'])),
                option => Self::Option(option),
            };
        };
        if let Some(title) = text.strip_prefix("---") {
            return Self::Rule(title.trim_start_matches('-').trim());
        }
        match text.chars().next() {
            Some('[' | ' ' | ']' | '}') => Self::Example(text),
            Some(_) if is_option(text) && text.contains("  #") => Self::Example(text),
            Some(_) if is_option(text) => Self::Option(text),
            Some(_) | None => Self::Comment(text),
        }
    }
}

/// Whether a text is `key = value` and no sentence.
fn is_option(text: &str) -> bool {
    let Some((key, _)) = text.split_once(" = ") else { return false };
    key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
}

/// Comment lines until it is known what they belong to.
#[derive(Default)]
struct Comment(Vec<String>);

impl Comment {
    fn add(&mut self, text: &str) {
        self.0.push(text.to_owned());
    }

    fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.0)
    }

    fn flush(&mut self, roff: &mut Roff) {
        let text = self.take().join(" ");
        if !text.trim().is_empty() {
            roff.control("PP", []).text([roman(text)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_and_option_of_the_defaults_has_its_place() {
        let page =
            page("# Words\n# on it.\n\n[outbox]\n# Where it is.\npath = \"/var\"\n# spare = 1\n");
        let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text} in {page}"));
        assert!(at("Words on it.") < at(".SS outbox"));
        assert!(at(".SS outbox") < at("path = "));
        assert!(at("path = ") < at("Where it is."));
        assert!(at("Where it is.") < at("spare = 1"));
    }
}
