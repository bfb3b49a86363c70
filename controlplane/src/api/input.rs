//! Input: where a stream comes from, and what becomes of that, as JSON.

use dataplane::control::{InputState, InputStatus};
use serde::Serialize;
use utoipa::ToSchema;

use crate::bridge::{Gathered, PeerSnapshot, PeerStatus};
use crate::registry::Item;

/// An input of a stream.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct InputView {
    /// Its number, by priority.
    input: usize,
    /// Its address, without what may be a key.
    url: String,
    /// What it is doing.
    state: InputPhase,
    /// Why it ended, or could not be opened, since it delivered last; of one that is fetched.
    #[schema(value_type = Option<String>)]
    error: Option<&'static str>,
    /// The session that delivers it, or listens for it.
    session: Option<String>,
    /// Who is heard, of one that comes in datagrams.
    sender: Option<String>,
    /// What came, of one that comes in datagrams.
    datagrams: Option<Datagrams>,
}

/// What an input is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InputPhase {
    /// It delivers the stream.
    Live,
    /// It is waited for: an encoder may publish, or datagrams may come.
    Listening,
    /// Its peer is called; `pulls` of the stream tells more.
    Calling,
    /// It is opened or called again after a pause.
    Pausing,
    /// Nothing is done about it: the stream is disabled, its shard did not answer, or somebody else
    /// delivers what its peer would be called for.
    Idle,
}

/// What came in datagrams since the input was declared or the node began.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Datagrams {
    /// Datagrams that were taken.
    received: u64,
    /// Bytes of those.
    bytes: u64,
    /// Datagrams of another sender than the one that is heard, or without a transport stream.
    foreign: u64,
    /// Packets of RTP that came too late, or a second time.
    late: u64,
    /// Packets of RTP that were missing when a later one came.
    missing: u64,
    /// Datagrams that the kernel dropped because the receive buffer was full.
    overflowed: u64,
    /// Packets of the transport stream.
    packets: u64,
    /// Packets that are missing in the transport stream.
    packets_lost: u64,
}

impl InputView {
    /// The inputs of a stream.
    pub(super) fn all(item: &Item, gathered: &Gathered) -> Vec<Self> {
        let resolved = &item.resolved;
        let told: Vec<_> = gathered.inputs(&item.name).collect();
        let holder = item.slot.as_ref().and_then(|slot| slot.holder);
        let live = gathered.stream(&item.name).filter(|_| holder.is_some());
        let delivering = live.and_then(|live| resolved.input_of(live.protocol));
        let (mut views, mpegts) = (Vec::new(), resolved.traits.mpegts);
        for (input, declared) in resolved.traits.inputs.iter().enumerate() {
            let place = declared.fetched(mpegts);
            let status =
                told.iter().find(|told| place.as_ref().is_some_and(|is| *is == *told.input));
            let url = declared.shown();
            views.push(match (status, place) {
                (Some(status), _) => Self::told(input, url, status),
                (None, Some(_)) => Self::of(input, url, InputPhase::Idle),
                (None, None) if declared.pulled(mpegts).is_some() => {
                    Self::of(input, url, InputPhase::Idle)
                }
                (None, None) if delivering.is_some_and(|live| live as usize == input) => Self {
                    session: holder.map(|session| session.to_string()),
                    ..Self::of(input, url, InputPhase::Live)
                },
                (None, None) if resolved.disabled || resolved.incomplete => {
                    Self::of(input, url, InputPhase::Idle)
                }
                (None, None) => Self::of(input, url, InputPhase::Listening),
            });
        }
        views
    }

