//! Table: the link to the coordinator, who is asked about, and what it let in.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use dataplane::ids::{SessionId, StreamName};

use super::publication::{Publication, Word};
use super::publisher::{Answer, Publisher};
use super::standing::{LinkState, Requests};
use super::terms::{NewWhileAway, RunningWhileAway, Terms};
use crate::coordinator::attached::Link;
use crate::coordinator::complaints::Complaints;
use crate::coordinator::wire::Message;

/// Who was let in begins within this, or never does.
pub(super) const GRANT_MAX: Duration = Duration::from_secs(30);
/// A publisher who has to go and is still there is told again after this.
const GO_AGAIN: Duration = Duration::from_secs(5);
/// Sessions whose grants are over that are remembered at most.
const LAPSED_MAX: usize = 1_024;
/// Why there is no link any more if that is no loss.
const LEAVING: &str = "leaving";

/// A question that has no answer yet.
#[derive(Debug)]
pub(super) enum Question {
    /// About somebody who waits.
    Publisher(Publisher),
    /// About what is on the air; it has no answer then.
    Again(StreamName, Instant),
}

/// This node as a server of another coordinator. Lives on: the control thread.
#[derive(Debug)]
pub struct Client {
    /// Where the coordinator is.
    pub(super) base: String,
    pub(super) terms: Terms,
    pub(super) link: Option<Link>,
    pub(super) state: LinkState,
    pub(super) since: Instant,
    /// What was denied before is asked again until then.
    pub(super) rejoin_until: Instant,
    pub(super) questions: BTreeMap<u32, Question>,
    pub(super) numbers: u32,
    pub(super) publications: BTreeMap<StreamName, Publication>,
    /// When those are to be asked about again.
    pub(super) due_again: BTreeSet<(Instant, StreamName)>,
    /// Questions of [`Question::Again`] under way.
    pub(super) rejoining: usize,
    /// Who waits for room in the link.
    pub(super) held: VecDeque<Publisher>,
    /// When it is looked whether there is.
    pub(super) look_again: Option<Instant>,
    /// Those of which somebody may begin or has to go.
    watched: BTreeSet<StreamName>,
    /// Sessions that were let in and did not begin in time.
    lapsed: VecDeque<SessionId>,
    orders: Vec<StreamName>,
    /// How the link was since the last look, in order.
    changes: Vec<LinkState>,
    /// Over all links: one that comes again and again is as quiet.
    complaints: Complaints,
    pub(super) requests: Requests,
}

impl Client {
    /// One that has not connected yet.
    #[must_use]
    pub fn new(base: String, terms: Terms, now: Instant) -> Self {
        Self {
            base,
            terms,
            link: None,
            state: LinkState::Away("connecting"),
            since: now,
            rejoin_until: now,
            questions: BTreeMap::new(),
            numbers: 0,
            publications: BTreeMap::new(),
            due_again: BTreeSet::new(),
            rejoining: 0,
            held: VecDeque::new(),
            look_again: None,
            watched: BTreeSet::new(),
            lapsed: VecDeque::new(),
            orders: Vec::new(),
            changes: Vec::new(),
            complaints: Complaints::default(),
            requests: Requests::default(),
        }
    }

    /// The coordinator is there, behind `link`.
    pub fn connected(&mut self, link: Link, now: Instant) {
        self.drop_link("replaced", now);
        self.link = Some(link);
        (self.state, self.since) = (LinkState::Connected, now);
        self.changes.push(LinkState::Connected);
        self.rejoin(now);
    }

    /// The link is over, for that reason, or there is still none.
    pub fn lost(&mut self, reason: &'static str, now: Instant) {
        self.drop_link(reason, now);
        if self.state == LinkState::Connected {
            self.since = now;
        }
        self.state = LinkState::Away(reason);
    }

    /// Asks about a publisher, who hears the answer at once if there is one here.
    pub fn ask(&mut self, publisher: Publisher, now: Instant) {
        self.forget_questions();
        let Some(publisher) = self.answer_here(publisher, now) else { return };
        match self.held.is_empty() {
            true => self.ask_about(publisher, now),
            false => self.hold(publisher, now),
        }
    }

    /// The same, before anybody who waits.
    pub(super) fn ask_about(&mut self, publisher: Publisher, now: Instant) {
        let Some(publisher) = self.answer_here(publisher, now) else { return };
        if self.link.is_some() {
            if !self.takes_question() {
                return self.hold(publisher, now);
            }
            let number = self.say_request(&publisher.stream, &publisher.key, publisher.user);
            if let Some(number) = number {
                self.questions.insert(number, Question::Publisher(publisher));
                return;
            }
            self.lost("closed", now);
            // Somebody with the same channel may have been let in with the loss.
            return self.ask_about(publisher, now);
        }
        self.requests.away += 1;
        if self.terms.new == NewWhileAway::Allow {
            self.let_in(publisher, String::new(), Word::Away, now);
        } else {
            let _ = publisher.reply.send(Answer::Away);
        }
    }

