//! Bindings: whoever plays a publication, or waits for it, by what its application excluded is sent
//! away.
//!
//! Each order is a look at every connection of every shard, and encoders come back in crowds: what
//! is to be bound is gathered for a moment, and is one order then.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::control::{CloseReason, Command, ProtocolSet, Role, StreamKick};
use dataplane::ids::StreamName;

use super::exchange::Exchange;
use super::fleet::Fleet;

/// They are gathered for this long.
const MOMENT: Duration = Duration::from_millis(100);

/// Streams whose players are to be bound. Lives on: the control thread.
#[derive(Debug, Default)]
pub(super) struct Bindings {
    /// In the order in which shards look for them.
    streams: BTreeSet<StreamName>,
    due: Option<Instant>,
}

impl Bindings {
    /// The players of `stream` are to be bound.
    pub(super) fn add(&mut self, stream: &StreamName, now: Instant) {
        self.streams.insert(stream.clone());
        self.due.get_or_insert(now + MOMENT);
    }

    /// When they are bound.
    pub(super) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Those whose time has come.
    fn take(&mut self, now: Instant) -> BTreeSet<StreamName> {
        match self.due.take_if(|due| *due <= now) {
            Some(_) => std::mem::take(&mut self.streams),
            None => BTreeSet::new(),
        }
    }
}

