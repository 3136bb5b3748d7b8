//! Hexadecimal digits in upper or lower case.

/// Returns the number of up to eight digits; `None` for anything else.
pub(crate) fn number(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` accepts a sign, which is not a digit.
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

/// Decodes pairs of digits; `None` for anything else.
pub(crate) fn bytes(digits: &[u8]) -> Option<Vec<u8>> {
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.chunks(2).map(|pair| number(pair).and_then(|byte| u8::try_from(byte).ok())).collect()
}