    /// Answers who asks for a channel that is published here, because that is no question for the
    /// coordinator and needs no room in the link; gives him back if it is not.
    pub(super) fn answer_here(&mut self, publisher: Publisher, now: Instant) -> Option<Publisher> {
        let Some(publication) = self.publications.get_mut(&publisher.stream) else {
            return Some(publisher);
        };
        let goes_on = publication.doomed.is_none() && publication.has_key(&publisher.key);
        let answer = match goes_on {
            true => {
                publication.granted = Some((publisher.session, now + GRANT_MAX));
                self.watched.insert(publisher.stream);
                self.requests.standing += 1;
                Answer::Accepted(publication.id.clone())
            }
            false => {
                self.requests.denied += 1;
                Answer::Denied
            }
        };
        // Who does not wait any more has not begun, and never will.
        let _ = publisher.reply.send(answer);
        None
    }

    /// The coordinator says something. What it may not say is ignored.
    pub fn hear(&mut self, message: Message, now: Instant) {
        match message {
            Message::PublishAccept { request, channel, id } => {
                self.accepted(&request, &channel, id, now);
            }
            Message::PublishDeny { request, .. } => self.denied(&request, now),
            Message::StreamKill { channel, id } => self.killed(&channel, &id, now),
            Message::Error { code, message } if self.complaints.take(now) => {
                tracing::warn!(code, reason = message, "the coordinator complains");
            }
            _ => {}
        }
    }

    /// `session` publishes a stream: it began, came back or took over.
    pub fn began(&mut self, stream: &StreamName, session: SessionId, now: Instant) {
        let lapsed = self.lapsed.iter().position(|&lapsed| lapsed == session);
        let lapsed = lapsed.and_then(|at| self.lapsed.remove(at)).is_some();
        match self.publications.get_mut(stream) {
            Some(publication) => {
                (publication.on_air, publication.granted) = (true, None);
                if publication.doomed.is_some() {
                    self.doom(stream, now);
                }
            }
            // He was let in, and the coordinator was told that he is gone.
            None if lapsed => self.orders.push(stream.clone()),
            None => {}
        }
    }

    /// A stream is over, grace included.
    pub fn over(&mut self, stream: &StreamName, now: Instant) {
        if let Some(publication) = self.publications.get_mut(stream) {
            publication.on_air = false;
            self.end_if_over(stream, now);
        }
    }

    /// A session was refused though the coordinator had let it in.
    pub fn refused(&mut self, stream: &StreamName, session: SessionId, now: Instant) {
        let Some(publication) = self.publications.get_mut(stream) else { return };
        if publication.granted.is_some_and(|(granted, _)| granted == session) {
            publication.granted = None;
            self.end_if_over(stream, now);
        }
    }

    /// Does what time alone makes due.
    pub fn tick(&mut self, now: Instant) {
        if self.link.as_ref().is_some_and(Link::is_closed) {
            self.lost("closed", now);
        }
        for stream in self.watched.clone() {
            self.watch(&stream, now);
        }
        self.ask_again(now);
        self.ask_held(now);
        if let Some(left_out) = self.complaints.left_out(now) {
            tracing::warn!(left_out, "the coordinator complained again and again");
        }
    }

