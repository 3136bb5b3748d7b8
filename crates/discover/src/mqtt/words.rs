//! Recognises words and texts by their form.

/// Returns whether a text begins with a code of a meter and a parenthesis, such as `6.8(` or
/// `1-0:1.8.0*255(`.
pub(super) fn is_data_set(text: &str) -> bool {
    let code = text.split_once('(').map_or("", |(code, _)| code);
    let is_part = |letter: u8| letter.is_ascii_alphanumeric() || b".:-*&".contains(&letter);
    let starts = code.starts_with(|letter: char| letter.is_ascii_digit() || "CFL".contains(letter));
    starts && code.contains('.') && code.bytes().all(is_part)
}

/// Returns whether a text is a number with a usual unit, such as `24.0°C`, which `type = "number"`
/// reads. `27C` may be hexadecimal digits.
pub(super) fn is_measurement(text: &str) -> bool {
    const UNITS: [&str; 24] = [
        "°C", "°F", "C", "%", "°", "V", "mV", "A", "mA", "W", "kW", "Wh", "kWh", "Hz", "kg", "g",
        "m", "mm", "m/s", "km/h", "Pa", "hPa", "bar", "ppm",
    ];
    let end = text.find(|letter: char| !letter.is_ascii_digit() && !"+-.".contains(letter));
    let Some((number, unit)) = end.and_then(|end| text.split_at_checked(end)) else { return false };
    let is_hex = unit.bytes().all(|byte| byte.is_ascii_hexdigit()) && !number.contains('.');
    UNITS.contains(&unit.trim()) && !is_hex && number.parse::<f64>().is_ok()
}

/// Returns whether a text is `LATITUDE,LONGITUDE` in degrees with decimals.
///
/// Losant's gps attributes have this format (devices/attributes, "gps").
pub(super) fn is_position(text: &str) -> bool {
    let degrees = |text: &str, max: f64| {
        text.contains('.') && text.trim().parse().is_ok_and(|number: f64| number.abs() <= max)
    };
    let parts = text.split_once(',');
    parts.is_some_and(|(latitude, longitude)| degrees(latitude, 90.0) && degrees(longitude, 180.0))
}
