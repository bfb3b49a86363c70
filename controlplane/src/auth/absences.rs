//! Absences: an application is asked about a player whose stream nobody publishes, and about a
//! stream that nobody plays; it may have either of them ended.
//!
//! ```text
//!   a player waits -----------------------> question --close--> the player is sent away
//!   nobody plays a stream --for a while---> question --close--> its publication is over
//!                                  `--> or at once, if that was said when it was published
//! ```
//!
//! A stream is asked about once for each time that its last player leaves it, or that it begins
//! without one. Whoever comes while the question is under way keeps it; so does a stream that comes
//! keep those who waited for it.
//!
//! Limits: [`UNDER_WAY_MAX`] questions under way; [`PLAYERS_MAX`] players that are to be asked
//! about, of whom the oldest are forgotten first; one entry for each stream that lives or is
//! played.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dataplane::control::WaitingPlayer;
use dataplane::ids::{SessionId, StreamId, StreamName};
use http::header::AUTHORIZATION;
use tokio::task::{Id, JoinSet};

use super::application::Application;
use super::gate::Gate;
use crate::dialect::{Envelope, Note};
use crate::events::Party;
use crate::outbound::{Address, Client};

/// Questions under way at most.
const UNDER_WAY_MAX: usize = 64;
/// Answers that are there are looked for this often.
const LOOK: Duration = Duration::from_millis(100);
/// Players that are to be asked about at most.
const PLAYERS_MAX: usize = 1_024;

/// What is asked about absences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbsenceTerms {
    /// Where, about a player that waits for its stream.
    pub not_found: Option<Address>,
    /// Where, about a stream that nobody plays.
    pub none_reader: Option<Address>,
    /// After nobody played it for so long.
    pub patience: Duration,
    /// Everybody who plays is known: viewers of HLS have sessions, or there are none.
    pub sees_all: bool,
}

/// Who is to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absentee {
    /// A player that waits for that stream.
    Player(SessionId, StreamName),
    /// A publication that nobody plays.
    Publication(StreamName, Option<StreamId>),
}

/// A stream, as far as players are concerned.
#[derive(Debug, Default)]
struct Watched {
    /// Its publication, while it lives.
    publication: Option<Option<StreamId>>,
    readers: u64,
    /// Its turn to be asked about, while nobody plays it.
    turn: Option<u64>,
}

/// Who is missing what. Lives on: the control thread.
#[derive(Debug)]
pub(super) struct Absences {
    client: Client,
    streams: HashMap<StreamName, Watched>,
    /// Streams that nobody plays, in the order in which that began.
    unread: BTreeMap<u64, (Instant, StreamName)>,
    next: u64,
    players: VecDeque<(SessionId, StreamName, Note)>,
    tasks: JoinSet<bool>,
    asked: HashMap<Id, Absentee>,
}

impl Absences {
    pub(super) fn new() -> Self {
        Self {
            client: Client::new(UNDER_WAY_MAX),
            streams: HashMap::new(),
            unread: BTreeMap::new(),
            next: 0,
            players: VecDeque::new(),
            tasks: JoinSet::new(),
            asked: HashMap::new(),
        }
    }

    /// A stream began to live.
    pub(super) fn began(&mut self, stream: &StreamName, id: Option<StreamId>, now: Instant) {
        self.change(stream, now, |watched| watched.publication = Some(id));
    }

    /// A stream is over.
    pub(super) fn over(&mut self, stream: &StreamName, now: Instant) {
        self.change(stream, now, |watched| watched.publication = None);
    }

    /// Somebody plays a stream from now on, or no more.
    pub(super) fn plays(&mut self, stream: &StreamName, came: bool, now: Instant) {
        self.change(stream, now, |watched| {
            watched.readers = match came {
                true => watched.readers + 1,
                false => watched.readers.saturating_sub(1),
            };
        });
    }

