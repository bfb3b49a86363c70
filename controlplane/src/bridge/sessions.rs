//! Sessions: the table is fed by what shards tell, and kept whole.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use codecs::time::WallTime;
use dataplane::control::{AuthorizeRequest, CloseReason, Command, Detail, Role, SessionEvent};
use dataplane::ids::{SessionId, ShardId, StreamName};

use super::exchange::Exchange;
use super::fleet::Fleet;
use super::gather::Asker;
use super::gathered::Gathered;
use crate::auth::Absentee;
use crate::events::{Kind, Party, told_of};
use crate::viewing::{Change, Found, LiveSession, Order, Sessions, SessionsAsk};

impl<F: Fleet> Exchange<F> {
    /// The sessions that publish or play.
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    pub(super) fn ask_of_sessions(&mut self, ask: SessionsAsk, now: Instant) {
        match ask {
            SessionsAsk::Keys(keys) => self.tell_all(|| Command::ViewKeys(Arc::clone(&keys))),
            // The request may be gone: then nobody misses the answer.
            SessionsAsk::Closed { reply } => drop(reply.send(self.sessions.closed())),
            SessionsAsk::Kick { session, reply } => {
                let session = self.sessions.numbered(session);
                let stream = self.sessions.get(session).map(|live| live.stream.clone());
                let reason = CloseReason::Kicked;
                match self.sessions.kick(session, &self.running(), reply, now) {
                    Some(Order::Shard(shard)) => {
                        self.publish_kick(session, stream, now);
                        self.tell(shard, Command::Kick { session, reason });
                    }
                    Some(Order::Everybody) => self.tell_all(|| Command::Kick { session, reason }),
                    None => {}
                }
            }
        }
    }

    /// A shard had a session that it was told to close, or had it not.
    pub(super) fn kicked(
        &mut self,
        shard: ShardId,
        session: SessionId,
        found: bool,
        stream: Option<StreamName>,
        now: Instant,
    ) {
        if self.sessions.kick_answered(shard, session, found) {
            self.publish_kick(session, stream, now);
        }
    }

    fn publish_kick(&mut self, session: SessionId, stream: Option<StreamName>, now: Instant) {
        let reason = CloseReason::Kicked.name();
        self.news.push(stream, Kind::SessionKicked { session, reason });
        self.news.tell(&self.bus, now);
    }

    /// A shard tells of a session.
    pub(super) fn session_event(&mut self, event: SessionEvent, now: Instant) {
        for change in self.sessions.take(event, calendar(), now) {
            self.changed(&change, now);
        }
        self.news.tell(&self.bus, now);
    }

    /// Tells of a session that began or ended. Players come and go in crowds, each in an order of
    /// its own; what a publisher does is part of the order of its stream, and told at once.
    fn changed(&mut self, change: &Change, now: Instant) {
        let claim = match change {
            Change::Opened(session, live) => {
                if live.role == Role::Play {
                    self.gate.plays(&live.stream, true, now);
                }
                let party = party_of(*session, live);
                self.gate.began(party, live.role, &live.stream, now)
            }
            Change::Closed(closed) => {
                if closed.was.role == Role::Play {
                    self.gate.plays(&closed.was.stream, false, now);
                }
                self.gate.ended(closed.session)
            }
        };
        let (stream, id, kind) = told_of(change, claim);
        match kind {
            Kind::PublishStarted { .. } | Kind::PublishEnded { .. } => {
                self.bus.publish(Some(stream), id, kind);
            }
            kind => self.news.push(Some(stream.clone()), kind),
        }
    }

    /// A shard lost what it had to tell.
    pub(super) fn sessions_overflowed(&mut self, shard: ShardId, now: Instant) {
        tracing::warn!(shard = shard.0, "sessions were not told of: all are asked for");
        self.sessions.overflowed(now);
    }

