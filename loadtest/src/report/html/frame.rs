//! The frame of a plot: axes, marks, grid and labels.

use std::fmt::Write;

use super::markup::escape;
use super::scale::Scale;
use super::unit::{Scaled, number};

pub(super) const WIDTH: f64 = 640.0;
pub(super) const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 40.0;

/// Two axes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) x: Scale,
    pub(super) y: Scale,
}

impl Frame {
    pub(super) fn left(self, x: f64) -> f64 {
        LEFT + self.x.place(x) * (WIDTH - LEFT - RIGHT)
    }

    pub(super) fn top(self, y: f64) -> f64 {
        TOP + (1.0 - self.y.place(y)) * (HEIGHT - TOP - BOTTOM)
    }

    /// Where plots begin and end, downwards.
    pub(super) const fn vertical() -> (f64, f64) {
        (TOP, HEIGHT - BOTTOM)
    }

    /// Grid, marks and labels.
    pub(super) fn draw(self, svg: &mut String, x_unit: Scaled, y_unit: Scaled, x_label: &str) {
        let (top, bottom) = Self::vertical();
        for tick in self.y.ticks() {
            let y = self.top(tick);
            let text = number(tick * y_unit.factor);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y + 3.5,
            );
        }
        for tick in self.x.ticks() {
            let x = self.left(tick);
            let text = number(tick * x_unit.factor);
            let _ = write!(
                svg,
                "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom}\" y2=\"{:.1}\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                bottom + 4.0,
                bottom + 16.0,
            );
        }
        let _ = write!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
             <text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            WIDTH - RIGHT,
            f64::midpoint(LEFT, WIDTH - RIGHT),
            HEIGHT - 6.0,
            escape(x_label),
        );
        debug_assert!(top < bottom);
    }
}

/// A plot with its title, its unit, what its colours mean, and the picture.
pub(super) fn figure(title: &str, unit: &str, legend: &str, picture: &str) -> String {
    let title = escape(title);
    let unit = if unit.is_empty() {
        String::new()
    } else {
        format!(" <span class=\"unit\">{}</span>", escape(unit))
    };
    format!(
        "<figure>\n<figcaption>{title}{unit}</figcaption>\n{legend}\n\
         <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">{picture}\
         </svg>\n\
         </figure>\n"
    )
}
