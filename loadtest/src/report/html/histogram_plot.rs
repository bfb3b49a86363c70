//! How often which latency was seen, on a logarithmic axis.

use std::fmt::Write;

use super::frame::{Frame, figure};
use super::scale::Scale;
use super::unit::Unit;
use crate::stats::{Bin, Percentiles};

/// The plot as markup, or nothing if nothing was counted.
pub(super) fn render(title: &str, bins: &[Bin], percentiles: Option<Percentiles>) -> String {
    let (Some(first), Some(last)) = (bins.first(), bins.last()) else { return String::new() };
    let total: u64 = bins.iter().map(|bin| bin.count).sum();
    let largest = bins.iter().map(|bin| bin.count).max().unwrap_or(0) as f64;
    let least_ms = if first.from_ms > 0.0 { first.from_ms } else { first.to_ms / 2.0 };
    let x = Scale::log(least_ms, last.to_ms);
    let frame = Frame { x, y: Scale::from_zero(largest) };
    let unit = Unit::Ms.scaled(last.to_ms);
    let mut svg = String::new();
    frame.draw(
        &mut svg,
        unit,
        Unit::Count.scaled(largest),
        &format!("latency [{}], log", unit.name),
    );
    let (top, bottom) = Frame::vertical();
    for bin in bins {
        let (left, right) = (frame.left(bin.from_ms), frame.left(bin.to_ms));
        let height = frame.top(bin.count as f64);
        let share = bin.count as f64 / total as f64;
        let _ = write!(
            svg,
            "<rect class=\"bar c0\" x=\"{left:.1}\" y=\"{height:.1}\" width=\"{:.1}\" \
             height=\"{:.1}\"><title>{} to {}: {} frames, {}</title></rect>",
            (right - left - 0.6).max(0.8),
            bottom - height,
            Unit::Ms.write(bin.from_ms),
            Unit::Ms.write(bin.to_ms),
            Unit::Count.write(bin.count as f64),
            Unit::Share.write(share),
        );
    }
    if let Some(of) = percentiles {
        let marks = [("p50", of.p50_ms), ("p99", of.p99_ms), ("max", of.max_ms)];
        let mut free_from = f64::NEG_INFINITY;
        for (name, ms) in marks {
            let x = frame.left(ms);
            let _ = write!(
                svg,
                "<line class=\"marker\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\">\
                 <title>{name} {}</title></line>",
                Unit::Ms.write(ms)
            );
            // Names that would stand on each other are left to the tooltip.
            if x >= free_from {
                let _ = write!(
                    svg,
                    "<text class=\"marker-name\" x=\"{:.1}\" y=\"{:.1}\" \
                     text-anchor=\"end\">{name}</text>",
                    x - 3.0,
                    top + 8.0
                );
                free_from = x + 26.0;
            }
        }
    }
    figure(title, "frames", "", &svg)
}
