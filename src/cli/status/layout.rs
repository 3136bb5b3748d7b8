//! Lays text out for a terminal: wraps lines, aligns tables, and colours lines.
//!
//! Nothing is cut at the right edge: text that is too wide is wrapped, and a word that is wider
//! than the screen is broken.

/// Keeps two words on one line; it is printed as a blank.
pub(super) const GLUE: char = '\u{a0}';

/// The gap between two columns of a table.
const GAP: usize = 2;

/// The narrowest width to which a wide column is reduced.
const COLUMN_MIN: usize = 10;

/// The narrowest screen that is laid out for.
const SCREEN_MIN: usize = 20;

/// The look of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Style {
    #[default]
    Plain,
    Heading,
    Good,
    Warning,
    Bad,
    Faint,
}

impl Style {
    /// Returns the parameter of the control sequence (ECMA-48, SGR).
    fn parameter(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Heading => "1",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "1;31",
            Self::Faint => "2",
        }
    }
}

#[derive(Debug)]
struct Line {
    text: String,
    style: Style,
}

/// A page for a screen with a number of columns.
#[derive(Debug)]
pub(super) struct Page {
    columns: usize,
    lines: Vec<Line>,
}

/// A row of a table.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) cells: Vec<String>,
    pub(super) style: Style,
    /// Lines below the row.
    pub(super) notes: Vec<String>,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    /// Text, which may be wrapped.
    Left(&'static str),
    /// A number, which is not wrapped.
    Right(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Left(title) | Self::Right(title) => title,
        }
    }
}

impl Page {
    pub(super) fn new(columns: usize) -> Self {
        Self { columns: columns.max(SCREEN_MIN), lines: Vec::new() }
    }

    /// Adds an empty line.
    pub(super) fn gap(&mut self) {
        self.add("", Style::Plain);
    }

    fn add(&mut self, text: &str, style: Style) {
        let text = text.trim_end().replace(GLUE, " ");
        self.lines.push(Line { text, style });
    }

    /// Adds a text after `label`. Its further lines are indented as far as the first one.
    pub(super) fn text(&mut self, label: &str, text: &str, style: Style) {
        let width = label.chars().count();
        let mut label = label.to_owned();
        for line in wrapped(text, self.columns.saturating_sub(width)) {
            self.add(&format!("{label}{line}"), style);
            label = " ".repeat(width);
        }
    }

    /// Adds a table, after an empty line. Adds nothing without rows.
    ///
    /// Wide columns with text are reduced until the table fits. If it still does not fit, each row
    /// becomes a paragraph.
    pub(super) fn table(&mut self, columns: &[Column], rows: &[Row]) {
        if rows.is_empty() {
            return;
        }
        self.gap();
        let titles = Row {
            cells: columns.iter().map(|column| column.title().to_owned()).collect(),
            style: Style::Heading,
            notes: Vec::new(),
        };
        let widths = self.widths(columns, std::iter::once(&titles).chain(rows));
        if let Some(widths) = &widths {
            self.row(columns, widths, &titles);
        }
        for row in rows {
            match &widths {
                Some(widths) => self.row(columns, widths, row),
                None => self.paragraph(columns, row),
            }
        }
    }

