//! Counting: what hooks count, for `/metrics`.

use super::ledger::{HookState, Hooks};
use crate::counts::Counts;

impl Hooks {
    /// Counts of every hook, by its id, of which there are few.
    pub fn count(&self, into: &mut Counts) {
        let hooks = self.list();
        let by = |of: fn(&HookState) -> u64| {
            hooks.iter().map(move |hook| (hook.spec.id.clone(), of(hook))).collect::<Vec<_>>()
        };
        let gauge = |of| by(of).into_iter().map(|(id, value)| (id, value as f64));
        let help = "Events that a hook's receiver took.";
        into.counter_by("hook_delivered_total", help, "hook", by(|hook| hook.tally.delivered));
        let help = "Tries of events that failed, by hook.";
        into.counter_by("hook_failed_total", help, "hook", by(|hook| hook.tally.failed));
        let help = "Events that became dead letters, by hook.";
        into.counter_by("hook_given_up_total", help, "hook", by(|hook| hook.tally.given_up));
        let help = "Dead letters that had to go for newer ones, by hook.";
        into.counter_by("hook_lost_total", help, "hook", by(|hook| hook.tally.lost));
        let help = "Events that wait, by hook.";
        into.gauge_by("hook_waiting", help, "hook", gauge(|hook| hook.waiting));
        let help = "Dead letters, by hook.";
        into.gauge_by("hook_dead_letters", help, "hook", gauge(|hook| hook.dead_letters));
        let help = "Events that were gone before they could be kept for any hook.";
        into.counter("hook_missed_total", help, self.missed());
        let help = "How long tries of hooks took.";
        into.histogram("hook_delivery_seconds", help, &self.took());
    }
}
