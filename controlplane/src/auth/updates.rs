//! Updates: whether those who came in may stay, asked of an application again and again.
//!
//! ```text
//!   session began --period--> question under way --yes--> after a period again
//!                                                --no---> it is closed
//! ```
//!
//! Everybody waits for the same period, so that those who have waited since then for longest are
//! those whose turn is next, and a turn is all that a session is known by. An answer about a turn
//! that is over, because the session ended and may play again, says nothing. Publishers have a
//! queue of their own, which comes first: a crowd of players keeps none of them waiting.
//!
//! Limits: [`UNDER_WAY_MAX`] questions under way; the others wait for their turn, for longer than a
//! period if the application answers too slowly for all of them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dataplane::control::Role;
use dataplane::ids::{SessionId, StreamName};
use dataplane::session::view_token::is_by_address;
use http::header::AUTHORIZATION;
use tokio::task::{Id, JoinError, JoinSet};

use super::application::Application;
use super::flights::Landing;
use super::gate::Gate;
use crate::counts::Counts;
use crate::dialect::{Asker, Claim, Envelope};
use crate::events::Party;
use crate::outbound::{Address, Client};

/// Questions under way at most.
const UNDER_WAY_MAX: usize = 256;

/// On what terms it is asked who may stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateTerms {
    /// Where.
    pub address: Address,
    /// How often each is asked about.
    pub period: Duration,
    /// No answer is a no, too.
    pub strict: bool,
}

/// A session that is asked about.
#[derive(Debug)]
struct Watched {
    /// Who it is, and how it came in, if that was kept.
    party: Party,
    role: Role,
    stream: StreamName,
    /// When it began.
    since: Instant,
    /// Since when it waits to be asked about.
    waits: Instant,
}

/// Everybody who is asked about. Lives on: the control thread.
#[derive(Debug)]
pub(super) struct Updates {
    client: Client,
    /// The turn of each session, be it waited for or under way.
    turns: HashMap<SessionId, u64>,
    publishers: Queue,
    players: Queue,
    next: u64,
    tasks: JoinSet<bool>,
    asked: HashMap<Id, (u64, Watched)>,
    /// Answers that were waited for, and not heeded yet.
    answers: Vec<(Id, bool)>,
}

/// Those who wait, by their turn.
type Queue = BTreeMap<u64, Watched>;

impl Updates {
    pub(super) fn new() -> Self {
        Self {
            client: Client::new(UNDER_WAY_MAX),
            turns: HashMap::new(),
            publishers: Queue::new(),
            players: Queue::new(),
            next: 0,
            tasks: JoinSet::new(),
            asked: HashMap::new(),
            answers: Vec::new(),
        }
    }

    /// A session is asked about from now on.
    fn watch(&mut self, watched: Watched) {
        self.ended(watched.party.session);
        self.wait(watched);
    }

    /// A session ended.
    pub(super) fn ended(&mut self, session: SessionId) {
        if let Some(turn) = self.turns.remove(&session) {
            self.publishers.remove(&turn);
            self.players.remove(&turn);
        }
    }

    /// When [`Self::turn`] has something to do, if no answer comes before.
    pub(super) fn deadline(&self, period: Option<Duration>, now: Instant) -> Option<Instant> {
        if !self.answers.is_empty() {
            return Some(now);
        }
        let first = self.first()?;
        match period {
            Some(period) => (self.asked.len() < UNDER_WAY_MAX).then_some(first + period),
            // All that wait are forgotten.
            None => Some(now),
        }
    }

    /// Since when the one waits who waits for longest.
    fn first(&self) -> Option<Instant> {
        let queues = [&self.publishers, &self.players].into_iter();
        queues.filter_map(|queue| Some(queue.first_key_value()?.1.waits)).min()
    }

    /// Waits for an answer, which the next [`Self::turn`] heeds; `None` if none is awaited. May be
    /// dropped and asked again: nothing is lost.
    pub(super) async fn answered(&mut self) -> Option<()> {
        let done = self.tasks.join_next_with_id().await?;
        self.answers.push(answer(done));
        Some(())
    }

    fn next_answer(&mut self) -> Option<(Id, bool)> {
        self.answers.pop().or_else(|| self.tasks.try_join_next_with_id().map(answer))
    }

