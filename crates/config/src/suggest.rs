//! "Did you mean": the known word that is most similar to an unknown one.

/// The minimum similarity of a suggestion, 0 to 1.
const LIKENESS_MIN: f64 = 0.75;

/// Returns the most similar known word, if one is similar enough.
pub(super) fn most_similar<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    most_similar_above(LIKENESS_MIN, word, known)
}

/// Returns the most similar known word whose similarity, 0 to 1, is at least `likeness_min`.
pub(super) fn most_similar_above<'a>(
    likeness_min: f64,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let alike = known.into_iter().map(|known| (strsim::jaro_winkler(known, word), known));
    let likely = alike.filter(|(likeness, _)| *likeness >= likeness_min);
    likely.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

/// Returns a question with the most similar word, or else `otherwise`.
pub(super) fn did_you_mean<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
    otherwise: impl FnOnce() -> String,
) -> String {
    most_similar(word, known).map_or_else(otherwise, |likely| format!("did you mean \"{likely}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_similar_words_are_suggested() {
        assert_eq!(most_similar("buad_rate", ["path", "baud_rate"]), Some("baud_rate"));
        assert_eq!(most_similar("colour", ["path", "baud_rate"]), None);
        assert_eq!(did_you_mean("colour", ["path"], || "use path".to_owned()), "use path");
    }
}
