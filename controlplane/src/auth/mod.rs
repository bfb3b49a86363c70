//! Who may publish and play: every request asks once and gets one verdict.

mod mode;

pub use mode::Mode;