    pub(super) fn tick_sessions(&mut self, now: Instant) {
        for session in self.gate.turn(now) {
            self.send_away(session, now);
        }
        for absentee in self.gate.absentees(now) {
            match absentee {
                Absentee::Player(session, _) => self.send_away(session, now),
                Absentee::Publication(stream, publication) => {
                    tracing::info!(%stream, "nobody plays it: the application has it ended");
                    self.kick_publisher(&stream, publication);
                }
            }
        }
        for claim in self.gate.unbegun(now) {
            let AuthorizeRequest { session, protocol, peer, ref agent, ref stream, .. } =
                *claim.request;
            let (agent, stream) = (Arc::clone(agent), Some(stream.clone()));
            let party = Party { session, protocol, peer, agent, claim: Some(claim) };
            self.news.push(stream, Kind::SessionUnopened { party });
        }
        self.sessions.expire_kicks(now);
        if self.sessions.resync_due().is_some_and(|due| due <= now) {
            self.sessions.resync_asked();
            self.gather(Asker::Resync, Detail::ALL, now);
        }
    }

    /// Has the application be asked about all who are there, whether they may stay.
    pub(super) fn watch_all(&mut self, now: Instant) {
        let wall = calendar();
        for (session, live) in self.sessions.each() {
            let age_ms = wall.as_unix_millis().saturating_sub(live.started.as_unix_millis());
            let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or(0));
            self.gate.watch(party_of(session, live), live.role, &live.stream, now, age);
        }
    }

    /// Closes a session for an application. Nobody waits for the outcome: whoever is gone already
    /// is.
    fn send_away(&mut self, session: SessionId, now: Instant) {
        let (reply, _) = tokio::sync::oneshot::channel();
        self.ask_of_sessions(SessionsAsk::Kick { session, reply }, now);
    }

    pub(super) fn resynced(&mut self, gathered: &Gathered, now: Instant) {
        let Found { sessions, streams } = self.sessions.resync_with(gathered, calendar(), now);
        tracing::info!(
            sessions = sessions.len(),
            streams = streams.len(),
            "compared with the shards: so many were not as they had been told"
        );
        for change in streams {
            self.stream_found(change, now);
        }
        for change in &sessions {
            self.changed(change, now);
        }
        if self.sessions.resync_due().is_none() {
            let Self { coordinator, sessions, .. } = self;
            coordinator.end_unknown(|stream, id| sessions.has_publication(stream, id));
        }
        self.news.tell(&self.bus, now);
    }
}

fn party_of(session: SessionId, live: &LiveSession) -> Party {
    let LiveSession { protocol, peer, ref agent, .. } = *live;
    Party { session, protocol, peer, agent: Arc::clone(agent), claim: None }
}

