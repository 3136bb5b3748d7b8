//! The page of the results: each command replaces its own part of it.

use std::fs;
use std::path::Path;

use anyhow::Context as _;

/// Replaces the part of a document between the comments `<!-- NAME -->` and `<!-- end of NAME -->`.
///
/// # Errors
///
/// The document cannot be read or written, or has no such part.
pub(crate) fn replace(document: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let old = fs::read_to_string(document)
        .with_context(|| format!("cannot read {}", document.display()))?;
    let new = replaced(&old, name, text)
        .with_context(|| format!("{} has no part {name}", document.display()))?;
    fs::write(document, new).with_context(|| format!("cannot write {}", document.display()))
}

fn replaced(document: &str, name: &str, text: &str) -> Option<String> {
    let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = document.split_once(&start)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{start}\n{}\n\n{end}{after}", text.trim()))
}

/// Prints a text and, if a document is named, writes it there.
#[expect(clippy::print_stdout, reason = "a benchmark prints its result")]
pub(crate) fn publish(document: Option<&Path>, name: &str, text: &str) -> anyhow::Result<()> {
    println!("{}", text.trim());
    document.map_or(Ok(()), |document| replace(document, name, text))
}

/// Prints what happens, for the person who waits.
#[expect(clippy::print_stderr, reason = "a benchmark that takes an hour shows its progress")]
pub(crate) fn progress(text: &str) {
    eprintln!("{text}");
}

/// Returns a table in Markdown: the first column is text, and the others are figures.
pub(crate) fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rule = head.iter().enumerate().map(|(column, _)| if column == 0 { "---" } else { "---:" });
    let rule: Vec<String> = rule.map(str::to_owned).collect();
    let mut table = line(head) + &line(&rule);
    table.extend(rows.iter().map(|row| line(row)));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_only_the_named_part() {
        let old = "# A\n<!-- a -->\nold\n<!-- end of a -->\n<!-- b -->\n<!-- end of b -->\n";
        let new = replaced(old, "a", "new\n").unwrap();
        let part = "<!-- a -->\n\nnew\n\n<!-- end of a -->";
        assert_eq!(new, format!("# A\n{part}\n<!-- b -->\n<!-- end of b -->\n"));
        assert_eq!(replaced(&new, "a", "new").unwrap(), new);
        assert_eq!(replaced(old, "c", "new"), None);
    }

    #[test]
    fn writes_a_table() {
        let cells = ["a", "1"].map(str::to_owned);
        assert_eq!(table(&cells, &[cells.to_vec()]), "| a | 1 |\n| --- | ---: |\n| a | 1 |\n");
    }
}
