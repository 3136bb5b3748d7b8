//! Units of measurement and the conversions between them.

/// A unit of measurement. A number has the value `(number + shift) × factor` in the base unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit {
    quantity: &'static str,
    factor: f64,
    shift: f64,
}

/// The conversion of numbers from one unit to another unit of the same quantity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitConversion {
    from: Unit,
    to: Unit,
}

impl Unit {
    /// Returns the unit with this symbol, such as `°C`, `hPa` or `km/h`.
    ///
    /// Symbols are case-sensitive: an upper-case M is mega, a lower-case m milli.
    pub fn named(name: &str) -> Option<Self> {
        let found = UNITS.iter().find(|(_, units)| units.iter().any(|(one, ..)| *one == name));
        let (quantity, units) = found?;
        let (_, factor, shift) = units.iter().find(|(one, ..)| *one == name)?;
        Some(Self { quantity, factor: *factor, shift: *shift })
    }

    /// Returns the symbol that is probably meant by a name, such as `°C` for `celsius` or `kWh` for
    /// `KWH`.
    pub fn suggest(name: &str) -> Option<&'static str> {
        let plain = |text: &str| -> String {
            let text = text.to_lowercase().replace('²', "2").replace('³', "3");
            text.chars().filter(|one| one.is_alphanumeric() || "%/°µ".contains(*one)).collect()
        };
        let wanted = plain(name);
        let singular = wanted.strip_suffix('s').filter(|text| text.len() > 2).unwrap_or(&wanted);
        let spelled = |word: &str| [&*wanted, singular].contains(&word);
        let by_name = NAMES.iter().find(|(_, names)| names.iter().any(|name| spelled(name)));
        let by_symbol = || Self::names().find(|symbol| spelled(&plain(symbol)));
        by_name.map(|(symbol, _)| *symbol).or_else(by_symbol)
    }

    /// Returns the names of units in lower case, such as `celsius`, each with its symbol.
    pub fn spelled_names() -> impl Iterator<Item = (&'static str, &'static str)> {
        NAMES.iter().flat_map(|(symbol, names)| names.iter().map(|name| (*name, *symbol)))
    }

    /// Returns the symbols of all units.
    pub fn names() -> impl Iterator<Item = &'static str> {
        UNITS.iter().flat_map(|(_, units)| units.iter().map(|(name, ..)| *name))
    }

    /// Returns the name of the measured quantity, such as `pressure`.
    pub fn quantity(self) -> &'static str {
        self.quantity
    }
}

impl UnitConversion {
    /// Creates the conversion; `None` if the units measure different quantities.
    pub fn between(from: Unit, to: Unit) -> Option<Self> {
        (from.quantity == to.quantity).then_some(Self { from, to })
    }

    /// Converts a number, and rounds the result to 12 digits to hide errors of the arithmetic.
    pub fn apply(self, number: f64) -> f64 {
        let base = (number + self.from.shift) * self.from.factor;
        rounded(base / self.to.factor - self.to.shift)
    }
}

/// Rounds to 12 digits, which hides errors of the arithmetic: 0.1 + 0.2 is 0.3.
pub(crate) fn rounded(number: f64) -> f64 {
    format!("{number:.11e}").parse().unwrap_or(number)
}

