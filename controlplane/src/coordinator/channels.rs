//! Channels: which streams are on the air, by the numbers of their publications.

use std::collections::BTreeMap;

use dataplane::ids::{StreamId, StreamName};

/// The channels that are published.
///
/// Limits: as many as the data plane has streams, `limits.streams_max`.
#[derive(Debug, Default)]
pub struct Channels {
    live: BTreeMap<StreamName, StreamId>,
}

impl Channels {
    /// A publication began.
    pub fn started(&mut self, channel: StreamName, id: StreamId) {
        self.live.insert(channel, id);
    }

    /// A publication is over, grace included; another one of the channel is not.
    pub fn ended(&mut self, channel: &StreamName, id: StreamId) {
        if self.live.get(channel) == Some(&id) {
            self.live.remove(channel);
        }
    }

    /// True while a publication of `channel` is on the air.
    #[must_use]
    pub fn is_live(&self, channel: &StreamName) -> bool {
        self.live.contains_key(channel)
    }

    /// Publications on the air.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// True if nothing is on the air.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The publication that `id` means on `channel`: `*` and nothing mean whichever there is.
    #[must_use]
    pub fn meant(&self, channel: &str, id: &str) -> Option<&StreamName> {
        let channel = StreamName::parse(channel)?;
        let (name, live) = self.live.get_key_value(&channel)?;
        let meant = matches!(id, "" | "*") || StreamId::parse(id) == Some(*live);
        meant.then_some(name)
    }

    /// Every publication, by the names of the channels.
    pub fn active(&self) -> impl Iterator<Item = (&StreamName, StreamId)> {
        self.live.iter().map(|(channel, &id)| (channel, id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_meant_by_its_number_or_by_none() {
        let name = StreamName::parse("cam7").unwrap();
        let (id, next) = (StreamId([1; 16]), StreamId([2; 16]));
        let mut channels = Channels::default();
        assert_eq!(channels.meant("cam7", "*"), None);
        channels.started(name.clone(), id);
        for (channel, text, meant) in [
            ("cam7", "*", true),
            ("cam7", "", true),
            ("cam7", "01010101010101010101010101010101", true),
            ("cam7", "02020202020202020202020202020202", false),
            ("cam7", "**", false),
            ("cam8", "*", false),
            ("", "*", false),
            ("../cam7", "*", false),
        ] {
            assert_eq!(channels.meant(channel, text).is_some(), meant, "{channel} {text}");
        }
        // The end of one that was followed by another is late news.
        channels.started(name.clone(), next);
        channels.ended(&name, id);
        assert_eq!(channels.active().collect::<Vec<_>>(), [(&name, next)]);
        channels.ended(&name, next);
        assert_eq!(channels.active().count(), 0);
    }
}