/// The calendar, as shards read it.
fn calendar() -> WallTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    WallTime::from_unix_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::thread::JoinHandle;

    use dataplane::Node;
    use dataplane::config::{
        AuthConfig, Config, DemoConfig, EgressConfig, HlsConfig, HlsSession, Limits,
        ListenerConfig, ListenerKind, SessionConfig, ShardConfig, SrtConfig, SrtSecret,
        StreamConfig,
    };
    use dataplane::reactor::{BackendChoice, ReactorConfig};
    use dataplane::session::view_token::ViewKeys;

    use crate::auth::Rules;
    use crate::events::{Bus, RingLimits};

    static DEMO_FLV: &[u8] = include_bytes!("../../../dataplane/assets/demo.flv");
    /// More than a mailbox and what waits behind it hold together.
    const VIEWERS: usize = 8_500;
    const TIME_BOUND: Duration = Duration::from_secs(60);

    /// One shard that plays the demo clip to viewers who are told apart.
    fn node() -> Node {
        let listener = ListenerConfig::new(ListenerKind::Http, "127.0.0.1:0".parse().unwrap());
        let hls = HlsConfig {
            session: HlsSession::Token,
            session_idle: Duration::from_secs(600),
            ..HlsConfig::default()
        };
        let reactor = ReactorConfig {
            choice: BackendChoice::Auto,
            sq_entries: 256,
            recv_buffers: 64,
            recv_buffer_bytes: 4_096,
            ..ReactorConfig::default()
        };
        let demo = StreamName::parse("demo").unwrap();
        Node::start(Config {
            shards: vec![ShardConfig { cpu: None }],
            pins: Vec::new(),
            reactor,
            listeners: vec![listener],
            tls: None,
            limits: Limits { http_requests_max: u64::MAX, ..Limits::default() },
            egress: EgressConfig::default(),
            stream: StreamConfig { hls, ..StreamConfig::default() },
            session: SessionConfig::default(),
            auth: AuthConfig::default(),
            srt: SrtConfig::new(SrtSecret([1; 32])),
            view_keys: ViewKeys { current: [1; 32], before: Vec::new() },
            page_bytes: 64 << 20,
            poison: false,
            demo: Some(DemoConfig { name: demo, flv: DEMO_FLV }),
        })
        .unwrap()
    }

    /// Reads playlists of renditions, and begins as many views as it is told to.
    fn view(addr: SocketAddr, views: usize) -> JoinHandle<()> {
        std::thread::spawn(move || {
            let mut stream = BufReader::new(TcpStream::connect(addr).unwrap());
            let mut ask = |method: &str, target: &str| {
                let request = format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n");
                stream.get_mut().write_all(request.as_bytes()).unwrap();
                let (mut head, mut len) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") {
                    assert!(stream.read_line(&mut head).unwrap() > 0, "{head}");
                }
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                if let Some((_, rest)) = head.split_once("Content-Length: ") {
                    len = rest.split_once("\r\n").unwrap().0.parse().unwrap();
                }
                let mut body = vec![0; if method == "HEAD" { 0 } else { len }];
                stream.read_exact(&mut body).unwrap();
                String::from_utf8(body).unwrap()
            };
            for _ in 0..views.max(1) {
                let index = ask("GET", "/demo/index.m3u8");
                let media = index.lines().find(|line| line.starts_with("media.m3u8?s=")).unwrap();
                if views > 0 {
                    ask("HEAD", &format!("/demo/{media}"));
                }
            }
        })
    }

    fn pump_until(exchange: &mut Exchange<Node>, is: impl Fn(&Exchange<Node>) -> bool) {
        let late = Instant::now() + TIME_BOUND;
        while !is(exchange) {
            let now = Instant::now();
            assert!(now < late, "never; {} sessions", exchange.sessions().count());
            exchange.pump(now);
            exchange.tick(now);
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_table_is_exact_after_nobody_read_the_mailbox() {
        let node = node();
        let addr = node.listeners()[0].1;
        let bus = Bus::new("test".into(), RingLimits::default());
        let mut exchange = Exchange::new(node, Rules::default(), bus, Instant::now());
        // Who may view is asked once, and remembered by the shard.
        let first = view(addr, 0);
        pump_until(&mut exchange, |_| first.is_finished());
        first.join().unwrap();
        // Nobody reads what the shard tells meanwhile.
        view(addr, VIEWERS).join().unwrap();
        pump_until(&mut exchange, |exchange| exchange.sessions().count() == VIEWERS);
        // It is exact, not merely as long as it should be: each is known to its shard.
        let (session, mut answer) = {
            let session = *exchange.sessions().ids().next_back().unwrap();
            let (reply, answer) = tokio::sync::oneshot::channel();
            exchange.ask_of_sessions(SessionsAsk::Kick { session, reply }, Instant::now());
            (session, answer)
        };
        pump_until(&mut exchange, |exchange| exchange.sessions().get(session).is_none());
        assert_eq!(answer.try_recv(), Ok(crate::viewing::KickOutcome::Closed));
        let told = |kind| exchange.bus.published().find(|&(name, _)| name == kind);
        assert_eq!(told("session.kicked"), Some(("session.kicked", 1)));
        assert_eq!(exchange.sessions().count(), VIEWERS - 1);
        let closed = exchange.sessions().closed();
        assert_eq!((closed.len(), closed[0].reason), (1, Some(CloseReason::Kicked)));
        exchange.sessions.overflowed(Instant::now());
        pump_until(&mut exchange, |exchange| exchange.sessions().due().is_none());
        assert_eq!(exchange.sessions().closed().len(), 1, "a comparison finds nothing to mend");
        assert_eq!(exchange.sessions().count(), VIEWERS - 1);
    }
}