/// The names of units in lower case, without blanks and signs.
const NAMES: [(&str, &[&str]); 53] = [
    ("K", &["kelvin", "degk", "°k", "kel"]),
    (
        "°C",
        &[
            "celsius",
            "celcius",
            "degc",
            "degreec",
            "degreesc",
            "degreecelsius",
            "centigrade",
            "c",
            "grad",
            "ºc",
        ],
    ),
    (
        "°F",
        &["fahrenheit", "farenheit", "degf", "degreef", "degreesf", "degreefahrenheit", "f", "ºf"],
    ),
    ("Pa", &["pascal"]),
    ("hPa", &["hectopascal"]),
    ("mbar", &["millibar", "mb"]),
    ("kPa", &["kilopascal"]),
    ("bar", &["bars", "barg", "bara"]),
    ("MPa", &["megapascal"]),
    ("psi", &["psig", "psia", "lbf/in2", "poundspersquareinch"]),
    ("atm", &["atmosphere"]),
    ("mmHg", &["torr", "millimeterofmercury"]),
    ("inHg", &["inchofmercury"]),
    ("m", &["meter", "metre", "mtr"]),
    ("mm", &["millimeter", "millimetre"]),
    ("cm", &["centimeter", "centimetre"]),
    ("km", &["kilometer", "kilometre"]),
    ("in", &["inch", "inche"]),
    ("ft", &["foot", "feet"]),
    ("mi", &["mile"]),
    ("nmi", &["nauticalmile", "nm"]),
    ("m/s", &["meterpersecond", "metrepersecond", "mps", "meters/second"]),
    ("km/h", &["kmh", "kph", "kilometerperhour", "kilometers/hour"]),
    ("mph", &["mileperhour", "milesperhour", "mi/h"]),
    ("kn", &["knot", "kt"]),
    ("kg", &["kilogram", "kilo"]),
    ("g", &["gram", "gramme", "gr"]),
    ("t", &["tonne", "ton"]),
    ("lb", &["pound"]),
    ("oz", &["ounce"]),
    ("m³", &["cubicmeter", "cubicmetre", "cbm"]),
    ("L", &["liter", "litre", "ltr"]),
    ("mL", &["milliliter", "millilitre"]),
    ("gal", &["gallon"]),
    ("m³/h", &["cubicmeterperhour", "cubicmetersperhour"]),
    ("L/h", &["literperhour", "litresperhour", "lph"]),
    ("L/min", &["literperminute", "litresperminute", "lpm"]),
    ("L/s", &["literpersecond", "litrespersecond", "lps"]),
    ("gal/min", &["gpm", "gallonsperminute"]),
    ("J", &["joule"]),
    ("kJ", &["kilojoule"]),
    ("Wh", &["watthour"]),
    ("kWh", &["kilowatthour", "kw/h"]),
    ("MWh", &["megawatthour"]),
    ("W", &["watt"]),
    ("kW", &["kilowatt"]),
    ("hp", &["horsepower", "ps"]),
    ("V", &["volt"]),
    ("A", &["ampere", "amp"]),
    ("s", &["second", "sec"]),
    ("min", &["minute"]),
    ("h", &["hour", "hr"]),
    ("%", &["percent", "pct", "percentage", "rh", "%rh", "relativehumidity", "prozent"]),
];