    fn change(&mut self, stream: &StreamName, now: Instant, change: impl FnOnce(&mut Watched)) {
        let watched = self.streams.entry(stream.clone()).or_default();
        let was_unread = watched.is_unread();
        change(watched);
        let (is_unread, is_nothing) = (watched.is_unread(), watched.is_nothing());
        if was_unread && !is_unread {
            self.unread.remove(&watched.turn.take().unwrap_or(u64::MAX));
        } else if is_unread && !was_unread {
            watched.turn = Some(self.next);
            self.unread.insert(self.next, (now, stream.clone()));
            self.next += 1;
        }
        if is_nothing {
            self.streams.remove(stream);
        }
    }

    fn wait(&mut self, session: SessionId, stream: StreamName, note: Note) {
        if self.players.len() >= PLAYERS_MAX {
            self.players.pop_front();
        }
        self.players.push_back((session, stream, note));
    }

    /// When [`Self::turn`] has something to do.
    fn deadline(&self, application: Option<&Application>, now: Instant) -> Option<Instant> {
        if !self.asked.is_empty() {
            return Some(now + LOOK);
        }
        let terms = &application?.absences;
        let unread = self.unread.values().next().map(|(since, _)| *since + terms.patience);
        if self.players.is_empty() { unread } else { Some(now) }
    }

    /// Asks about those whose time has come; who is to go. `closes` tells of which streams it was
    /// said that they are to end when nobody plays them.
    fn turn(
        &mut self,
        application: Option<&Application>,
        closes: impl Fn(&StreamName) -> bool,
        now: Instant,
    ) -> Vec<Absentee> {
        let mut gone = Vec::new();
        while let Some(done) = self.tasks.try_join_next_with_id() {
            let (task, close) = match done {
                Ok((task, close)) => (task, close),
                // A panic of ours ends nothing.
                Err(error) => (error.id(), false),
            };
            let absentee = self.asked.remove(&task);
            gone.extend(absentee.filter(|absentee| close && self.is_missing(absentee)));
        }
        let Some(application) = application else {
            self.players.clear();
            return gone;
        };
        let terms = &application.absences;
        while self.asked.len() < UNDER_WAY_MAX
            && let Some((session, stream, note)) = self.players.pop_front()
        {
            let player = Absentee::Player(session, stream);
            if self.is_missing(&player) {
                self.ask(application, terms.not_found.as_ref(), note, player);
            }
        }
        while self.asked.len() < UNDER_WAY_MAX
            && let Some(entry) = self.unread.first_entry()
            && entry.get().0 + terms.patience <= now
        {
            let (_, stream) = entry.remove();
            let Some(watched) = self.streams.get_mut(&stream) else { continue };
            watched.turn = None;
            let id = watched.publication.flatten();
            let absentee = Absentee::Publication(stream.clone(), id);
            if !terms.sees_all {
                continue;
            }
            if closes(&stream) {
                gone.push(absentee);
            } else if let Some(note) =
                application.dialect.none_reader(&application.asker.node, &stream)
            {
                self.ask(application, terms.none_reader.as_ref(), note, absentee);
            }
        }
        gone
    }

    /// True unless the stream came that a player waited for, or somebody plays what nobody played
    /// when it was asked about, or it is another publication since.
    fn is_missing(&self, absentee: &Absentee) -> bool {
        match absentee {
            Absentee::Player(_, stream) => {
                self.streams.get(stream).is_none_or(|watched| watched.publication.is_none())
            }
            Absentee::Publication(stream, id) => self
                .streams
                .get(stream)
                .is_some_and(|watched| watched.is_unread() && watched.publication == Some(*id)),
        }
    }

