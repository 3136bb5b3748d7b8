//! Conversions of counts, the median, and the text of a figure.

/// Returns a count as a number with a fraction. Counts above 2^53 lose their last digits.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are below 2^53")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// Returns the whole part of a positive number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a negative number becomes 0, and a number above the range its limit"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number as u64
}

/// Returns the median, or `None` without figures. Of an even number of figures it is the upper one
/// of the two in the middle.
pub(crate) fn median(figures: &[f64]) -> Option<f64> {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied()
}

/// Returns a figure with three digits, or with all digits before the point.
pub(crate) fn text(figure: f64) -> String {
    let decimals = match figure.abs() {
        size if size >= 100.0 || size.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let digits = format!("{figure:.decimals$}");
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left % 3 == 0 && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if fraction.is_empty() { grouped } else { format!("{grouped}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_figure_in_the_middle() {
        assert_eq!(median(&[3.0, 100.0, 1.0]), Some(3.0));
        assert_eq!(median(&[2.0, 1.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn writes_three_digits() {
        let texts = [0.0, 0.054, 7.0, 12.34, 123.4, 1_234_567.0, -1_000.0].map(text);
        assert_eq!(texts, ["0", "0.05", "7", "12.3", "123", "1,234,567", "-1,000"]);
    }
}
