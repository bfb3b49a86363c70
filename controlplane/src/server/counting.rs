//! Counting: what every room of the control plane counts, gathered for `/metrics`.

use super::run::Desk;
use crate::bridge::Fleet;
use crate::counts::Counts;

impl<F: Fleet> Desk<F> {
    /// All counts, each room in one line.
    pub(super) fn count(&self) -> Counts {
        let mut counts = Counts::default();
        let help = "1 while new publishers and players are let in, as /readyz says.";
        counts.gauge("ready", help, f64::from(u8::from(self.ending.is_none())));
        let help = "Memory that the process stays within, as limits.memory_max says.";
        counts.gauge("memory_max_bytes", help, self.control.plan.memory.memory_max as f64);
        self.pace.count(&mut counts);
        self.exchange.count(&mut counts);
        if let Some(book) = self.exchange.book() {
            book.count(&mut counts);
        }
        let bus = self.exchange.bus();
        let help = "Events published, by what they tell.";
        counts.counter_by("events_total", help, "kind", bus.published());
        let (events, bytes) = bus.held();
        counts.gauge("events_held", "Events that clients can still read.", events as f64);
        counts.gauge("events_held_bytes", "Bytes of the JSON of those.", bytes as f64);
        if let Some(hooks) = &self.control.hooks {
            hooks.count(&mut counts);
        }
        self.control.store.count(&mut counts);
        self.control.certificates.count(&mut counts);
        self.control.renewal.count(&mut counts);
        self.callers.count(&mut counts);
        self.sockets.count(&mut counts);
        self.control.warden.count(&mut counts);
        let [told, failed, dropped] = self.teller.counts();
        counts.counter_by(
            "coordinator_messages_total",
            "Messages about publications to the coordinator's application, by what became of them.",
            "outcome",
            [("told", told), ("failed", failed), ("dropped", dropped)],
        );
        counts.gauge(
            "coordinator_messages_waiting",
            "Publications that the coordinator's application is to be told of.",
            self.teller.waiting() as f64,
        );
        counts
    }
}
