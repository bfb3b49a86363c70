//! Servers: what streaming servers say, and are told.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use dataplane::ids::{Secret, StreamId, StreamName};

use super::peer::{LINK_MAX, PeerId};
use super::publication::{Publication, State};
use super::table::Attached;
use crate::coordinator::identifier::is_identifier;
use crate::coordinator::policy::Policy;
use crate::coordinator::wire::{Message, Role, Source, Whereabouts};

/// Questions of one server that are not answered yet at most; further ones are denied.
pub const REQUESTS_MAX: usize = 256;
const _: () = assert!(REQUESTS_MAX + PUBLICATIONS_MAX <= LINK_MAX, "what comes at once fits");
/// Publications of one server at most.
pub const PUBLICATIONS_MAX: usize = 512;
/// A server waits twenty seconds for an answer: a yes that comes later than this is none.
const ANSWER_MAX: Duration = Duration::from_secs(15);

/// A publisher about whom somebody is asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) peer: PeerId,
    request: String,
    pub(super) channel: StreamName,
    key: Secret,
    since: Instant,
}

/// Whether a publisher of a server may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its number, under which the answer is given.
    pub number: u32,
    /// The server.
    pub server: PeerId,
    /// What it is.
    pub role: Role,
    /// Where it is.
    pub at: Whereabouts,
    /// The channel.
    pub channel: StreamName,
    /// What he shows.
    pub key: Secret,
    /// Where he comes from; the unspecified address if the server does not say.
    pub user: IpAddr,
}

impl Attached {
    /// A server asks for a publisher: a question, unless the answer is no without one.
    pub(super) fn publish_request(
        &mut self,
        peer: PeerId,
        (request, channel): (String, String),
        (key, user_ip): (Secret, &str),
        id_bytes_max: usize,
        now: Instant,
    ) -> Option<Question> {
        let server = self.peers.get(&peer)?;
        let (role, at) = (server.role, server.at);
        let legal = |text: &str| is_identifier(text, id_bytes_max);
        let name = StreamName::parse(&channel).filter(|_| legal(&channel) && legal(&key.0));
        let asks = self.asked.values().filter(|asked| asked.peer == peer).count();
        let free = |name: &StreamName| !self.open.contains_key(name);
        let has_room = self.encoder_for(role).is_some();
        let name = name
            .filter(|name| free(name) && asks < REQUESTS_MAX && has_room)
            .filter(|_| self.published_to(peer) < PUBLICATIONS_MAX);
        let Some(channel) = name else {
            if !has_room {
                tracing::info!(
                    %peer, role = role.name(),
                    "a publisher is denied: no attached encoder has room, nor has the encoder of \
                     this node, which pulls from servers of role rtmp alone"
                );
            }
            self.send(peer, Message::PublishDeny { request, channel });
            return None;
        };
        self.questions = self.questions.wrapping_add(1);
        let number = self.questions;
        // Nobody knows who it is, and the server answers for none of its users.
        let user = user_ip.parse().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let asked = Asked { peer, request, channel: channel.clone(), key: key.clone(), since: now };
        self.asked.insert(number, asked);
        Some(Question { number, server: peer, role, at, channel, key, user })
    }

    /// The publisher of a question may begin, under the number and on the terms that were given;
    /// or may not.
    pub fn answered(
        &mut self,
        number: u32,
        granted: Option<(StreamName, StreamId, Policy)>,
        now: Instant,
    ) {
        let Some(Asked { peer, request, channel, key, since }) = self.asked.remove(&number) else {
            return;
        };
        // An encoder pulls by the name that the server has: there is no other one.
        // An application that names publications may say a name again.
        let granted = granted.filter(|(name, id, _)| {
            *name == channel
                && !self.open.contains_key(name)
                && !self.publications.contains_key(id)
                && now < since + ANSWER_MAX
        });
        let role = self.peers.get(&peer).map(|server| server.role);
        let encoder = granted.as_ref().and_then(|_| self.encoder_for(role?));
        match (granted, encoder, self.peers.get(&peer)) {
            (Some((name, id, policy)), Some(encoder), Some(server)) => {
                let publication = Publication {
                    channel: name.clone(),
                    server: peer,
                    encoder: None,
                    source: Source::of(server.role),
                    uri: server.at.uri(server.role, name.as_str(), &key.0),
                    policy,
                    state: State::Live,
                    pictures: None,
                    pass: Secret::default(),
                    pulls: Vec::new(),
                    begun: false,
                    lease: None,
                };
                tracing::info!(stream = %name, %id, server = %peer, %encoder, "published there");
                self.publications.insert(id, publication);
                self.open.insert(name, id);
                // It pulls before the publisher is live, as it always did, and waits for him.
                match encoder {
                    PeerId::SELF => drop(self.pull(id, now)),
                    encoder => self.encode(id, encoder, now),
                }
                let (channel, id) = (channel.to_string(), id.to_string());
                self.send(peer, Message::PublishAccept { request, channel, id });
            }
            _ => self.send(peer, Message::PublishDeny { request, channel: channel.to_string() }),
        }
        self.settle(now);
    }

    /// A server says that a publisher is gone.
    pub(super) fn publish_end(&mut self, peer: PeerId, channel: &str, id: &str, now: Instant) {
        let open = StreamName::parse(channel).and_then(|name| self.open.get(&name).copied());
        let its = |id: &StreamId| self.publications[id].server == peer;
        let Some(live) = open.filter(its) else { return };
        // The end of one that was followed by another is late news.
        if id.is_empty() || StreamId::parse(id) == Some(live) {
            self.end(live, now);
        }
    }

    /// A server is gone, and its publishers with it.
    pub(super) fn server_lost(&mut self, peer: PeerId, now: Instant) {
        self.asked.retain(|_, asked| asked.peer != peer);
        let its = |publication: &&Publication| publication.server == peer;
        let its = self.publications.iter().filter(|(_, publication)| its(publication));
        let its: Vec<_> = its.map(|(&id, _)| id).collect();
        for id in its {
            self.end(id, now);
        }
    }

    fn published_to(&self, peer: PeerId) -> usize {
        self.publications.values().filter(|publication| publication.server == peer).count()
    }
}
