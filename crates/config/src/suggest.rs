//! "Did you mean": the known word that is most like an unknown one.

/// How alike two words must be, 0 to 1, for the one to be taken for the other.
const LIKENESS_MIN: f64 = 0.75;

/// The likeliest of the known words, if there is one that can be meant.
pub(super) fn likeliest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let alike = known.into_iter().map(|known| (strsim::jaro_winkler(known, word), known));
    let likely = alike.filter(|(likeness, _)| *likeness >= LIKENESS_MIN);
    likely.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

/// A question, if the word is likely a slip of the pen, else `otherwise`.
pub(super) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    likeliest(word, known).map_or_else(otherwise, |likely| format!("did you mean \"{likely}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_another_word_is_not() {
        assert_eq!(likeliest("buad_rate", ["path", "baud_rate"]), Some("baud_rate"));
        assert_eq!(likeliest("colour", ["path", "baud_rate"]), None);
        assert_eq!(did_you_mean("colour", ["path"], || "use path".to_owned()), "use path");
    }
}