    fn ask(
        &mut self,
        application: &Application,
        address: Option<&Address>,
        note: Note,
        about: Absentee,
    ) {
        let Some(address) = address else { return };
        let (dialect, timeout) = (application.dialect, application.timeout);
        let secret = Some(application.secret.0.as_str());
        let envelope = Envelope { dialect, verb: application.verb, secret };
        let Ok(mut call) = envelope.call(address, &note, SystemTime::now(), timeout) else {
            return;
        };
        call.headers.extend(application.authorization.clone().map(|value| (AUTHORIZATION, value)));
        let client = self.client.clone();
        let task = self.tasks.spawn(async move {
            match client.send(call).await {
                Ok(answer) => dialect.closes(&answer),
                Err(failure) => {
                    let (call, reason) = (note.call, failure.name());
                    tracing::debug!(call, reason, "nobody says whether it is to end");
                    false
                }
            }
        });
        self.asked.insert(task.id(), about);
    }
}

impl Watched {
    const fn is_unread(&self) -> bool {
        self.publication.is_some() && self.readers == 0
    }

    const fn is_nothing(&self) -> bool {
        self.publication.is_none() && self.readers == 0
    }
}

impl Gate {
    /// True if the application is asked about players that wait.
    #[must_use]
    pub fn asks_about_waiting(&self) -> bool {
        let application = self.rules.application.as_ref();
        application.is_some_and(|asked| asked.absences.not_found.is_some())
    }

    /// A player waits for a stream that nobody publishes.
    pub fn player_waits(&mut self, player: WaitingPlayer) {
        let Some(application) = &self.rules.application else { return };
        let WaitingPlayer { session, protocol, peer, agent, stream } = player;
        let claim = self.claims.granted_to(session);
        let party = Party { session, protocol, peer, agent, claim };
        let node = Arc::clone(&application.asker.node);
        if let Some(note) = application.dialect.not_found(&node, &party, &stream) {
            self.absences.wait(session, stream, note);
        }
    }

    /// A stream began to live.
    pub fn stream_began(&mut self, stream: &StreamName, id: Option<StreamId>, now: Instant) {
        self.absences.began(stream, id, now);
    }

    /// A stream is over.
    pub fn stream_over(&mut self, stream: &StreamName, now: Instant) {
        self.absences.over(stream, now);
    }

    /// Somebody plays a stream from now on, or no more.
    pub fn plays(&mut self, stream: &StreamName, came: bool, now: Instant) {
        self.absences.plays(stream, came, now);
    }

    /// Asks about those who miss something; who is to go.
    pub fn absentees(&mut self, now: Instant) -> Vec<Absentee> {
        let Self { absences, policies, rules, .. } = self;
        absences.turn(rules.application.as_ref(), |stream| policies.closes_unread(stream), now)
    }

