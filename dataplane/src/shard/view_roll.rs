//! The roll of views: those that began on a shard, each in a place that it keeps while it lasts.
//!
//! A list of them is gathered over many turns, and views begin and end meanwhile. Because no view
//! changes its place, and each has a number that says when it was entered, the list has every view
//! once that lasted all the time, and none twice that ended and began anew.
//!
//! Lives on: its shard. Crosses by: never. Limits: `hls_viewers_max`, which the table bounds.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::caps::ViewerAdmission;
use super::view_table::Seat;
use super::viewed::Viewed;
use crate::control::QuotaPlace;
use crate::ids::{SessionId, StreamName};

/// A view that began on this shard.
#[derive(Debug)]
pub(super) struct OwnView {
    pub seat: Seat,
    pub stream: StreamName,
    pub peer: SocketAddr,
    pub agent: Arc<str>,
    pub tls: Option<&'static str>,
    pub began: Instant,
    /// What it counts in.
    pub admission: ViewerAdmission,
    /// The row that its time is charged to.
    pub usage: u32,
    /// Its place in the quota of its stream.
    pub place: Option<QuotaPlace>,
}

/// The views of a shard. See the module.
#[derive(Debug, Default)]
pub(super) struct ViewRoll {
    places: Vec<Option<Entry>>,
    free: Vec<u32>,
    at: HashMap<SessionId, u32>,
    /// How many of them each stream has.
    viewed: Viewed,
    /// How many were entered so far.
    entered: u64,
    /// The place that is looked at next.
    next: usize,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    view: OwnView,
}

impl ViewRoll {
    /// How many views there are.
    pub(super) fn len(&self) -> usize {
        self.at.len()
    }

    /// Places, some of them empty.
    pub(super) const fn places(&self) -> usize {
        self.places.len()
    }

    /// How many views were entered so far: those that begin later have this number or a higher one.
    pub(super) const fn entered(&self) -> u64 {
        self.entered
    }

    /// How many views each stream has.
    pub(super) const fn viewed(&self) -> &Viewed {
        &self.viewed
    }

    pub(super) fn enter(&mut self, view: OwnView) {
        self.viewed.enter(&view.stream);
        let entry = Entry { number: self.entered, view };
        self.entered += 1;
        let id = entry.view.seat.id;
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = Some(entry);
                place
            }
            None => {
                self.places.push(Some(entry));
                u32::try_from(self.places.len() - 1).expect("hls_viewers_max is under 32 bits")
            }
        };
        let before = self.at.insert(id, place);
        debug_assert!(before.is_none(), "a view is entered once");
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&OwnView> {
        let place = *self.at.get(&id)?;
        self.places.get(place as usize)?.as_ref().map(|entry| &entry.view)
    }

    /// The view in `place`, if it was entered before the one with the number `before`.
    pub(super) fn at(&self, place: usize, before: u64) -> Option<&OwnView> {
        let entry = self.places.get(place)?.as_ref()?;
        (entry.number < before).then_some(&entry.view)
    }

    pub(super) fn has(&self, id: SessionId) -> bool {
        self.at.contains_key(&id)
    }

    pub(super) fn leave(&mut self, id: SessionId) -> Option<OwnView> {
        let place = self.at.remove(&id)?;
        let entry = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        self.viewed.leave(&entry.view.stream);
        Some(entry.view)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &OwnView> {
        self.places.iter().flatten().map(|entry| &entry.view)
    }

    /// The view in the next place of an endless round, if it is not empty.
    pub(super) fn next(&mut self) -> Option<&OwnView> {
        if self.next >= self.places.len() {
            self.next = 0;
        }
        let entry = self.places.get(self.next)?.as_ref();
        self.next += 1;
        entry.map(|entry| &entry.view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::caps::Caps;
    use crate::shard::view_table::PlaceNumber;

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn view(caps: &Caps, id: u64) -> OwnView {
        let peer: SocketAddr = "192.0.2.1:1".parse().unwrap();
        OwnView {
            seat: Seat { number: PlaceNumber::new(1).unwrap(), id: SessionId(id) },
            stream: StreamName::parse("cam").unwrap(),
            peer,
            agent: "".into(),
            tls: None,
            began: Instant::now(),
            admission: caps
                .enter_viewer(Some(peer.ip()), &crate::config::Limits::default())
                .unwrap(),
            usage: 0,
            place: None,
        }
    }

    #[test]
    fn a_list_has_every_view_that_lasted_once_whatever_came_and_went() {
        let (caps, mut roll) = (Caps::default(), ViewRoll::default());
        (1..=100).for_each(|id| roll.enter(view(&caps, id)));
        let (before, mut listed) = (roll.entered(), Vec::new());
        let mut place = 0;
        loop {
            let end = roll.places().min(place + 7);
            listed.extend((place..end).filter_map(|at| roll.at(at, before)).map(|v| v.seat.id.0));
            place = end;
            if end == roll.places() {
                break;
            }
            // Every third ends, some before they are listed and some after; each begins anew in
            // the place of another, and others come, too.
            let gone: Vec<_> =
                roll.iter().map(|v| v.seat.id).filter(|id| id.0 % 3 == 0).take(5).collect();
            for &id in &gone {
                roll.leave(id).unwrap();
                assert!(roll.leave(id).is_none());
            }
            gone.iter().rev().for_each(|id| roll.enter(view(&caps, id.0)));
            roll.enter(view(&caps, 1_000 + place as u64));
            // Housekeeping looks at them meanwhile.
            for _ in 0..11 {
                let _ = roll.next();
            }
        }
        let lasted: Vec<_> = listed.iter().copied().filter(|id| id % 3 != 0).collect();
        assert_eq!(lasted, (1..=100).filter(|id| id % 3 != 0).collect::<Vec<_>>());
        let mut once = listed.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), listed.len(), "none is there twice");
    }

    #[test]
    fn a_round_comes_to_every_view() {
        let (caps, mut roll) = (Caps::default(), ViewRoll::default());
        assert!(roll.next().is_none());
        (1..=5).for_each(|id| roll.enter(view(&caps, id)));
        roll.leave(SessionId(3)).unwrap();
        let seen = (0..10).filter_map(|_| roll.next().map(|view| view.seat.id.0));
        assert_eq!(seen.collect::<Vec<_>>(), [1, 2, 4, 5, 1, 2, 4, 5]);
        assert_eq!((roll.len(), roll.places()), (4, 5));
    }
}
