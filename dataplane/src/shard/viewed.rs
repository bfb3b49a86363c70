//! Viewed: how many views each stream has, counted as they begin and end.
//!
//! Lives on: its shard, in its roll of views. Crosses by: never.
//! Limits: a place for each stream that has views, of which there are `hls_viewers_max` at most.

use std::collections::HashMap;

use crate::ids::StreamName;

/// The streams that have views on a shard. See the module.
#[derive(Debug, Default)]
pub(super) struct Viewed {
    places: Vec<Option<(StreamName, u64)>>,
    free: Vec<u32>,
    at: HashMap<StreamName, u32>,
}

impl Viewed {
    /// Places, some of them empty.
    pub(super) const fn places(&self) -> usize {
        self.places.len()
    }

    /// The stream in `place`, and how many views it has: at least one.
    pub(super) fn at(&self, place: usize) -> Option<&(StreamName, u64)> {
        self.places.get(place)?.as_ref()
    }

    pub(super) fn enter(&mut self, stream: &StreamName) {
        if let Some(&place) = self.at.get(stream) {
            if let Some(Some((_, views))) = self.places.get_mut(place as usize) {
                *views += 1;
            }
            return;
        }
        let first = Some((stream.clone(), 1));
        let place = match self.free.pop() {
            Some(place) => {
                self.places[place as usize] = first;
                place
            }
            None => {
                self.places.push(first);
                u32::try_from(self.places.len() - 1).expect("hls_viewers_max is under 32 bits")
            }
        };
        self.at.insert(stream.clone(), place);
    }

    pub(super) fn leave(&mut self, stream: &StreamName) {
        let Some(&place) = self.at.get(stream) else { return };
        let Some(Some((_, views))) = self.places.get_mut(place as usize) else { return };
        *views -= 1;
        if *views == 0 {
            self.places[place as usize] = None;
            self.at.remove(stream);
            self.free.push(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_have_a_place_while_they_have_views() {
        let [a, b, c] = ["a", "b", "c"].map(|name| StreamName::parse(name).unwrap());
        let mut viewed = Viewed::default();
        [&a, &b, &a].into_iter().for_each(|stream| viewed.enter(stream));
        let told = |viewed: &Viewed| -> Vec<(String, u64)> {
            let all = (0..viewed.places()).filter_map(|place| viewed.at(place));
            all.map(|(stream, views)| (stream.to_string(), *views)).collect()
        };
        assert_eq!(told(&viewed), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
        viewed.leave(&a);
        viewed.leave(&b);
        viewed.leave(&b);
        assert_eq!(told(&viewed), [("a".to_owned(), 1)]);
        viewed.enter(&c);
        assert_eq!(told(&viewed), [("a".to_owned(), 1), ("c".to_owned(), 1)]);
        assert_eq!(viewed.places(), 2, "places are used again");
    }
}
