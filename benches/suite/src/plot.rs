//! A plot with logarithmic axes, as SVG.

use std::fmt::Write as _;

/// The size of a plot, and the distance of its axes from the edge, in pixels.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 200.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// Colours that people with weak colour vision can tell apart.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// A measured value at a size.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    /// The size.
    pub(crate) x: f64,
    /// The cost at this size.
    pub(crate) y: f64,
}

/// A line with its name.
pub(crate) struct Line {
    /// The name, with the unit.
    pub(crate) name: String,
    /// The points, from small to large sizes.
    pub(crate) points: Vec<Point>,
}

/// A plot of lines against one size.
pub(crate) struct Plot {
    /// The name of the size.
    pub(crate) axis: &'static str,
    /// The lines.
    pub(crate) lines: Vec<Line>,
}

/// The decades of an axis.
struct Axis {
    first: f64,
    decades: f64,
}

impl Axis {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Self {
        let logarithms = values.filter(|value| *value > 0.0).map(f64::log10);
        let first = logarithms.clone().fold(f64::INFINITY, f64::min).floor();
        let last = logarithms.fold(f64::NEG_INFINITY, f64::max).ceil();
        Self { first, decades: (last - first).max(1.0) }
    }

    /// Returns the place of a value between 0 and 1.
    fn place(&self, value: f64) -> f64 {
        (value.max(f64::MIN_POSITIVE).log10() - self.first) / self.decades
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        let (first, last) = (self.first, self.first + self.decades);
        std::iter::successors(Some(first), |tick| Some(tick + 1.0))
            .take_while(move |tick| *tick <= last + 0.5)
            .map(|tick| 10_f64.powf(tick))
    }
}

/// Returns the plots below each other, as a document.
pub(crate) fn svg(title: &str, plots: &[Plot]) -> Result<String, std::fmt::Error> {
    let mut svg = String::new();
    let rows = plots.iter().map(|_| HEIGHT).sum::<f64>();
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"20\" font-size=\"14\">{title}</text>",
        rows + 30.0
    )?;
    let mut top = 30.0;
    for plot in plots {
        writeln!(svg, "<g transform=\"translate(0 {top})\">")?;
        draw(&mut svg, plot)?;
        svg.push_str("</g>\n");
        top += HEIGHT;
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn draw(svg: &mut String, plot: &Plot) -> std::fmt::Result {
    let points = plot.lines.iter().flat_map(|line| line.points.iter().copied());
    let (horizontal, vertical) =
        (Axis::of(points.clone().map(|point| point.x)), Axis::of(points.map(|point| point.y)));
    let right = WIDTH - RIGHT;
    let bottom = HEIGHT - BOTTOM;
    let x = |value| LEFT + horizontal.place(value) * (right - LEFT);
    let y = |value| bottom - vertical.place(value) * (bottom - TOP);
    for tick in horizontal.ticks() {
        let x = x(tick);
        writeln!(
            svg,
            "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#ddd\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 16.0
        )?;
    }
    for tick in vertical.ticks() {
        let y = y(tick);
        writeln!(
            svg,
            "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tick}</text>",
            LEFT - 6.0,
            y + 4.0
        )?;
    }
    let middle = f64::midpoint(LEFT, right);
    let axis = plot.axis;
    writeln!(
        svg,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{axis}</text>",
        bottom + 36.0
    )?;
    for ((line, colour), row) in plot.lines.iter().zip(COLOURS).zip(0_u8..) {
        let places = line.points.iter().map(|point| format!("{:.1},{:.1}", x(point.x), y(point.y)));
        let places: Vec<_> = places.collect();
        writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"{colour}\">{}</text>",
            places.join(" "),
            right + 10.0,
            TOP + 10.0 + 20.0 * f64::from(row),
            line.name
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_of_a_power_is_straight() {
        let points = [1.0, 10.0, 100.0].map(|x| Point { x, y: x * x }).to_vec();
        let plot = Plot { axis: "sensors", lines: vec![Line { name: "ms".to_owned(), points }] };
        let svg = svg("Cost", &[plot]).unwrap();
        assert!(svg.contains("points=\"70.0,310.0 255.0,175.0 440.0,40.0\""), "{svg}");
    }
}
