//! The processors that the two sides of a bench run on.

use std::sync::OnceLock;

use dataplane::reactor::{affinity_cpus, pin_to_cpu};

/// Those of the process, before any thread was pinned.
static CPUS: OnceLock<Vec<usize>> = OnceLock::new();

/// Pins the thread to the `nth` of them, if there are so many.
pub(crate) fn pin(nth: usize) {
    let cpus = CPUS.get_or_init(|| affinity_cpus().expect("the kernel tells"));
    if let Some(&cpu) = cpus.get(nth) {
        pin_to_cpu(cpu).expect("an allowed CPU");
    }
}
