//! Lane: which events are brought in order, and which share room.

use dataplane::ids::StreamName;

use crate::events::Event;

/// Events that share room: those of one class cannot take that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Class {
    /// What the node and its publishers do.
    Stream,
    /// What those do who were let in to play.
    Session,
    /// What anybody can cause by asking.
    Question,
}

impl Class {
    /// How many there are.
    pub(super) const COUNT: usize = 3;

    /// The class of events of that name.
    pub(super) fn of(name: &str) -> Self {
        match name.split_once('.') {
            Some(("session", _) | ("connection", "closed")) => Self::Session,
            Some(("authorisation", _) | ("publish", "refused") | ("connection", "unused")) => {
                Self::Question
            }
            _ => Self::Stream,
        }
    }

    /// Its place among all.
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

/// Events that are brought in the order in which they happened, one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Lane {
    /// What concerns no stream.
    Node,
    /// What a stream and its publishers do.
    Stream(StreamName),
    /// What one player does.
    Session(u64),
    /// What is asked for one peer.
    Question(u64),
}

impl Lane {
    /// The lane of events of that name, about that stream and session. The connection of a
    /// publisher is closed after its publication ended, and names its stream.
    pub(super) fn new(name: &str, stream: Option<StreamName>, session: Option<u64>) -> Self {
        match Class::of(name) {
            Class::Session if stream.is_some() && name == "connection.closed" => {
                stream.map_or(Self::Node, Self::Stream)
            }
            Class::Stream => stream.map_or(Self::Node, Self::Stream),
            Class::Session => Self::Session(session.unwrap_or_default()),
            Class::Question => Self::Question(session.unwrap_or_default()),
        }
    }

    /// The lane of `event`.
    pub(super) fn of(event: &Event) -> Self {
        let kind = event.kind();
        let session = kind.session().map(|session| session.0);
        Self::new(kind.name(), event.stream().cloned(), session)
    }

    /// The class that it is part of.
    pub(super) const fn class(&self) -> Class {
        match self {
            Self::Node | Self::Stream(_) => Class::Stream,
            Self::Session(_) => Class::Session,
            Self::Question(_) => Class::Question,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_from_one_another_is_in_one_lane() {
        let cam = || StreamName::parse("cam");
        let lane = |name| Lane::new(name, cam(), Some(7));
        for name in ["publish.ended", "segment.finished", "connection.closed", "stream.stopped"] {
            assert_eq!(Some(lane(name)), cam().map(Lane::Stream), "{name}");
        }
        for name in ["session.closed", "session.unopened", "connection.closed"] {
            assert_eq!(Lane::new(name, None, Some(7)), Lane::Session(7), "{name}");
        }
        // Strangers can make these.
        for name in ["publish.refused", "authorisation.denied", "connection.unused"] {
            assert_eq!(lane(name), Lane::Question(7), "{name}");
        }
    }
}
