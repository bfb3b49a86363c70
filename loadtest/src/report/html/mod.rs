//! The report as one page, with plots that are drawn here.
//!
//! Reading order: [`page`], `plots` (what is drawn), `tables`, `line_plot` and `histogram_plot`,
//! `frame` and `scale` (axes), [`Unit`] (how numbers are written), `markup`.

mod frame;
mod histogram_plot;
mod line_plot;
mod markup;
mod page;
mod plots;
mod scale;
mod tables;
mod unit;

pub use page::page;
pub use unit::{Unit, number};