    /// Asks about those whose time has come; the sessions that may not stay. Without terms nobody
    /// is asked about any more.
    pub(super) fn turn(
        &mut self,
        application: Option<&Application>,
        now: Instant,
    ) -> Vec<SessionId> {
        let mut gone = Vec::new();
        let asking = application.and_then(|asked| Some((asked, asked.updates.as_ref()?)));
        while let Some((task, stays)) = self.next_answer() {
            let Some((turn, watched)) = self.asked.remove(&task) else { continue };
            let session = watched.party.session;
            if self.turns.get(&session) != Some(&turn) {
                continue;
            }
            self.turns.remove(&session);
            match stays {
                true => self.wait(Watched { waits: now, ..watched }),
                false => gone.push(session),
            }
        }
        let Some((application, terms)) = asking else {
            self.publishers.clear();
            self.players.clear();
            self.turns.clear();
            return gone;
        };
        while self.asked.len() < UNDER_WAY_MAX
            && let Some(next) = self.due_by(now, terms.period)
        {
            self.ask(application, terms, next, now);
        }
        gone
    }

    /// Takes who is to be asked about next, if the time has come.
    fn due_by(&mut self, now: Instant, period: Duration) -> Option<(u64, Watched)> {
        let queues = [&mut self.publishers, &mut self.players].into_iter();
        let mut firsts = queues.filter_map(BTreeMap::first_entry);
        let due = firsts.find(|entry| entry.get().waits + period <= now)?;
        Some(due.remove_entry())
    }

    /// Gives somebody the last turn.
    fn wait(&mut self, watched: Watched) {
        self.turns.insert(watched.party.session, self.next);
        let queue = match watched.role {
            Role::Publish => &mut self.publishers,
            Role::Play => &mut self.players,
        };
        queue.insert(self.next, watched);
        self.next += 1;
    }

    fn ask(
        &mut self,
        application: &Application,
        terms: &UpdateTerms,
        (turn, watched): (u64, Watched),
        now: Instant,
    ) {
        let (node, dialect) = (&application.asker.node, application.dialect);
        let Watched { party, role, stream, since, .. } = &watched;
        let seconds = now.saturating_duration_since(*since).as_secs();
        let note = dialect.update(node, (party, *role), stream, seconds);
        let secret = Some(application.secret.0.as_str());
        let envelope = Envelope { dialect, verb: application.verb, secret };
        let call = note.and_then(|note| {
            let (now, timeout) = (SystemTime::now(), application.timeout);
            envelope.call(&terms.address, &note, now, timeout).ok()
        });
        let (client, strict, session) = (self.client.clone(), terms.strict, party.session);
        let authorization = application.authorization.clone();
        let task = self.tasks.spawn(async move {
            let Some(mut call) = call else { return !strict };
            call.headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
            match client.send(call).await {
                Ok(answer) => answer.status.is_success(),
                Err(failure) => {
                    tracing::debug!(%session, reason = failure.name(), "nobody says who may stay");
                    !strict
                }
            }
        });
        self.asked.insert(task.id(), (turn, watched));
    }
}

/// What came of a task.
fn answer(done: Result<(Id, bool), JoinError>) -> (Id, bool) {
    // A panic of ours sends nobody away.
    done.unwrap_or_else(|error| (error.id(), true))
}

/// What an application answered.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one at a time, and it is taken apart at once"
)]
pub enum Landed {
    /// Who may come in.
    Entry(Landing),
    /// Who may stay, for the next [`Gate::turn`].
    Stay,
}

impl Gate {
    /// The next answer of an application; `None` if none is awaited. May be dropped and asked
    /// again: nothing is lost.
    pub async fn answered(&mut self) -> Option<Landed> {
        let Self { flights, updates, .. } = self;
        tokio::select! {
            Some(landing) = flights.landed() => Some(Landed::Entry(landing)),
            Some(()) = updates.answered() => Some(Landed::Stay),
            else => None,
        }
    }

    /// A session of `party` began with `stream`; how it came in, if that was kept. Whether it may
    /// stay is asked in either case, in the words that are known of every session.
    pub fn began(
        &mut self,
        party: Party,
        role: Role,
        stream: &StreamName,
        now: Instant,
    ) -> Option<Arc<Claim>> {
        let claim = self.claims.began(party.session, role);
        if self.asks_who_may_stay() {
            self.watch(party, role, stream, now, Duration::ZERO);
        }
        claim
    }