    /// Returns the widths of the columns; `None` if the table does not fit.
    fn widths<'a>(
        &self,
        columns: &[Column],
        rows: impl Iterator<Item = &'a Row>,
    ) -> Option<Vec<usize>> {
        let mut widths = vec![0; columns.len()];
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(&row.cells) {
                *width = cell.chars().count().max(*width);
            }
        }
        let room = self.columns.saturating_sub(GAP * columns.len().saturating_sub(1));
        loop {
            let sum = widths.iter().sum::<usize>();
            let excess = sum.saturating_sub(room);
            if excess == 0 {
                return Some(widths);
            }
            let texts = widths.iter_mut().zip(columns);
            let texts = texts.filter(|(_, column)| matches!(column, Column::Left(_)));
            let widest = texts.map(|(width, _)| width).max()?;
            if *widest <= COLUMN_MIN {
                return None;
            }
            *widest -= 1;
        }
    }

    fn row(&mut self, columns: &[Column], widths: &[usize], row: &Row) {
        let cells = row.cells.iter().zip(widths).map(|(cell, width)| wrapped(cell, *width));
        let cells: Vec<_> = cells.collect();
        let height = cells.iter().map(Vec::len).max().unwrap_or_default();
        for line in 0..height {
            let mut text = String::new();
            for ((column, width), cell) in columns.iter().zip(widths).zip(&cells) {
                let part = cell.get(line).map(String::as_str).unwrap_or_default();
                let width = *width;
                let cell = match column {
                    Column::Left(_) => format!("{part:<width$}"),
                    Column::Right(_) => format!("{part:>width$}"),
                };
                text.extend([cell, " ".repeat(GAP)]);
            }
            self.add(&text, row.style);
        }
        self.notes(&row.notes);
    }

    fn paragraph(&mut self, columns: &[Column], row: &Row) {
        let mut cells = row.cells.iter().zip(columns);
        if let Some((name, _)) = cells.next() {
            self.text("", name, row.style);
        }
        let glued = |text: &str| text.replace(' ', "\u{a0}");
        let cells = cells.map(|(cell, column)| {
            format!("{}{GLUE}{}", glued(&column.title().to_lowercase()), glued(cell))
        });
        self.text("  ", &cells.collect::<Vec<_>>().join(", "), row.style);
        self.notes(&row.notes);
    }

    fn notes(&mut self, notes: &[String]) {
        for note in notes {
            self.text("    ", note, Style::Faint);
        }
    }

    /// Returns the page with at most `lines_max` lines. The last one counts those left out.
    pub(super) fn render(self, lines_max: usize, has_color: bool) -> String {
        let count = self.lines.len();
        let shown = if count > lines_max { lines_max.saturating_sub(1) } else { count };
        let mut page = String::new();
        for Line { text, style } in self.lines.into_iter().take(shown) {
            match style.parameter() {
                parameter if has_color && !parameter.is_empty() && !text.is_empty() => {
                    page.extend(["\x1b[", parameter, "m", &text, "\x1b[0m\n"]);
                }
                _ => page.extend([&text, "\n"]),
            }
        }
        if shown < count {
            page.extend([format!("({} more lines)\n", count - shown)]);
        }
        page
    }
}

/// Wraps a text into lines of at most `columns` characters, at least one line.
fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = vec![String::new()];
    let words = text.split(' ').filter(|word| !word.is_empty());
    for word in words {
        let length = word.chars().count();
        let used = lines.last().map_or(0, |line| line.chars().count());
        match lines.last_mut() {
            Some(line) if used == 0 && length <= columns => line.push_str(word),
            Some(line) if used + 1 + length <= columns => line.extend([" ", word]),
            Some(_) | None if length <= columns => lines.push(word.to_owned()),
            Some(_) | None => break_word(word, columns, &mut lines),
        }
    }
    lines
}

/// Adds a word that is wider than a line, in pieces.
fn break_word(word: &str, columns: usize, lines: &mut Vec<String>) {
    let characters: Vec<_> = word.chars().collect();
    lines.pop_if(|line| line.is_empty());
    lines.extend(characters.chunks(columns).map(|piece| piece.iter().collect::<String>()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wraps_words_and_breaks_long_ones() {
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("a abcdefgh i", 3), ["a", "abc", "def", "gh", "i"]);
        assert_eq!(wrapped("1\u{a0}one 2\u{a0}two", 6), ["1\u{a0}one", "2\u{a0}two"]);
        assert_eq!(wrapped("", 6), [""]);
    }

    #[test]
    fn wide_text_column_is_wrapped_in_its_cells() {
        let mut page = Page::new(30);
        let columns = [Column::Left("NAME"), Column::Left("VALUE"), Column::Right("COUNT")];
        let cells = ["a", "text that is far too long", "7"].map(str::to_owned).into();
        page.table(&columns, &[Row { cells, ..Row::default() }]);
        let expected = "\nNAME  VALUE              COUNT\na     text that is far       7\n      \
                        too long\n";
        assert_eq!(page.render(usize::MAX, false), expected);
    }

    #[test]
    fn table_that_does_not_fit_becomes_paragraphs() {
        let mut page = Page::new(20);
        let columns = [Column::Left("NAME"), Column::Right("COUNT"), Column::Right("OTHER")];
        let cells = ["name", "123,456,789", "987,654,321"].map(str::to_owned).into();
        page.table(&columns, &[Row { cells, ..Row::default() }]);
        let expected = "\nname\n  count 123,456,789,\n  other 987,654,321\n";
        assert_eq!(page.render(usize::MAX, false), expected);
    }

    #[test]
    fn colour_is_added_on_request_only() {
        let page = || {
            let mut page = Page::new(80);
            page.text("", "fine", Style::Good);
            page
        };
        assert_eq!(page().render(1, true), "\x1b[32mfine\x1b[0m\n");
        assert_eq!(page().render(1, false), "fine\n");
    }
}