    /// When [`Self::absentees`] has something to do.
    pub(super) fn absences_due(&self, now: Instant) -> Option<Instant> {
        self.absences.deadline(self.rules.application.as_ref(), now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    use dataplane::control::{AuthorizeRequest, Intent, Protocol};
    use serde_json::{Value, json};

    use crate::auth::Rules;
    use crate::auth::tests::{Bench, application, asking, request};
    use crate::dialect::Dialect;
    use crate::outbound::scripted::{Application as Scripted, Reply};

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Rules by which `url` is asked about absences.
    fn missing(url: &str, sees_all: bool) -> Rules {
        let address = Address::parse(url);
        let absences = AbsenceTerms {
            not_found: address.clone(),
            none_reader: address,
            patience: PATIENCE,
            sees_all,
        };
        asking(Application { dialect: Dialect::Zlmediakit, absences, ..application(url) })
    }

    fn stream(name: &str) -> StreamName {
        StreamName::parse(name).unwrap()
    }

    /// Waits for the answers to what is asked at `now`; who is to go.
    async fn turn(gate: &mut Gate, now: Instant) -> Vec<Absentee> {
        let mut gone = gate.absentees(now);
        while gate.absences_due(now) == Some(now + LOOK) {
            tokio::task::yield_now().await;
            gone.extend(gate.absentees(now));
        }
        gone
    }

    fn body(seen: &str) -> Value {
        serde_json::from_str(seen.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn answering(body: &'static str) -> Scripted {
        Scripted::start(move |_| Reply::status(200, "", body))
    }

    const CLOSE: &str = r#"{"code":0,"close":true}"#;

    #[tokio::test]
    async fn a_stream_is_asked_about_once_each_time_that_its_last_player_leaves() {
        let scripted = answering(r#"{"code":0,"close":false}"#);
        let mut bench = Bench::new(missing(&scripted.url("/none"), true));
        let (begin, cam, id) = (bench.now, stream("news/cam"), Some(StreamId([7; 16])));
        bench.gate.stream_began(&cam, id, begin);
        assert_eq!(bench.gate.due(begin), Some(begin + PATIENCE));
        bench.gate.plays(&cam, true, begin + PATIENCE / 2);
        assert_eq!(turn(&mut bench.gate, begin + PATIENCE).await, []);
        assert!(scripted.seen().is_empty(), "somebody plays it");
        let mut now = begin + PATIENCE;
        for asked in 1..=2 {
            bench.gate.plays(&cam, true, now);
            bench.gate.plays(&cam, false, now);
            assert_eq!(bench.gate.due(now), None, "the first one is there");
            bench.gate.plays(&cam, false, now);
            now += PATIENCE;
            assert_eq!(turn(&mut bench.gate, now).await, []);
            assert_eq!(turn(&mut bench.gate, now + 9 * PATIENCE).await, []);
            assert_eq!(scripted.seen().len(), asked);
            bench.gate.plays(&cam, true, now);
        }
        let expected = json!({
            "mediaServerId": "edge-1", "schema": "rtmp", "vhost": "__defaultVhost__",
            "app": "news", "stream": "cam",
        });
        assert_eq!(body(&scripted.seen()[0]), expected);
        bench.gate.plays(&cam, false, now);
        bench.gate.stream_over(&cam, now);
        assert_eq!((bench.gate.due(now), bench.gate.absences.streams.len()), (None, 0));
    }

    #[tokio::test]
    async fn only_who_still_misses_something_is_to_go() {
        for (reply, goes) in [
            (CLOSE, true),
            (r#"{"code":0,"close":1}"#, true),
            (r#"{"code":0}"#, false),
            (r#"{"code":-1,"close":true}"#, false),
            (r#"{"close":true}"#, false),
            ("close", false),
            ("", false),
        ] {
            let scripted = answering(reply);
            let mut bench = Bench::new(missing(&scripted.url("/"), true));
            let (begin, cam, id) = (bench.now, stream("cam"), Some(StreamId([7; 16])));
            bench.gate.stream_began(&cam, id, begin);
            let gone = turn(&mut bench.gate, begin + PATIENCE).await;
            let expected = Absentee::Publication(cam.clone(), id);
            assert_eq!(gone, if goes { vec![expected] } else { vec![] }, "{reply}");
        }
        // A player comes, or another publication begins, while the question is under way.
        for change in [
            (|gate: &mut Gate, cam: &StreamName, now| gate.plays(cam, true, now))
                as fn(&mut Gate, &StreamName, Instant),
            |gate, cam, now| gate.stream_over(cam, now),
            |gate, cam, now| {
                gate.stream_over(cam, now);
                gate.stream_began(cam, Some(StreamId([8; 16])), now);
            },
        ] {
            let scripted = answering(CLOSE);
            let mut bench = Bench::new(missing(&scripted.url("/"), true));
            let (later, cam) = (bench.now + PATIENCE, stream("cam"));
            bench.gate.stream_began(&cam, Some(StreamId([7; 16])), bench.now);
            assert_eq!(bench.gate.absentees(later), []);
            change(&mut bench.gate, &cam, later);
            assert_eq!(turn(&mut bench.gate, later).await, []);
            assert_eq!(scripted.seen().len(), 1);
        }
    }

    #[tokio::test]
    async fn a_stream_ends_unasked_if_that_was_said_and_everybody_is_seen() {
        for (sees_all, goes) in [(true, true), (false, false)] {
            let scripted = answering(r#"{"code":0,"auto_close":true,"close":false}"#);
            let mut bench = Bench::new(missing(&scripted.url("/"), sees_all));
            let publisher = request(Intent::Publish, "cam", "k");
            let (cam, session) = (publisher.stream.clone(), publisher.session);
            bench.verdict(publisher).await;
            bench.gate.policies_mut().published(&cam, session);
            bench.gate.stream_began(&cam, None, bench.now);
            let gone = turn(&mut bench.gate, bench.now + PATIENCE).await;
            assert_eq!(gone.len(), usize::from(goes));
            assert_eq!(scripted.seen().len(), 1, "the publisher alone was asked about");
        }
    }

    fn waiting(session: u64) -> WaitingPlayer {
        WaitingPlayer {
            session: SessionId(session),
            protocol: Protocol::HttpFlv,
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "VLC".into(),
            stream: stream("cam"),
        }
    }

    #[tokio::test]
    async fn a_player_is_asked_about_as_it_came_in() {
        let scripted = answering(CLOSE);
        let mut bench = Bench::new(missing(&scripted.url("/not_found"), true));
        assert!(bench.gate.asks_about_waiting());
        let query = dataplane::ids::Secret("t=1".into());
        let url = "h/live/cam.flv".into();
        let protocol = Protocol::HttpFlv;
        let asked = request(Intent::Play, "cam", "k");
        bench.verdict(AuthorizeRequest { query, url, protocol, ..asked }).await;
        bench.gate.player_waits(waiting(7));
        let now = bench.now;
        let gone = turn(&mut bench.gate, now).await;
        assert_eq!(gone, [Absentee::Player(SessionId(7), stream("cam"))]);
        let expected = json!({
            "mediaServerId": "edge-1", "app": "live", "stream": "cam", "schema": "rtmp",
            "vhost": "__defaultVhost__", "params": "t=1", "ip": "192.0.2.1", "port": 5,
            "id": "000000000007",
        });
        assert_eq!(body(&scripted.seen()[1]), expected, "after the question whether it may play");
    }

    #[tokio::test]
    async fn who_plays_by_the_time_of_the_answer_stays() {
        let scripted = answering(CLOSE);
        let mut bench = Bench::new(missing(&scripted.url("/not_found"), true));
        let (now, cam) = (bench.now, stream("cam"));
        bench.gate.player_waits(waiting(7));
        assert_eq!(bench.gate.absentees(now), [], "it is asked about");
        bench.gate.player_waits(waiting(8));
        bench.gate.stream_began(&cam, Some(StreamId([7; 16])), now);
        bench.gate.plays(&cam, true, now);
        assert_eq!(turn(&mut bench.gate, now).await, []);
        assert_eq!(scripted.seen().len(), 1, "who came to no harm is not asked about");
        // Who waits for the stream's return is asked about again.
        bench.gate.stream_over(&cam, now);
        bench.gate.player_waits(waiting(7));
        let gone = turn(&mut bench.gate, now).await;
        assert_eq!(gone, [Absentee::Player(SessionId(7), cam)]);
    }

    #[tokio::test]
    async fn a_crowd_that_waits_is_bounded_and_a_reload_forgets_it() {
        let (open, gate): (_, Receiver<()>) = channel();
        let gate = Mutex::new(gate);
        let silent = Scripted::start(move |_| {
            let _ = gate.lock().unwrap().recv();
            Reply::Last(Vec::new())
        });
        let mut bench = Bench::new(missing(&silent.url("/"), true));
        for session in 0..2 * PLAYERS_MAX as u64 {
            bench.gate.player_waits(waiting(session));
        }
        assert_eq!(bench.gate.absences.players.len(), PLAYERS_MAX);
        assert_eq!(bench.gate.absentees(bench.now), []);
        assert_eq!(bench.gate.absences.asked.len(), UNDER_WAY_MAX);
        bench.gate.set_rules(Rules::default());
        assert_eq!(bench.gate.absentees(bench.now), []);
        assert!(bench.gate.absences.players.is_empty());
        drop(open);
    }
}