    /// True if the application is asked who may stay.
    #[must_use]
    pub fn asks_who_may_stay(&self) -> bool {
        self.update_terms().is_some()
    }

    fn update_terms(&self) -> Option<&UpdateTerms> {
        self.rules.application.as_ref()?.updates.as_ref()
    }

    /// Asks from now on whether a session of `party` may stay, which plays or publishes `stream`
    /// for so long already.
    pub fn watch(
        &mut self,
        party: Party,
        role: Role,
        stream: &StreamName,
        now: Instant,
        age: Duration,
    ) {
        // A no about who is known by his address alone would shut out everybody behind it.
        if is_by_address(party.session) {
            return;
        }
        let party = Party { claim: self.claims.of(party.session), ..party };
        let since = now.checked_sub(age).unwrap_or(now);
        let stream = stream.clone();
        self.updates.watch(Watched { party, role, stream, since, waits: now });
    }

    /// A session ended; how it had come in.
    pub fn ended(&mut self, session: SessionId) -> Option<Arc<Claim>> {
        self.updates.ended(session);
        self.claims.ended(session)
    }

    /// Asks who may stay; those who may not.
    pub fn turn(&mut self, now: Instant) -> Vec<SessionId> {
        self.updates.turn(self.rules.application.as_ref(), now)
    }

    /// How a session came in that publishes or plays.
    #[must_use]
    pub fn claim_of(&self, session: SessionId) -> Option<Arc<Claim>> {
        self.claims.of(session)
    }

    /// Who asks on behalf of this node.
    #[must_use]
    pub fn asker(&self) -> Asker {
        let application = self.rules.application.as_ref();
        application.map(|asked| asked.asker.clone()).unwrap_or_default()
    }

