//! Effect: what a change of a stream does to those who publish and play it.
//!
//! A change restarts only what it must. [`RULES`] is the whole truth of it: one row per field, from
//! the values that held to those that hold now, template included. Whoever no row names notices
//! nothing.
//!
//! | field | who is dropped |
//! |---|---|
//! | `disabled` set, or the stream deleted or refused from now on | its publisher, all its players
//! |
//! | `inputs` | its publisher, if no input takes its protocol any more |
//! | `protocols` | its players of what was turned off |
//! | `stream_key` | nobody: it is asked for at the next publish; a restart drops everybody |
//! | `auth` | nobody: whoever asks from now on is judged by it |
//! | `srt_passphrase` | nobody: whoever calls from now on encrypts with it |
//! | `mpegts` | nobody: it holds for whoever publishes from now on, and what the node fetches or
//! pulls is fetched anew, within the grace |
//! | all others | nobody |

use dataplane::control::{Protocol, ProtocolSet, Role};
use dataplane::ids::StreamName;

use super::resolved::{Origin, Resolved};
use crate::events::Kind;

/// Who is to be dropped of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Its publisher, if it speaks one of these; the publication ends at once, without grace.
    KickPublisher {
        /// The stream.
        stream: StreamName,
        /// By which protocols.
        protocols: ProtocolSet,
    },
    /// Its players, if they speak one of these.
    KickPlayers {
        /// The stream.
        stream: StreamName,
        /// By which protocols.
        protocols: ProtocolSet,
    },
    /// Everybody, who may all come back at once.
    Restart {
        /// The stream.
        stream: StreamName,
    },
}

impl Effect {
    /// The stream, the role that is dropped, and by which protocols.
    #[must_use]
    pub const fn target(&self) -> (&StreamName, Option<Role>, ProtocolSet) {
        match self {
            Self::KickPublisher { stream, protocols } => (stream, Some(Role::Publish), *protocols),
            Self::KickPlayers { stream, protocols } => (stream, Some(Role::Play), *protocols),
            Self::Restart { stream } => (stream, None, ProtocolSet::ALL),
        }
    }
}

/// The protocols whose publishers and players a row drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Of its publisher.
    pub publishers: ProtocolSet,
    /// Of its players.
    pub players: ProtocolSet,
}

const NOBODY: Touch = Touch { publishers: ProtocolSet::NONE, players: ProtocolSet::NONE };
const EVERYBODY: Touch = Touch { publishers: ProtocolSet::ALL, players: ProtocolSet::ALL };

/// One row: a field, whether it differs, and who is dropped if it does.
pub struct Rule {
    /// The field.
    pub field: &'static str,
    differs: fn(&Resolved, &Resolved) -> bool,
    touch: fn(&Resolved, &Resolved) -> Touch,
}

/// A row for a field of the traits that drops nobody.
macro_rules! quiet {
    ($field:ident) => {
        Rule {
            field: stringify!($field),
            differs: |old, new| old.traits.$field != new.traits.$field,
            touch: |_, _| NOBODY,
        }
    };
}

/// Every field, and what its change does.
pub const RULES: &[Rule] = &[
    Rule {
        field: "disabled",
        differs: |old, new| old.disabled != new.disabled,
        touch: |_, new| if new.disabled { EVERYBODY } else { NOBODY },
    },
    Rule {
        field: "template",
        differs: |old, new| old.template != new.template || old.incomplete != new.incomplete,
        touch: |_, new| if new.incomplete { EVERYBODY } else { NOBODY },
    },
    Rule {
        field: "inputs",
        differs: |old, new| {
            old.traits.inputs != new.traits.inputs || old.publishers() != new.publishers()
        },
        touch: |old, new| {
            let lost =
                |p: &Protocol| old.publishers().contains(*p) && !new.publishers().contains(*p);
            Touch { publishers: Protocol::ALL.into_iter().filter(lost).collect(), ..NOBODY }
        },
    },
    Rule {
        field: "protocols",
        differs: |old, new| old.protocols != new.protocols,
        touch: |old, new| Touch { players: old.protocols.lost(&new.protocols), ..NOBODY },
    },
    quiet!(name),
    quiet!(description),
    quiet!(tags),
    quiet!(tenant),
    quiet!(quota),
    quiet!(stream_key),
    quiet!(auth),
    quiet!(srt_passphrase),
    quiet!(mpegts),
    quiet!(push),
    quiet!(record),
    quiet!(transcoder),
    quiet!(dvr),
    quiet!(watermark),
    quiet!(thumbnail),
    quiet!(metadata),
];

