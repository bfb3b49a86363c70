//! Encoder: how many publications the encoder of this node takes at one time, besides those that
//! attached encoders take.
//!
//! Each publication on the air has a place, and each that was granted one and has not begun yet:
//! so that those who ask at the same moment are not let in together to the last place.
//! Limits: as many grants as there are places.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dataplane::ids::StreamName;

use super::channels::Channels;

/// A publication begins within this of its grant, or it never does.
const GRANT: Duration = Duration::from_secs(10);

/// The places of the encoder; by default there are as many as there are publications.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    capacity: Option<u32>,
    /// Until when a place is kept for a channel.
    granted: BTreeMap<StreamName, Instant>,
}

/// The places of attached encoders.
#[derive(Clone, Copy, Debug)]
pub(super) struct Elsewhere {
    /// Publications of this node that have one.
    pub(super) taken: usize,
    /// Places that nobody has; `None` for as many as come.
    pub(super) spare: Option<usize>,
    /// Publications of servers that this node pulls and that are not on the air here yet.
    pub(super) coming: usize,
}

impl Encoder {
    /// One with so many places; `None` for as many as come.
    pub(super) const fn new(capacity: Option<u32>) -> Self {
        Self { capacity, granted: BTreeMap::new() }
    }

    /// True if there is a place for a publication of `channel`, here or `elsewhere`. One on the air
    /// has its own, which a publisher who returns or takes it over takes with it.
    pub(super) fn has_room(
        &self,
        channel: &StreamName,
        channels: &Channels,
        elsewhere: Elsewhere,
    ) -> bool {
        let (Some(capacity), Some(spare)) = (self.capacity, elsewhere.spare) else { return true };
        let kept = |channel: &&StreamName| !channels.is_live(channel);
        if channels.is_live(channel) || self.granted.contains_key(channel) {
            return true;
        }
        let here = channels.len().saturating_sub(elsewhere.taken);
        let load = here + elsewhere.coming + self.granted.keys().filter(kept).count();
        load < capacity as usize + spare
    }

    /// Places for publications of servers, besides those on the air here of which others have
    /// `taken` and those that were granted one; `None` for as many as come.
    pub(super) fn places(&self, channels: &Channels, taken: usize) -> Option<usize> {
        let kept = self.granted.keys().filter(|channel| !channels.is_live(channel)).count();
        let load = channels.len().saturating_sub(taken) + kept;
        self.capacity.map(|capacity| (capacity as usize).saturating_sub(load))
    }

    /// A publication of `channel` was let in.
    pub(super) fn granted(&mut self, channel: &StreamName, now: Instant) {
        if self.capacity.is_some() {
            self.granted.insert(channel.clone(), now + GRANT);
        }
    }

    /// It began, or went on as the one that was there.
    pub(super) fn begun(&mut self, channel: &StreamName) {
        self.granted.remove(channel);
    }

    /// Frees the places of those that never began.
    pub(super) fn expire(&mut self, now: Instant) {
        self.granted.retain(|_, until| *until > now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::ids::StreamId;

    const NOBODY: Elsewhere = Elsewhere { taken: 0, spare: Some(0), coming: 0 };

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    #[test]
    fn places_are_taken_by_grants_and_publications_and_come_back() {
        let (mut encoder, mut channels) = (Encoder::new(Some(2)), Channels::default());
        let (now, id) = (Instant::now(), StreamId([1; 16]));
        let room = |encoder: &Encoder, channels: &Channels| {
            ["one", "two", "three"]
                .map(|channel| encoder.has_room(&name(channel), channels, NOBODY))
        };
        assert_eq!(room(&encoder, &channels), [true; 3]);
        encoder.granted(&name("one"), now);
        encoder.granted(&name("two"), now);
        // Two who ask for the same channel take one place: one of them will be refused it.
        assert_eq!(room(&encoder, &channels), [true, true, false]);
        channels.started(name("one"), id);
        encoder.begun(&name("one"));
        assert_eq!(room(&encoder, &channels), [true, true, false]);
        // The second one never came.
        encoder.expire(now + GRANT - Duration::from_millis(1));
        assert_eq!(room(&encoder, &channels), [true, true, false]);
        encoder.expire(now + GRANT);
        assert_eq!(room(&encoder, &channels), [true; 3]);
        // A publisher who returns needs no place of its own.
        encoder.granted(&name("one"), now);
        assert_eq!(room(&encoder, &channels), [true; 3]);
        channels.started(name("three"), id);
        assert_eq!(room(&encoder, &channels), [true, false, true]);
        channels.ended(&name("three"), id);
        assert_eq!(room(&encoder, &channels), [true; 3]);
    }

    #[test]
    fn places_elsewhere_are_places_too() {
        let mut channels = Channels::default();
        let encoder = Encoder::new(Some(1));
        channels.started(name("one"), StreamId([1; 16]));
        for (taken, spare, coming, room) in [
            (0, Some(0), 0, false),
            (0, Some(1), 0, true),
            (0, Some(1), 1, false),
            (1, Some(0), 0, true),
            (1, Some(0), 1, false),
            (0, None, 9, true),
        ] {
            let elsewhere = Elsewhere { taken, spare, coming };
            assert_eq!(encoder.has_room(&name("two"), &channels, elsewhere), room, "{elsewhere:?}");
        }
    }

    #[test]
    fn an_encoder_without_places_takes_nobody_and_one_without_a_bound_everybody() {
        let channels = Channels::default();
        assert!(!Encoder::new(Some(0)).has_room(&name("one"), &channels, NOBODY));
        let mut free = Encoder::new(None);
        for number in 0..100 {
            free.granted(&name(&format!("s{number}")), Instant::now());
        }
        assert!(free.has_room(&name("one"), &channels, NOBODY) && free.granted.is_empty());
    }
}