    /// When [`Self::turn`] or [`Self::absentees`] has something to do.
    #[must_use]
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let period = self.update_terms().map(|terms| terms.period);
        let stays = self.updates.deadline(period, now);
        stays.into_iter().chain(self.absences_due(now)).min()
    }

    /// Writes for `/metrics` how late it is asked who may stay.
    pub(super) fn count_updates(&self, into: &mut Counts) {
        let due = self.update_terms().and_then(|terms| Some(self.updates.first()? + terms.period));
        let late = due.map_or(Duration::ZERO, |due| Instant::now().saturating_duration_since(due));
        let about = "By how much the next question whether somebody may stay is late.";
        into.gauge("auth_updates_late_seconds", about, late.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use codecs::time::WallTime;
    use dataplane::control::{AuthorizeRequest, Intent, Protocol, Verdict};
    use dataplane::ids::{Secret, ShardId};
    use dataplane::session::view_token::{ViewIds, ViewNote, id_by_address, noted};

    use crate::auth::tests::{Bench, application, asking, request};
    use crate::auth::{Addresses, Rules};
    use crate::dialect::Dialect;
    use crate::outbound::scripted::{Application as Scripted, Reply};

    const PERIOD: Duration = Duration::from_secs(30);

    /// Rules by which nobody is asked who may come in, and `url` is asked who may stay.
    fn staying(url: &str, strict: bool) -> Rules {
        let address = Address::parse(url).unwrap();
        let updates = Some(UpdateTerms { address, period: PERIOD, strict });
        let publish = Address::parse("http://192.0.2.1/");
        let addresses = Addresses { connect: publish, ..Addresses::default() };
        let dialect = Dialect::NginxRtmp;
        asking(Application { dialect, addresses, updates, ..application(url) })
    }

    /// What was allowed to `asked` begins.
    fn begins(gate: &mut Gate, asked: &AuthorizeRequest, now: Instant) -> Option<Arc<Claim>> {
        let AuthorizeRequest { session, protocol, peer, agent, .. } = asked.clone();
        let party = Party { session, protocol, peer, agent, claim: None };
        gate.began(party, asked.intent.role().unwrap(), &asked.stream, now)
    }

    /// Waits for the answers to what is asked at `now`; who may not stay.
    async fn turn(gate: &mut Gate, now: Instant) -> Vec<SessionId> {
        let mut gone = gate.turn(now);
        while !gate.updates.asked.is_empty() {
            assert!(matches!(gate.answered().await, Some(Landed::Stay)));
            assert_eq!(gate.due(now), Some(now), "an answer is heeded at once");
            gone.extend(gate.turn(now));
        }
        gone
    }

    #[tokio::test]
    async fn who_came_in_is_asked_about_until_the_answer_is_no() {
        let scripted = Scripted::start(|request| match request.contains("time=60") {
            true => Reply::status(403, "", ""),
            false => Reply::status(204, "", ""),
        });
        let mut bench = Bench::new(staying(&scripted.url("/update"), false));
        let begin = bench.now;
        for (session, intent) in [(1, Intent::Publish), (2, Intent::Play), (3, Intent::Play)] {
            let session = SessionId(session);
            let asked = AuthorizeRequest { session, ..request(intent, "cam", "k") };
            assert!(matches!(bench.verdict(asked.clone()).await, Verdict::Allow(_)));
            assert!(begins(&mut bench.gate, &asked, begin).is_some());
        }
        assert_eq!(bench.gate.due(begin), Some(begin + PERIOD));
        assert!(turn(&mut bench.gate, begin + PERIOD / 2).await.is_empty());
        assert!(scripted.seen().is_empty(), "nobody's time has come");
        assert!(turn(&mut bench.gate, begin + PERIOD).await.is_empty());
        let forms = scripted.seen();
        assert_eq!(forms.len(), 3);
        let told = |part: &str| forms.iter().filter(|form| form.contains(part)).count();
        let publisher = "clientid=1&call=update_publish&time=30&timestamp=30000&name=cam";
        assert_eq!((told(publisher), told("&call=update_play&time=30&")), (1, 2));
        bench.gate.ended(SessionId(2));
        let mut gone = turn(&mut bench.gate, begin + 2 * PERIOD).await;
        gone.sort();
        assert_eq!(gone, [SessionId(1), SessionId(3)]);
        assert_eq!(scripted.seen().len(), 5, "who left is not asked about");
        assert_eq!(bench.gate.due(begin + 2 * PERIOD), None);
    }

    #[tokio::test]
    async fn no_answer_sends_away_only_those_who_are_judged_strictly() {
        for (reply, lenient) in [("500", false), ("302", false), ("", true), ("garbage", true)] {
            let scripted = Scripted::start(move |_| match reply {
                "" => Reply::Last(Vec::new()),
                "garbage" => Reply::Last(b"0".to_vec()),
                status => Reply::status(status.parse().unwrap(), "location: /x\r\n", ""),
            });
            for strict in [false, true] {
                let mut bench = Bench::new(staying(&scripted.url("/"), strict));
                let asked = request(Intent::Publish, "cam", "k");
                bench.verdict(asked.clone()).await;
                begins(&mut bench.gate, &asked, bench.now);
                let gone = turn(&mut bench.gate, bench.now + PERIOD).await;
                assert_eq!(gone.is_empty(), lenient && !strict, "{reply} {strict}");
            }
        }
    }

    #[tokio::test]
    async fn a_crowd_waits_for_its_turn_and_a_reload_forgets_it() {
        let silent = Scripted::start(|_| Reply::Hang);
        let mut bench = Bench::new(staying(&silent.url("/"), true));
        for session in 0..2 * UNDER_WAY_MAX as u64 {
            let session = SessionId(session);
            let asked = AuthorizeRequest { session, ..request(Intent::Play, "c", "k") };
            bench.verdict(asked.clone()).await;
            begins(&mut bench.gate, &asked, bench.now);
        }
        let later = bench.now + PERIOD;
        assert!(bench.gate.turn(later).is_empty());
        assert_eq!(bench.gate.updates.asked.len(), UNDER_WAY_MAX);
        assert_eq!(bench.gate.updates.players.len(), UNDER_WAY_MAX);
        assert_eq!(bench.gate.due(later), None, "nothing is done before an answer is there");
        bench.gate.set_rules(asking(application(&silent.url("/"))));
        assert_eq!(bench.gate.turn(later), []);
        assert!(bench.gate.updates.players.is_empty() && bench.gate.updates.turns.is_empty());
    }

    /// Many play, and the application is slow: publishers are asked about in time all the same.
    #[tokio::test]
    async fn a_crowd_of_players_keeps_no_publisher_waiting() {
        let scripted = Scripted::start(|request| match request.contains("update_publish") {
            true => Reply::status(403, "", ""),
            false => Reply::Hang,
        });
        let mut bench = Bench::new(staying(&scripted.url("/"), false));
        let begins = |gate: &mut Gate, session: u64, intent: Intent, now| {
            let session = SessionId(session);
            begins(gate, &AuthorizeRequest { session, ..request(intent, "c", "k") }, now);
        };
        let crowd = 2 * UNDER_WAY_MAX as u64;
        for session in 0..crowd {
            begins(&mut bench.gate, session, Intent::Play, bench.now);
        }
        begins(&mut bench.gate, crowd, Intent::Publish, bench.now);
        let late = bench.now + 2 * PERIOD;
        assert_eq!(bench.gate.turn(late), []);
        assert!(bench.gate.updates.publishers.is_empty(), "the publisher was first");
        assert_eq!(bench.gate.updates.players.len(), UNDER_WAY_MAX + 1);
        let mut gone = Vec::new();
        while gone.is_empty() {
            assert!(matches!(bench.gate.answered().await, Some(Landed::Stay)));
            gone = bench.gate.turn(late);
        }
        assert_eq!(gone, [SessionId(crowd)]);
        assert_eq!(bench.gate.updates.asked.len(), UNDER_WAY_MAX, "the next one has its place");
    }

    /// Who may stay is asked since a reload: about those who are there, too, for as long as they
    /// are.
    #[tokio::test]
    async fn who_is_there_when_updates_begin_is_asked_about() {
        let scripted = Scripted::start(|_| Reply::status(403, "", ""));
        let mut bench = Bench::new(asking(application(&scripted.url("/"))));
        let asked = request(Intent::Publish, "cam", "k");
        assert!(!bench.gate.asks_who_may_stay());
        begins(&mut bench.gate, &asked, bench.now);
        assert_eq!(bench.gate.due(bench.now), None);
        bench.gate.set_rules(staying(&scripted.url("/"), false));
        assert!(bench.gate.asks_who_may_stay());
        let AuthorizeRequest { session, protocol, peer, agent, .. } = asked.clone();
        let party = Party { session, protocol, peer, agent, claim: None };
        let age = Duration::from_secs(600);
        bench.gate.watch(party, Role::Publish, &asked.stream, bench.now, age);
        assert_eq!(turn(&mut bench.gate, bench.now + PERIOD).await, [session]);
        let told = scripted.seen().remove(0);
        assert!(told.contains("call=update_publish&time=630&"), "{told}");
    }

    /// What is known by an address alone is many: a no about one of them is none about the others.
    #[tokio::test]
    async fn a_viewer_who_is_known_by_his_address_is_not_asked_about() {
        let scripted = Scripted::start(|_| Reply::status(403, "", ""));
        let mut bench = Bench::new(staying(&scripted.url("/"), false));
        let (session, protocol) = (id_by_address(ShardId(3), 1), Protocol::Hls);
        let asked = AuthorizeRequest { session, protocol, ..request(Intent::Play, "cam", "k") };
        begins(&mut bench.gate, &asked, bench.now);
        assert_eq!(bench.gate.due(bench.now), None);
        assert_eq!(turn(&mut bench.gate, bench.now + PERIOD).await, []);
        assert!(scripted.seen().is_empty());
    }

    /// A viewer of HLS is asked about by the number and in the words of his own question, though
    /// what was answered is noted in his number.
    #[tokio::test]
    async fn a_viewer_of_hls_is_asked_about_as_he_came_in() {
        let scripted = Scripted::start(|_| Reply::status(204, "", ""));
        let mut rules = staying(&scripted.url("/"), false);
        if let Some(application) = &mut rules.application {
            application.addresses.play = Address::parse(&scripted.url("/play"));
        }
        let mut bench = Bench::new(rules);
        let wall = WallTime::from_unix_millis(1_800_000_000_000);
        let number = ViewIds::default().next(ShardId(3), wall);
        let note = ViewNote { renamed: false, timed: true };
        let asked = AuthorizeRequest {
            session: number,
            protocol: Protocol::Hls,
            query: Secret("token=t".to_owned()),
            url: "h/live/cam/index.m3u8".into(),
            ..request(Intent::Play, "cam", "k")
        };
        let Verdict::Allow(grant) = bench.verdict(asked.clone()).await else { panic!("he may") };
        assert!(grant.entry_until.is_some_and(|end| end <= Instant::now()), "he alone");
        let view = AuthorizeRequest { session: noted(number, note), ..asked.clone() };
        assert!(begins(&mut bench.gate, &view, bench.now).is_some());
        // Asked about again, he is no newcomer.
        let again = AuthorizeRequest { since: Some(bench.now), ..asked };
        bench.verdict(again).await;
        assert!(bench.gate.claims.granted_to(number).is_none());
        assert_eq!(turn(&mut bench.gate, bench.now + PERIOD).await, []);
        let told = scripted.seen();
        let (play, update) = (&told[0], told.last().unwrap());
        assert!(update.contains("&call=update_play&"), "{update}");
        for part in [format!("&clientid={}&", number.0), "&token=t".to_owned()] {
            assert!(play.contains(&part) && update.contains(&part), "{part}: {play} {update}");
        }
        assert!(bench.gate.ended(view.session).is_some());
        assert_eq!(bench.gate.due(bench.now), None);
    }

    /// Somebody with a good key and long addresses fills the room for claims: nobody is freed of
    /// the question by it.
    #[tokio::test]
    async fn who_came_in_without_a_claim_is_asked_about_all_the_same() {
        let scripted = Scripted::start(|request| match request.contains("clientid=2&") {
            true => Reply::status(403, "", ""),
            false => Reply::status(204, "", ""),
        });
        let mut bench = Bench::new(staying(&scripted.url("/update"), false));
        for (session, intent) in [(1, Intent::Play), (2, Intent::Play), (3, Intent::Publish)] {
            let (session, query) = (SessionId(session), Secret("t=1".to_owned()));
            let asked = request(intent, "news/cam", "k");
            let asked = AuthorizeRequest { session, query, ..asked };
            assert!(matches!(bench.verdict(asked.clone()).await, Verdict::Allow(_)));
            let claim = begins(&mut bench.gate, &asked, bench.now);
            assert_eq!(claim.is_some(), session == SessionId(1));
            // The first one is all that there is room for.
            bench.gate.set_claims_bytes_max(1);
        }
        let gone = turn(&mut bench.gate, bench.now + PERIOD).await;
        assert_eq!(gone, [SessionId(2)]);
        let told = scripted.seen();
        let form = told.iter().find(|form| form.contains("clientid=3&")).unwrap();
        for part in ["app=news&", "&addr=192.0.2.1&", "&call=update_publish&", "&name=cam"] {
            assert!(form.contains(part), "{part}: {form}");
        }
    }

    /// What is answered about the play before is no word about this one, and nobody is asked about
    /// twice because of it.
    #[tokio::test]
    async fn who_plays_again_is_asked_about_once_a_period() {
        let (open, gate) = std::sync::mpsc::channel::<u16>();
        let gate = std::sync::Mutex::new(gate);
        let scripted = Scripted::start(move |_| {
            Reply::status(gate.lock().unwrap().recv().unwrap_or(204), "", "")
        });
        let mut bench = Bench::new(staying(&scripted.url("/"), true));
        let (session, begin) = (SessionId(7), bench.now);
        let asked = request(Intent::Play, "first", "k");
        bench.verdict(asked.clone()).await;
        begins(&mut bench.gate, &asked, begin);
        assert!(bench.gate.turn(begin + PERIOD).is_empty());
        bench.gate.ended(session);
        let asked = request(Intent::Play, "second", "k");
        bench.verdict(asked.clone()).await;
        begins(&mut bench.gate, &asked, begin + PERIOD);
        open.send(403).unwrap();
        assert_eq!(turn(&mut bench.gate, begin + PERIOD).await, []);
        assert_eq!(bench.gate.due(begin + PERIOD), Some(begin + 2 * PERIOD));
        drop(open);
        for period in 2..5 {
            assert_eq!(turn(&mut bench.gate, begin + period * PERIOD).await, []);
            assert_eq!(scripted.seen().len(), period as usize, "once a period");
        }
        assert!(scripted.seen()[1..].iter().all(|form| form.contains("name=second")));
    }
}