/// What became of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The stream.
    pub stream: StreamName,
    /// The fields whose values are others now; empty if it came or went.
    pub fields: Vec<&'static str>,
    /// Who declared it before; `None` if there was no such stream.
    pub before: Option<Origin>,
    /// Who declares it now; `None` if there is no such stream any more.
    pub after: Option<Origin>,
    /// Nobody may publish or play it now.
    pub disabled: bool,
}

impl Difference {
    /// What is told of it. A stream that nobody declares is told of when it comes and goes, by
    /// those who see it; here only that its template changed.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        let runtime = Some(Origin::Runtime);
        let declared = |origin: Option<Origin>| origin.filter(|&from| from != Origin::Runtime);
        let (changed, disabled) = (self.fields.clone(), self.disabled);
        Some(match (declared(self.before), declared(self.after)) {
            (None, None) if self.before == runtime && self.after == runtime => {
                Kind::StreamUpdated { origin: Origin::Runtime.name(), changed, disabled }
            }
            (None, None) => return None,
            (None, Some(origin)) => Kind::StreamCreated { origin: origin.name() },
            (Some(origin), None) => Kind::StreamDeleted { origin: origin.name() },
            (Some(_), Some(origin)) => {
                Kind::StreamUpdated { origin: origin.name(), changed, disabled }
            }
        })
    }
}

/// What a change comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Every stream that it touches.
    pub differences: Vec<Difference>,
    /// Who is dropped.
    pub drops: Vec<Effect>,
}

impl Effects {
    /// Adds what the step from `old` to `new` does to `stream`; `None` is a stream that is refused.
    pub(super) fn add(
        &mut self,
        stream: &StreamName,
        old: Option<&Resolved>,
        new: Option<&Resolved>,
    ) {
        let mut difference = Difference {
            stream: stream.clone(),
            fields: Vec::new(),
            before: old.map(|old| old.origin),
            after: new.map(|new| new.origin),
            disabled: new.is_none_or(|new| new.disabled),
        };
        let (Some(old), Some(new)) = (old, new) else {
            if old.is_some() {
                self.drop(stream, EVERYBODY);
            }
            if old.is_some() || new.is_some() {
                self.differences.push(difference);
            }
            return;
        };
        let changed = || RULES.iter().filter(|rule| (rule.differs)(old, new));
        let union = |of: fn(&Touch) -> ProtocolSet| {
            let touches: Vec<_> = changed().map(|rule| of(&(rule.touch)(old, new))).collect();
            let any = |p: &Protocol| touches.iter().any(|set| set.contains(*p));
            match touches.contains(&ProtocolSet::ALL) {
                true => ProtocolSet::ALL,
                false => Protocol::ALL.into_iter().filter(any).collect(),
            }
        };
        let touch = Touch {
            publishers: union(|touch| touch.publishers),
            players: union(|touch| touch.players),
        };
        difference.fields = changed().map(|rule| rule.field).collect();
        if !difference.fields.is_empty() || old.origin != new.origin {
            self.differences.push(difference);
        }
        self.drop(stream, touch);
    }

    /// Adds the drop of everybody of `stream`.
    pub(super) fn end(&mut self, stream: &StreamName) {
        self.drops.retain(|effect| effect.target().0 != stream);
        self.drop(stream, EVERYBODY);
    }

    /// Adds a restart of `stream`.
    pub(super) fn restart(&mut self, stream: &StreamName) {
        self.drops.retain(|effect| effect.target().0 != stream);
        self.drops.push(Effect::Restart { stream: stream.clone() });
    }

    fn drop(&mut self, stream: &StreamName, touch: Touch) {
        let Touch { publishers, players } = touch;
        let stream = || stream.clone();
        if publishers != ProtocolSet::NONE {
            self.drops.push(Effect::KickPublisher { stream: stream(), protocols: publishers });
        }
        if players != ProtocolSet::NONE {
            self.drops.push(Effect::KickPlayers { stream: stream(), protocols: players });
        }
    }
}
