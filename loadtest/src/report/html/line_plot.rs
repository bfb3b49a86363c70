//! Lines over time, or over numbers of players.
//!
//! Limits: a line has at most [`POINTS_MAX`] points; of more, the least and the largest of each
//! group are drawn.

use std::fmt::Write;

use super::frame::{Frame, figure};
use super::markup::escape;
use super::scale::Scale;
use super::unit::Unit;

/// Groups of points that a line is drawn with.
const POINTS_MAX: usize = 300;

/// Points of a line that shows each of them.
const DOTS_MAX: usize = 12;

/// Colours of lines; more lines than that are not drawn.
pub(super) const LINES_MAX: usize = 8;

/// A line; where a value is missing it is broken.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, Option<f64>)>,
}

/// A plot of lines.
#[derive(Clone, Debug)]
pub(super) struct LinePlot {
    pub(super) title: &'static str,
    pub(super) unit: Unit,
    pub(super) x_unit: Unit,
    pub(super) x_label: &'static str,
    pub(super) lines: Vec<Line>,
    /// The time in which all that came counted.
    pub(super) window: Option<(f64, f64)>,
    pub(super) is_log: bool,
}

impl LinePlot {
    /// The plot as markup, or nothing if there is nothing to draw.
    pub(super) fn render(mut self) -> String {
        self.lines.truncate(LINES_MAX);
        self.lines.retain(|line| line.points.iter().any(|point| point.1.is_some()));
        let points = self.lines.iter().flat_map(|line| &line.points);
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        let (mut least, mut largest) = (f64::INFINITY, f64::NEG_INFINITY);
        for (x, y) in points {
            (from, to) = (from.min(*x), to.max(*x));
            if let Some(y) = y {
                largest = largest.max(*y);
                if *y > 0.0 {
                    least = least.min(*y);
                }
            }
        }
        if self.lines.is_empty() || !from.is_finite() {
            return String::new();
        }
        if to <= from {
            to = from + 1.0;
        }
        let is_log = self.is_log && least.is_finite();
        let y = if is_log { Scale::log(least, largest) } else { Scale::from_zero(largest) };
        let frame = Frame { x: Scale::Linear { from, to }, y };
        let shown = if largest > 0.0 { largest } else { 1.0 };
        let (x_unit, y_unit) = (self.x_unit.scaled(to), self.unit.scaled(shown));
        let mut svg = String::new();
        self.shade(&mut svg, frame);
        let x_label = match x_unit.name {
            "" => self.x_label.to_owned(),
            name => format!("{} [{name}]", self.x_label),
        };
        frame.draw(&mut svg, x_unit, y_unit, &x_label);
        for (at, line) in self.lines.iter().enumerate() {
            draw(&mut svg, frame, at, &line.points);
        }
        self.bands(&mut svg, frame);
        let unit = match (y_unit.name, is_log) {
            ("", true) => "log".to_owned(),
            (name, true) => format!("{name}, log"),
            (name, false) => name.to_owned(),
        };
        figure(self.title, &unit, &self.legend(), &svg)
    }

    fn legend(&self) -> String {
        if self.lines.len() < 2 {
            return String::new();
        }
        let mut text = String::from("<ul class=\"legend\">");
        for (at, line) in self.lines.iter().enumerate() {
            let name = escape(&line.name);
            let _ = write!(text, "<li><i class=\"swatch c{at}\"></i>{name}</li>");
        }
        text + "</ul>"
    }

    fn shade(&self, svg: &mut String, frame: Frame) {
        let Some((from, to)) = self.window else { return };
        let (left, right) = (frame.left(from), frame.left(to));
        let (top, bottom) = Frame::vertical();
        let _ = write!(
            svg,
            "<rect class=\"window\" x=\"{left:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\">\
             <title>the window of the measurement</title></rect>",
            (right - left).max(0.0),
            bottom - top
        );
    }

    /// What the values are, where the pointer is.
    fn bands(&self, svg: &mut String, frame: Frame) {
        let Some(longest) = self.lines.iter().max_by_key(|line| line.points.len()) else { return };
        let step = longest.points.len().div_ceil(POINTS_MAX).max(1);
        let places: Vec<f64> = longest.points.iter().step_by(step).map(|point| point.0).collect();
        let (top, bottom) = Frame::vertical();
        for (at, &x) in places.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|at| places.get(at)).unwrap_or(&x);
            let after = places.get(at + 1).unwrap_or(&x);
            let left = frame.left(f64::midpoint(*before, x));
            let right = frame.left(f64::midpoint(x, *after));
            let mut text = self.x_unit.write(x);
            for line in &self.lines {
                let point = line.points.iter().find(|point| point.0 == x);
                if let Some(value) = point.and_then(|point| point.1) {
                    let _ = write!(text, "\n{}: {}", line.name, self.unit.write(value));
                }
            }
            let _ = write!(
                svg,
                "<rect class=\"band\" x=\"{left:.1}\" y=\"{top}\" width=\"{:.1}\" \
                 height=\"{}\"><title>{}</title></rect>",
                (right - left).max(1.0),
                bottom - top,
                escape(&text)
            );
        }
    }
}