    /// What becomes of those whose peers the node calls.
    pub(super) fn call(views: &mut [Self], pulls: &[PeerSnapshot]) {
        for pull in pulls {
            let Some(view) = views.get_mut(pull.input as usize) else { continue };
            view.state = match pull.status {
                PeerStatus::Active => InputPhase::Live,
                PeerStatus::Starting => InputPhase::Calling,
                PeerStatus::Reconnecting => InputPhase::Pausing,
                PeerStatus::Waiting | PeerStatus::Failed => InputPhase::Idle,
            };
            view.session.clone_from(&pull.session);
            // Who is pulled is no encoder, though it may speak as one.
            let others = views.iter_mut().enumerate().filter(|(at, _)| *at != pull.input as usize);
            for (_, other) in others {
                if pull.session.is_some() && other.session == pull.session {
                    (other.state, other.session) = (InputPhase::Listening, None);
                }
            }
        }
    }

    const fn of(input: usize, url: String, state: InputPhase) -> Self {
        Self { input, url, state, error: None, session: None, sender: None, datagrams: None }
    }

    fn told(input: usize, url: String, status: &InputStatus) -> Self {
        let state = match status.state {
            InputState::Delivering => InputPhase::Live,
            InputState::Listening => InputPhase::Listening,
            InputState::Pausing => InputPhase::Pausing,
        };
        let counts = status.counts;
        Self {
            error: status.error,
            session: status.session.map(|session| session.to_string()),
            sender: status.sender.map(|sender| sender.to_string()),
            datagrams: Some(Datagrams {
                received: counts.datagrams,
                bytes: counts.bytes,
                foreign: counts.foreign,
                late: counts.late,
                missing: counts.missing,
                overflowed: counts.overflowed,
                packets: counts.packets,
                packets_lost: counts.packets_lost,
            }),
            ..Self::of(input, url, state)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dataplane::control::InputCounts;
    use dataplane::ids::{ShardId, StreamName};
    use serde_json::json;

    use super::*;
    use crate::bridge::snapshots;
    use crate::registry::{Change, Registry};

    #[test]
    fn an_input_that_is_fetched_shows_what_its_shard_tells() {
        let name = StreamName::parse("a").unwrap();
        let mut registry = Registry::default();
        let inputs = json!([
            {"url": "publish://", "priority": 0},
            {"url": "udp://239.1.2.3:5000?interface=lo", "priority": 1},
            {"url": "rtmp://0.0.0.0/a?key=secret", "priority": 2},
        ]);
        let value = json!({ "inputs": inputs });
        registry.apply(Change::PutStream { name: name.clone(), value }).unwrap();
        let item = registry.stream(&name).unwrap();
        let mut gathered = Gathered::default();
        let states = |gathered: &Gathered| {
            let views = InputView::all(&item, gathered);
            views.into_iter().map(|view| view.state).collect::<Vec<_>>()
        };
        let (listening, idle) = (InputPhase::Listening, InputPhase::Idle);
        assert_eq!(states(&gathered), [listening, idle, listening], "no shard answered");
        let status = |stream: &StreamName| InputStatus {
            stream: stream.clone(),
            input: Arc::clone(&item.resolved.fetches()[0]),
            state: InputState::Pausing,
            error: Some("address_in_use"),
            session: None,
            sender: None,
            counts: InputCounts { overflowed: 7, ..InputCounts::default() },
        };
        let names = ["0", "a", "b"].map(|name| StreamName::parse(name).unwrap());
        let mut snapshot = snapshots::empty(ShardId(0), 1);
        snapshot.inputs = names.iter().map(status).collect();
        gathered.snapshots = vec![snapshots::empty(ShardId(1), 1), snapshot];
        assert_eq!(gathered.inputs(&name).count(), 1);
        assert_eq!(states(&gathered), [listening, InputPhase::Pausing, listening]);
        let shown = serde_json::to_value(InputView::all(&item, &gathered)).unwrap();
        assert_eq!(shown[1]["error"], "address_in_use");
        assert_eq!(shown[1]["url"], "udp://239.1.2.3:5000?interface=lo");
        assert_eq!(shown[1]["datagrams"]["overflowed"], 7);
        assert_eq!(shown[2]["url"], "rtmp://0.0.0.0/a");
    }
}