    /// When [`Self::tick`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let watched = self.watched.iter().filter_map(|stream| self.publications.get(stream));
        let publications = watched.filter_map(Publication::due).min();
        let dues = [publications, self.due_rejoining(), self.look_again, self.complaints.due()];
        dues.into_iter().flatten().min()
    }

    /// Streams whose publishers have to go.
    pub fn orders(&mut self) -> Vec<StreamName> {
        std::mem::take(&mut self.orders)
    }

    /// What became of the link since the last look, in order.
    pub fn changes(&mut self) -> Vec<LinkState> {
        std::mem::take(&mut self.changes)
    }

    /// Says farewell: the link ends once all that was said is sent.
    pub fn leave(&mut self, now: Instant) {
        if let Some(left_out) = self.complaints.rest() {
            tracing::warn!(left_out, "the coordinator complained again and again");
        }
        self.lost(LEAVING, now);
    }

    fn killed(&mut self, channel: &str, id: &str, now: Instant) {
        self.requests.kills += 1;
        let stream = StreamName::parse(channel);
        let publication = stream.as_ref().and_then(|stream| self.publications.get(stream));
        match (stream, publication) {
            (Some(stream), Some(publication)) => {
                // An order for an earlier publication of the channel comes too late.
                if matches!(id, "" | "*") || publication.id == id {
                    tracing::info!(%stream, id, "the coordinator ends a publication");
                    self.doom(&stream, now);
                }
            }
            // One who is not there any more, or never was, leaves the channel free.
            _ => self.say_end(channel, if id == "*" { "" } else { id }, now),
        }
    }

    /// Looks after one of which somebody may begin or has to go.
    fn watch(&mut self, stream: &StreamName, now: Instant) {
        let Some(publication) = self.publications.get_mut(stream) else {
            self.watched.remove(stream);
            return;
        };
        if let Some((session, until)) = publication.granted
            && until <= now
        {
            publication.granted = None;
            self.lapsed.push_back(session);
            self.lapsed.drain(..self.lapsed.len().saturating_sub(LAPSED_MAX));
        }
        if publication.due().is_none() {
            self.watched.remove(stream);
        }
        if publication.doomed.is_some_and(|again| publication.on_air && again <= now) {
            self.doom(stream, now);
        }
        self.end_if_over(stream, now);
    }

    /// The publisher of a stream has to go, now or as soon as he begins.
    pub(super) fn doom(&mut self, stream: &StreamName, now: Instant) {
        let Some(publication) = self.publications.get_mut(stream) else { return };
        publication.doomed = Some(now + GO_AGAIN);
        self.watched.insert(stream.clone());
        if publication.on_air {
            self.orders.push(stream.clone());
        }
    }

    pub(super) fn let_in(&mut self, publisher: Publisher, id: String, word: Word, now: Instant) {
        let Publisher { session, stream, key, user, reply } = publisher;
        let publication = Publication {
            id: id.clone(),
            key,
            user,
            on_air: false,
            granted: Some((session, now + GRANT_MAX)),
            word,
            doomed: None,
        };
        self.watched.insert(stream.clone());
        self.publications.insert(stream, publication);
        // If he is gone at this very moment his grant lapses.
        let _ = reply.send(Answer::Accepted(id));
    }

    fn end_if_over(&mut self, stream: &StreamName, now: Instant) {
        let Some(publication) = self.publications.get(stream).filter(|it| it.is_over()) else {
            return;
        };
        let (word, id) = (publication.word, publication.id.clone());
        self.publications.remove(stream);
        self.watched.remove(stream);
        match word {
            Word::Accepted => self.say_end(stream.as_str(), &id, now),
            // The answer finds nothing, and the end follows it.
            Word::Asked(_) | Word::Away => {}
            Word::Due(at) => drop(self.due_again.remove(&(at, stream.clone()))),
        }
    }

    /// Says a question; its number, unless the link takes no more.
    pub(super) fn say_request(
        &mut self,
        stream: &StreamName,
        key: &dataplane::ids::Secret,
        user: std::net::IpAddr,
    ) -> Option<u32> {
        self.numbers = self.numbers.wrapping_add(1);
        let request = Message::PublishRequest {
            request: self.numbers.to_string(),
            channel: stream.to_string(),
            key: key.clone(),
            user_ip: user.to_canonical().to_string(),
        };
        self.say(request).then_some(self.numbers)
    }

    pub(super) fn say_end(&mut self, channel: &str, id: &str, now: Instant) {
        let end = Message::PublishEnd { channel: channel.to_owned(), id: id.to_owned() };
        // Without a link there is nobody who has to know; a full one is given up.
        if self.link.is_some() && !self.say(end) {
            self.lost("stuck", now);
        }
    }

    fn say(&self, message: Message) -> bool {
        self.link.as_ref().is_some_and(|link| link.try_send(message).is_ok())
    }

    /// Nobody answers what was asked, and what is on the air waits for the next coordinator.
    fn drop_link(&mut self, reason: &'static str, now: Instant) {
        if self.link.take().is_none() {
            return;
        }
        tracing::warn!(reason, "the link to the coordinator is over");
        if reason != LEAVING {
            self.changes.push(LinkState::Away(reason));
        }
        let questions = std::mem::take(&mut self.questions);
        let held = std::mem::take(&mut self.held);
        (self.rejoining, self.look_again) = (0, None);
        self.due_again.clear();
        let streams: Vec<_> = self.publications.keys().cloned().collect();
        for stream in streams {
            let publication = self.publications.get_mut(&stream).expect("it was listed above");
            publication.word = Word::Away;
            if self.terms.running == RunningWhileAway::End && reason != LEAVING {
                self.doom(&stream, now);
            }
        }
        // Who waits is as one who comes while it is away, if he does wait.
        let asked = questions.into_values().filter_map(|question| match question {
            Question::Publisher(publisher) => Some(publisher),
            Question::Again(..) => None,
        });
        for publisher in asked.chain(held) {
            if !publisher.reply.is_closed() {
                self.ask_about(publisher, now);
            }
        }
    }

    /// Those whose askers have left: an answer finds nobody.
    fn forget_questions(&mut self) {
        self.questions.retain(|_, question| match question {
            Question::Publisher(publisher) => !publisher.reply.is_closed(),
            Question::Again(..) => true,
        });
        self.held.retain(|publisher| !publisher.reply.is_closed());
    }
}