/// The name of a quantity, and its units as symbol, factor and shift.
type Quantity = (&'static str, &'static [(&'static str, f64, f64)]);

/// All units. The factors are from NIST Special Publication 811, appendix B.
///
/// The first unit of each quantity is the base unit.
const UNITS: &[Quantity] = &[
    (
        "temperature",
        &[
            ("K", 1.0, 0.0),
            ("°C", 1.0, 273.15),
            ("C", 1.0, 273.15),
            ("°F", 5.0 / 9.0, 459.67),
            ("F", 5.0 / 9.0, 459.67),
        ],
    ),
    (
        "pressure",
        &[
            ("Pa", 1.0, 0.0),
            ("hPa", 100.0, 0.0),
            ("mbar", 100.0, 0.0),
            ("kPa", 1e3, 0.0),
            ("bar", 1e5, 0.0),
            ("MPa", 1e6, 0.0),
            ("psi", 6_894.757, 0.0),
            ("atm", 101_325.0, 0.0),
            ("mmHg", 133.322_4, 0.0),
            ("inHg", 3_386.389, 0.0),
        ],
    ),
    (
        "length",
        &[
            ("m", 1.0, 0.0),
            ("mm", 1e-3, 0.0),
            ("cm", 1e-2, 0.0),
            ("km", 1e3, 0.0),
            ("in", 0.025_4, 0.0),
            ("ft", 0.304_8, 0.0),
            ("mi", 1_609.344, 0.0),
            ("nmi", 1_852.0, 0.0),
        ],
    ),
    (
        "speed",
        &[
            ("m/s", 1.0, 0.0),
            ("km/h", 1.0 / 3.6, 0.0),
            ("mph", 0.447_04, 0.0),
            ("kn", 1_852.0 / 3_600.0, 0.0),
        ],
    ),
    (
        "mass",
        &[
            ("kg", 1.0, 0.0),
            ("g", 1e-3, 0.0),
            ("t", 1e3, 0.0),
            ("lb", 0.453_592_37, 0.0),
            ("oz", 0.028_349_523_125, 0.0),
        ],
    ),
    (
        "volume",
        &[
            ("m³", 1.0, 0.0),
            ("m3", 1.0, 0.0),
            ("L", 1e-3, 0.0),
            ("l", 1e-3, 0.0),
            ("mL", 1e-6, 0.0),
            ("gal", 3.785_412e-3, 0.0),
        ],
    ),
    (
        "flow",
        &[
            ("m³/h", 1.0, 0.0),
            ("m3/h", 1.0, 0.0),
            ("L/h", 1e-3, 0.0),
            ("L/min", 0.06, 0.0),
            ("L/s", 3.6, 0.0),
            ("gal/min", 0.227_124_72, 0.0),
        ],
    ),
    (
        "energy",
        &[
            ("J", 1.0, 0.0),
            ("kJ", 1e3, 0.0),
            ("MJ", 1e6, 0.0),
            ("GJ", 1e9, 0.0),
            ("Wh", 3_600.0, 0.0),
            ("kWh", 3.6e6, 0.0),
            ("MWh", 3.6e9, 0.0),
        ],
    ),
    (
        "power",
        &[
            ("W", 1.0, 0.0),
            ("mW", 1e-3, 0.0),
            ("kW", 1e3, 0.0),
            ("MW", 1e6, 0.0),
            ("hp", 745.699_9, 0.0),
        ],
    ),
    ("voltage", &[("V", 1.0, 0.0), ("mV", 1e-3, 0.0), ("kV", 1e3, 0.0)]),
    ("current", &[("A", 1.0, 0.0), ("mA", 1e-3, 0.0), ("µA", 1e-6, 0.0)]),
    (
        "time",
        &[
            ("s", 1.0, 0.0),
            ("ms", 1e-3, 0.0),
            ("min", 60.0, 0.0),
            ("h", 3_600.0, 0.0),
            ("d", 86_400.0, 0.0),
        ],
    ),
    ("angle", &[("°", 1.0, 0.0), ("deg", 1.0, 0.0), ("rad", 180.0 / std::f64::consts::PI, 0.0)]),
    ("share", &[("%", 0.01, 0.0), ("1", 1.0, 0.0), ("ppm", 1e-6, 0.0), ("ppb", 1e-9, 0.0)]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(number: f64, from: &str, to: &str) -> f64 {
        let units = (Unit::named(from).unwrap(), Unit::named(to).unwrap());
        UnitConversion::between(units.0, units.1).unwrap().apply(number)
    }

    #[test]
    fn converts_between_units() {
        for (number, from, to, expected) in [
            (212.0, "°F", "°C", 100.0),
            (-40.0, "C", "F", -40.0),
            (0.0, "°C", "K", 273.15),
            (1_013.25, "hPa", "atm", 1.0),
            (29.92, "inHg", "hPa", 1_013.207_588_8),
            (10.0, "m/s", "km/h", 36.0),
            (1.0, "kn", "km/h", 1.852),
            (3.6, "MJ", "kWh", 1.0),
            (42.0, "%", "1", 0.42),
        ] {
            let converted = convert(number, from, to);
            assert!((converted - expected).abs() < 1e-9, "{number} {from} is {converted} {to}");
        }
    }

    #[test]
    fn converting_there_and_back_returns_the_number() {
        for &(quantity, units) in UNITS {
            for (name, ..) in units {
                let unit = Unit::named(name).unwrap();
                assert_eq!(unit.quantity(), quantity);
                let base = units[0].0;
                let back = convert(convert(21.4, name, base), base, name);
                assert!((back - 21.4).abs() < 1e-9, "{name}: {back}");
            }
        }
    }

    #[test]
    fn names_and_spellings_are_suggested() {
        for (name, expected) in [
            ("celsius", "°C"),
            ("Celsius", "°C"),
            ("degC", "°C"),
            ("deg C", "°C"),
            ("° c", "°C"),
            ("c", "°C"),
            ("celcius", "°C"),
            ("degrees C", "°C"),
            ("ºC", "°C"),
            ("fahrenheit", "°F"),
            ("degF", "°F"),
            ("Kelvin", "K"),
            ("k", "K"),
            ("percent", "%"),
            ("pct", "%"),
            ("Bar", "bar"),
            ("bars", "bar"),
            ("hpa", "hPa"),
            ("millibar", "mbar"),
            ("kwh", "kWh"),
            ("KWH", "kWh"),
            ("watts", "W"),
            ("volts", "V"),
            ("amps", "A"),
            ("liters", "L"),
            ("seconds", "s"),
            ("meters", "m"),
            ("kmh", "km/h"),
            ("m^3", "m³"),
            ("mA ", "mA"),
            ("kilowatthours", "kWh"),
        ] {
            assert_eq!(Unit::suggest(name), Some(expected), "{name}");
        }
        for (symbol, _) in NAMES {
            assert!(Unit::named(symbol).is_some(), "{symbol}");
        }
        for name in ["furlong", "", "xyz", "decibel"] {
            assert_eq!(Unit::suggest(name), None, "{name}");
        }
    }

    #[test]
    fn manual_lists_all_units() {
        let manual = include_str!("../../../docs/sensors.md");
        for name in Unit::names() {
            assert!(manual.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn rejects_conversions_between_quantities() {
        let (celsius, bar) = (Unit::named("°C").unwrap(), Unit::named("bar").unwrap());
        assert_eq!(UnitConversion::between(celsius, bar), None);
        assert_eq!(Unit::named("furlong"), None);
    }
}