/// Draws a line, in pieces where values are missing; a point without neighbours is a dot, and so is
/// every point of a short line.
fn draw(svg: &mut String, frame: Frame, colour: usize, points: &[(f64, Option<f64>)]) {
    let dot = |svg: &mut String, x: f64, y: f64| {
        let (x, y) = (frame.left(x), frame.top(y));
        let _ =
            write!(svg, "<circle class=\"dot c{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>");
    };
    let has_dots = points.len() <= DOTS_MAX;
    for (x, y) in points.iter().filter(|_| has_dots) {
        if let Some(y) = y {
            dot(svg, *x, *y);
        }
    }
    let thinned = thin(points);
    for piece in thinned.split(|point| point.1.is_none()) {
        let mut places = String::new();
        for (x, y) in piece.iter().filter_map(|point| Some((point.0, point.1?))) {
            let _ = write!(places, "{:.1},{:.1} ", frame.left(x), frame.top(y));
        }
        match piece {
            [] => {}
            [(x, Some(y))] => {
                if !has_dots {
                    dot(svg, *x, *y);
                }
            }
            _ => {
                let _ = write!(
                    svg,
                    "<polyline class=\"line c{colour}\" points=\"{}\"/>",
                    places.trim_end()
                );
            }
        }
    }
}

/// The least and the largest of each group, in the order in which they came.
fn thin(points: &[(f64, Option<f64>)]) -> Vec<(f64, Option<f64>)> {
    if points.len() <= POINTS_MAX {
        return points.to_vec();
    }
    let mut thinned = Vec::with_capacity(2 * POINTS_MAX);
    for group in points.chunks(points.len().div_ceil(POINTS_MAX)) {
        let known = || group.iter().filter(|point| point.1.is_some());
        let order = |a: &&(f64, Option<f64>), b: &&(f64, Option<f64>)| {
            a.1.unwrap_or(0.0).total_cmp(&b.1.unwrap_or(0.0))
        };
        match (known().min_by(order), known().max_by(order)) {
            (Some(least), Some(largest)) if least.0 < largest.0 => {
                thinned.extend([*least, *largest]);
            }
            (Some(least), Some(largest)) if least.0 > largest.0 => {
                thinned.extend([*largest, *least]);
            }
            (Some(only), _) => thinned.push(*only),
            _ => thinned.push((group[0].0, None)),
        }
    }
    thinned
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(points: Vec<(f64, Option<f64>)>) -> String {
        let lines = vec![Line { name: "a<b".to_owned(), points }];
        let (title, unit, x_unit, x_label) = ("T", Unit::Count, Unit::Seconds, "time");
        LinePlot { title, unit, x_unit, x_label, lines, window: None, is_log: false }.render()
    }

    #[test]
    fn missing_values_break_a_line() {
        let svg = plot(vec![
            (0.0, Some(1.0)),
            (1.0, Some(2.0)),
            (2.0, None),
            (3.0, Some(1.0)),
            (4.0, Some(1.0)),
            (5.0, None),
            (6.0, Some(1.0)),
        ]);
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<circle").count(), 5, "a short line shows each point");
        let mut long: Vec<_> = (0..20).map(|at| (f64::from(at), Some(1.0))).collect();
        (long[17].1, long[19].1) = (None, None);
        assert_eq!(plot(long).matches("<circle").count(), 1, "a point without neighbours");
        assert!(svg.contains("a&lt;b: 2") && !svg.contains("a<b"), "{svg}");
        assert_eq!(plot(Vec::new()), "");
        assert_eq!(plot(vec![(0.0, None)]), "");
    }

    #[test]
    fn long_lines_are_thinned_and_keep_their_extremes() {
        let mut points: Vec<_> = (0..100_000).map(|at| (f64::from(at), Some(5.0))).collect();
        points[70_000].1 = Some(1000.0);
        points[70_001].1 = Some(1.0);
        let thinned = thin(&points);
        assert!(thinned.len() <= 2 * POINTS_MAX, "{}", thinned.len());
        let kept = |wanted| thinned.iter().any(|point| point.1 == Some(wanted));
        assert!(kept(1000.0) && kept(1.0));
        assert!(thinned.is_sorted_by(|a, b| a.0 < b.0));
        assert!(plot(points).len() < 100_000);
    }
}
