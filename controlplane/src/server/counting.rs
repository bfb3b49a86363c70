//! Counting: what every room of the control plane counts, gathered for `/metrics`.

use super::run::Desk;
use crate::counts::Counts;

impl Desk {
    /// All counts, each room in one line.
    pub(super) fn count(&self) -> Counts {
        let mut counts = Counts::default();
        self.pace.count(&mut counts);
        self.exchange.count(&mut counts);
        counts
    }
}
