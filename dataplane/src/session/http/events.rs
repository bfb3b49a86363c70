//! Events that wait for the shard, which takes them as soon as the session was called.

use crate::session::Event;

/// A queue that takes no room while it is empty, as it is in every session that waits.
///
/// Limits: what one call of a session can cause: four events.
#[derive(Debug, Default)]
pub(super) struct Events(Option<Box<Waiting>>);

#[derive(Debug)]
struct Waiting {
    event: Event,
    behind: Option<Box<Self>>,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        let mut place = &mut self.0;
        while let Some(waiting) = place {
            place = &mut waiting.behind;
        }
        *place = Some(Box::new(Waiting { event, behind: None }));
    }

    pub(super) fn next(&mut self) -> Option<Event> {
        let Waiting { event, behind } = *self.0.take()?;
        self.0 = behind;
        Some(event)
    }

    pub(super) fn clear(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_their_order() {
        let mut events = Events::default();
        for reason in ["a", "b", "c"] {
            events.push(Event::Close { reason });
        }
        let next = |events: &mut Events| match events.next() {
            Some(Event::Close { reason }) => reason,
            _ => "none",
        };
        assert_eq!([(); 4].map(|()| next(&mut events)), ["a", "b", "c", "none"]);
        events.push(Event::Pause);
        events.clear();
        assert!(events.next().is_none());
    }
}