impl<F: Fleet> Exchange<F> {
    /// Has shards send away those whom a publication leaves no place for: as is said of it now.
    pub(super) fn bind(&mut self, now: Instant) {
        let streams = self.bindings.take(now);
        if streams.is_empty() {
            return;
        }
        let policies = self.gate.policies();
        let kick = |stream: StreamName| {
            let excluded = policies.excluded(&stream);
            let binds = excluded != ProtocolSet::NONE;
            binds.then(|| StreamKick::of(stream, Some(Role::Play), excluded))
        };
        let kicks: Arc<[_]> = streams.into_iter().filter_map(kick).collect();
        if !kicks.is_empty() {
            self.tell_all(|| Command::KickStreams {
                kicks: Arc::clone(&kicks),
                reason: CloseReason::StreamChanged,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::one_shard::OneShard;
    use super::*;
    use dataplane::control::{
        AuthorizeRequest, Event, Intent, Protocol, StreamPublisher, StreamStart, Ticket, Verdict,
    };
    use dataplane::ids::{SessionId, StreamId};

    use crate::auth::Application;
    use crate::auth::tests::{application, asking, request};
    use crate::dialect::Dialect;
    use crate::events::{Bus, RingLimits};
    use crate::outbound::scripted::{Application as Scripted, Reply};

    struct Bench {
        exchange: Exchange<OneShard>,
        now: Instant,
    }

    impl Bench {
        fn new(url: &str) -> Self {
            let (bus, now) = (Bus::new("edge-1".into(), RingLimits::default()), Instant::now());
            let dialect = Dialect::Zlmediakit;
            let rules = asking(Application { dialect, ..application(url) });
            Self { exchange: Exchange::new(OneShard::default(), rules, bus, now), now }
        }

        fn told(&mut self, event: Event) -> Vec<Command> {
            self.exchange.fleet.events.push_back(event);
            self.exchange.pump(self.now);
            std::mem::take(&mut self.exchange.fleet.heard)
        }

        /// A publisher is let in by what the application says.
        async fn asks(&mut self, session: SessionId, stream: &str) {
            let request = request(Intent::Publish, stream, "k");
            let request = Box::new(AuthorizeRequest { session, ..request });
            let ticket = Ticket { slot: 1, generation: 1, epoch: 1 };
            self.told(Event::Authorize { ticket, request });
            let landed = self.exchange.landed().await.expect("the application is asked");
            self.exchange.settle(landed, self.now);
            let heard = std::mem::take(&mut self.exchange.fleet.heard);
            let is_let_in = |command: &Command| {
                matches!(command, Command::Verdict { verdict: Verdict::Allow(_), .. })
            };
            assert!(heard.iter().any(is_let_in), "{heard:?}");
        }

        async fn begins(&mut self, session: SessionId, stream: &str) -> Vec<Command> {
            self.asks(session, stream).await;
            let (peer, agent) = ("192.0.2.1:5".parse().unwrap(), "OBS".into());
            let publisher = Some(StreamPublisher { session, peer, agent });
            let (stream, id, protocol) = (name(stream), ID, Protocol::Rtmp);
            self.told(Event::StreamStarted(Box::new(StreamStart {
                stream,
                id,
                protocol,
                publisher,
            })))
        }

        /// The encoder of a stream is lost, and comes back.
        async fn returns(&mut self, session: SessionId, stream: &str) -> Vec<Command> {
            let (id, reason) = (ID, CloseReason::ConnectionLost);
            let mut heard = self.told(Event::StreamLost { stream: name(stream), id, reason });
            self.asks(session, stream).await;
            let (stream, session, protocol) = (name(stream), Some(session), Protocol::Rtmp);
            heard.extend(self.told(Event::StreamReturned { stream, id, session, protocol }));
            heard
        }

        /// Who is sent away once a moment is over.
        fn bound(&mut self) -> Vec<Vec<StreamKick>> {
            self.now += MOMENT;
            self.exchange.tick(self.now);
            kicks(&std::mem::take(&mut self.exchange.fleet.heard))
        }
    }

    const ID: Option<StreamId> = Some(StreamId([1; 16]));

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    fn kicks(heard: &[Command]) -> Vec<Vec<StreamKick>> {
        let kicks = heard.iter().filter_map(|command| match command {
            Command::KickStreams { kicks, .. } => Some(kicks.to_vec()),
            _ => None,
        });
        kicks.collect()
    }

    fn kick(stream: &str, protocols: &[Protocol]) -> StreamKick {
        let protocols = protocols.iter().copied().collect();
        StreamKick::of(name(stream), Some(Role::Play), protocols)
    }

    /// Many encoders come at once, and come back: one order binds all, and none those again whom
    /// the same answer bound already.
    #[tokio::test]
    async fn what_is_excluded_is_one_order_for_a_moment_and_only_when_it_is_new() {
        // Publisher 9 may have no players of RTMP and FLV either, publisher 10 everybody.
        let scripted = Scripted::start(|request| {
            let answer = match request {
                request if request.contains(r#""id":"000000000009""#) => {
                    r#"{"code":0,"enable_hls":false,"enable_rtmp":false}"#
                }
                request if request.contains(r#""id":"00000000000a""#) => r#"{"code":0}"#,
                _ => r#"{"code":0,"enable_hls":false}"#,
            };
            Reply::status(200, "", answer)
        });
        let mut bench = Bench::new(&scripted.url("/"));
        for (session, stream) in [(2, "news"), (1, "cam"), (10, "open")] {
            let heard = bench.begins(SessionId(session), stream).await;
            assert!(kicks(&heard).is_empty(), "they are gathered");
        }
        assert_eq!(bench.exchange.bindings.due(), Some(bench.now + MOMENT));
        let hls = [Protocol::Hls];
        assert_eq!(bench.bound(), [vec![kick("cam", &hls), kick("news", &hls)]]);
        assert_eq!(bench.exchange.bindings.due(), None);

        let heard = bench.returns(SessionId(3), "cam").await;
        assert!(kicks(&heard).is_empty() && bench.bound().is_empty(), "nobody is there");
        bench.returns(SessionId(9), "cam").await;
        let more = [Protocol::Hls, Protocol::Rtmp, Protocol::HttpFlv, Protocol::WsFlv];
        assert_eq!(bench.bound(), [vec![kick("cam", &more)]], "more is excluded");
        // What is taken back within a moment binds nobody.
        bench.returns(SessionId(4), "cam").await;
        bench.returns(SessionId(10), "cam").await;
        assert!(bench.bound().is_empty());
    }
}
