//! Claims: how those came in who publish or play, for as long as they do.
//!
//! A grant is not yet a session: it waits here until the session begins; one that never does is
//! forgotten. A crowd of players takes nothing from publishers: each kind has half of the room.
//! Limits, of each kind: [`GRANTED_MAX`] grants, and half of `auth.claims_bytes_max` of all claims;
//! beyond those the oldest grant is forgotten first, and then a session is without one: its end is
//! told, and whether it may stay asked, without the words of its beginning.
//!
//! A viewer of HLS is let in when he asks for the playlist of renditions, and is a session only
//! with what it lists. Of one who never gets there it is told that he did not, once he would be
//! asked about again ([`UNBEGUN_FOR`]): who counts those who were let in counts him no more.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::control::{AuthorizeRequest, Intent, Role};
use dataplane::ids::SessionId;
use dataplane::session::view_token::{asked_as, is_by_address, is_viewer};

use super::gate::Gate;
use super::ruling::Terms;
use crate::dialect::Claim;

/// Grants that have not become sessions at most; the oldest is forgotten.
const GRANTED_MAX: usize = 4_096;
/// A viewer who did not begin within this is asked about again if he does: shards trust his token
/// for a minute.
const UNBEGUN_FOR: Duration = Duration::from_secs(90);
/// Bytes of all claims at most, unless the configuration says others.
pub(crate) const BYTES_MAX: u64 = 32 << 20;
/// What the tables take of one claim beside its words: two of them know it, each with some room.
const RECORD_BYTES: u64 = 128;

/// Claims by session. Lives on: the control thread.
#[derive(Debug, Default)]
pub(super) struct Claims {
    publishers: Shelf,
    players: Shelf,
    /// When viewers were let in, who may not have begun.
    viewers: VecDeque<(SessionId, Instant)>,
}

/// Claims of one kind.
#[derive(Debug)]
struct Shelf {
    granted: HashMap<SessionId, (Arc<Claim>, Instant)>,
    /// In which order they were granted; some are sessions since.
    order: VecDeque<SessionId>,
    live: HashMap<SessionId, Arc<Claim>>,
    bytes: u64,
    bytes_max: u64,
}

impl Default for Shelf {
    fn default() -> Self {
        Self {
            granted: HashMap::new(),
            order: VecDeque::new(),
            live: HashMap::new(),
            bytes: 0,
            bytes_max: BYTES_MAX / 2,
        }
    }
}

impl Claims {
    /// All claims together hold so many bytes at most from now on.
    pub(super) fn set_bytes_max(&mut self, bytes_max: u64) {
        for shelf in [&mut self.publishers, &mut self.players] {
            shelf.bytes_max = bytes_max / 2;
            shelf.make_room();
        }
    }

    /// A session was let in.
    pub(super) fn granted(&mut self, session: SessionId, claim: Claim, now: Instant) {
        // Who connected may do either, and says which next.
        self.publishers.forget(session);
        self.players.forget(session);
        match claim.request.intent {
            Intent::Publish => self.publishers.granted(session, claim, now),
            Intent::Connect | Intent::Play => self.players.granted(session, claim, now),
        }
        if is_viewer(session) && !is_by_address(session) {
            self.viewers.push_back((session, now));
            if self.viewers.len() > GRANTED_MAX {
                self.viewers.pop_front();
            }
        }
    }

    /// Viewers who were let in so long ago that they do not begin any more.
    pub(super) fn unbegun(&mut self, now: Instant) -> Vec<Arc<Claim>> {
        let mut unbegun = Vec::new();
        while let Some((session, at)) =
            self.viewers.pop_front_if(|(_, at)| *at + UNBEGUN_FOR <= now)
        {
            // He may be let in anew since.
            let granted = self.players.granted.get(&session).filter(|(_, since)| *since == at);
            let Some((claim, _)) = granted else { continue };
            if !self.players.live.contains_key(&session) {
                unbegun.push(Arc::clone(claim));
            }
            self.players.forget(session);
        }
        unbegun
    }

    /// When [`Self::unbegun`] may find one.
    pub(super) fn unbegun_due(&self) -> Option<Instant> {
        self.viewers.front().map(|(_, at)| *at + UNBEGUN_FOR)
    }

    /// A session began; how it came in, if that was kept.
    pub(super) fn began(&mut self, session: SessionId, role: Role) -> Option<Arc<Claim>> {
        let session = asked_as(session);
        match role {
            Role::Publish => self.publishers.began(session),
            Role::Play => self.players.began(session),
        }
    }

    /// How a session came in that may play, and does not yet.
    pub(super) fn granted_to(&self, session: SessionId) -> Option<Arc<Claim>> {
        self.players.granted.get(&session).map(|(claim, _)| Arc::clone(claim))
    }

    /// How a session came in that publishes or plays.
    pub(super) fn of(&self, session: SessionId) -> Option<Arc<Claim>> {
        let session = asked_as(session);
        let live = |shelf: &Shelf| shelf.live.get(&session).cloned();
        live(&self.publishers).or_else(|| live(&self.players))
    }

    /// A session ended; how it had come in.
    pub(super) fn ended(&mut self, session: SessionId) -> Option<Arc<Claim>> {
        let session = asked_as(session);
        self.publishers.ended(session).or_else(|| self.players.ended(session))
    }
}

impl Shelf {
    fn granted(&mut self, session: SessionId, claim: Claim, now: Instant) {
        self.bytes += weight(&claim);
        self.granted.insert(session, (Arc::new(claim), now));
        self.order.push_back(session);
        self.make_room();
    }

    fn make_room(&mut self) {
        while self.order.len() > GRANTED_MAX || self.bytes > self.bytes_max {
            let Some(oldest) = self.order.pop_front() else { return };
            self.forget(oldest);
        }
    }

    /// A grant comes to nothing.
    fn forget(&mut self, session: SessionId) {
        let gone = self.granted.remove(&session);
        self.bytes -= gone.map_or(0, |(claim, _)| weight(&claim));
    }

    fn began(&mut self, session: SessionId) -> Option<Arc<Claim>> {
        if let Some((claim, _)) = self.granted.remove(&session) {
            let before = self.live.insert(session, claim);
            self.bytes -= before.map_or(0, |claim| weight(&claim));
        }
        self.live.get(&session).cloned()
    }

    fn ended(&mut self, session: SessionId) -> Option<Arc<Claim>> {
        let claim = self.live.remove(&session)?;
        self.bytes -= weight(&claim);
        Some(claim)
    }
}

impl Gate {
    /// True if somebody is told of each player, or asked about it again, who was not asked about
    /// its beginning.
    pub(super) fn knows_players(&self) -> bool {
        self.bus.wants().players || self.asks_who_may_stay()
    }

    /// Keeps how a peer came in, if anybody wants to be told.
    pub(super) fn claim(&mut self, request: &AuthorizeRequest, terms: &Terms) {
        let application = self.rules.application.as_ref();
        let asks = application
            .is_some_and(|asked| asked.updates.is_some() || asked.absences.not_found.is_some());
        // Of who is asked about again it is known how he came in.
        if (asks || self.bus.wants().claims) && request.since.is_none() {
            let asker = application.map(|asked| asked.asker.clone());
            let (asker, stream_id) = (asker.unwrap_or_default(), terms.stream_id.clone());
            // CONTROL: one copy for each who is let in.
            let claim = Claim { request: Box::new(request.clone()), asker, stream_id };
            self.claims.granted(request.session, claim, Instant::now());
        }
    }

    /// How those viewers came in who never began, if somebody is told of players.
    pub fn unbegun(&mut self, now: Instant) -> Vec<Arc<Claim>> {
        let unbegun = self.claims.unbegun(now);
        if self.bus.wants().players { unbegun } else { Vec::new() }
    }

    /// When [`Self::unbegun`] may find one.
    #[must_use]
    pub fn unbegun_due(&self) -> Option<Instant> {
        self.claims.unbegun_due()
    }
}

/// Bytes of memory that a claim takes.
fn weight(claim: &Claim) -> u64 {
    claim.bytes() + RECORD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::tests::request;
    use crate::dialect::Asker;
    use codecs::time::WallTime;
    use dataplane::control::Intent;
    use dataplane::ids::ShardId;
    use dataplane::session::view_token::{ViewIds, ViewNote, id_by_address, noted};

    fn claim(key: &str) -> Claim {
        let request = Box::new(request(Intent::Play, "cam", key));
        Claim { request, asker: Asker::default(), stream_id: None }
    }

    fn key(claim: Option<Arc<Claim>>) -> Option<String> {
        claim.map(|claim| claim.request.key.0.clone())
    }

    #[test]
    fn a_claim_lives_as_long_as_its_session_and_the_newest_counts() {
        let mut claims = Claims::default();
        claims.granted(SessionId(1), claim("first"), Instant::now());
        assert_eq!(key(claims.of(SessionId(1))), None, "a grant is no session yet");
        assert_eq!(key(claims.began(SessionId(1), Role::Play)).as_deref(), Some("first"));
        claims.granted(SessionId(1), claim("second"), Instant::now());
        assert_eq!(key(claims.ended(SessionId(1))).as_deref(), Some("first"));
        assert_eq!(key(claims.began(SessionId(1), Role::Play)).as_deref(), Some("second"));
        assert_eq!(key(claims.ended(SessionId(1))).as_deref(), Some("second"));
        assert_eq!(key(claims.ended(SessionId(1))), None);
        assert!(!format!("{:?}", claim("hunter2")).contains("hunter2"));
    }

    #[test]
    fn grants_that_come_to_nothing_are_forgotten() {
        let mut claims = Claims::default();
        for number in 0..=GRANTED_MAX as u64 {
            claims.granted(SessionId(number), claim("k"), Instant::now());
        }
        assert_eq!(
            (claims.players.granted.len(), claims.players.order.len()),
            (GRANTED_MAX, GRANTED_MAX)
        );
        assert_eq!(key(claims.began(SessionId(0), Role::Play)), None);
        assert!(claims.began(SessionId(1), Role::Play).is_some());
    }

    #[test]
    fn long_claims_are_few_and_whoever_is_in_stays() {
        let mut claims = Claims::default();
        claims.granted(SessionId(1), claim("k"), Instant::now());
        assert!(claims.began(SessionId(1), Role::Play).is_some());
        let long = "x".repeat(1 << 20);
        for number in 2..=70_u64 {
            claims.granted(SessionId(number), claim(&long), Instant::now());
            assert!(claims.players.bytes <= BYTES_MAX / 2);
        }
        assert!(claims.players.granted.len() < 17 && claims.of(SessionId(1)).is_some());
        claims.set_bytes_max(4 << 20);
        assert_eq!((claims.players.granted.len(), claims.of(SessionId(1)).is_some()), (1, true));
        // What is gone is not counted.
        for number in 1..=70 {
            claims.began(SessionId(number), Role::Play);
            claims.ended(SessionId(number));
        }
        assert_eq!(
            (claims.players.bytes, claims.players.live.len(), claims.players.granted.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_crowd_of_players_takes_nothing_from_publishers() {
        let mut claims = Claims::default();
        claims.set_bytes_max(64 << 10);
        let publishing = || Claim {
            request: Box::new(request(Intent::Publish, "cam", "k")),
            asker: Asker::default(),
            stream_id: None,
        };
        for number in 1..=1_000 {
            claims.granted(SessionId(number), claim("who plays"), Instant::now());
            claims.began(SessionId(number), Role::Play);
        }
        assert!(claims.of(SessionId(1)).is_some(), "who is in stays");
        assert!(claims.of(SessionId(1_000)).is_none(), "there is no room for more");
        claims.granted(SessionId(2_000), publishing(), Instant::now());
        assert_eq!(key(claims.began(SessionId(2_000), Role::Publish)).as_deref(), Some("k"));
        // Who connected, and publishes then, is one.
        let connected =
            Claim { request: Box::new(request(Intent::Connect, "cam", "c")), ..publishing() };
        claims.set_bytes_max(1 << 20);
        claims.granted(SessionId(2_001), connected, Instant::now());
        claims.granted(SessionId(2_001), publishing(), Instant::now());
        assert_eq!(claims.players.granted.len(), 0);
        assert_eq!(key(claims.began(SessionId(2_001), Role::Publish)).as_deref(), Some("k"));
        assert_eq!(key(claims.ended(SessionId(2_001))).as_deref(), Some("k"));
    }

    /// Viewers of whom nothing came are known once, and nobody who began, or came in anew.
    #[test]
    fn viewers_who_never_begin_are_told_of() {
        let (mut claims, mut ids, now) = (Claims::default(), ViewIds::default(), Instant::now());
        let wall = WallTime::from_unix_millis(1_800_000_000_000);
        let [idle, begun, anew] = [(); 3].map(|()| ids.next(ShardId(1), wall));
        let (guest, rtmp) = (id_by_address(ShardId(1), 5), SessionId(6));
        for session in [idle, begun, anew, guest, rtmp] {
            claims.granted(session, claim(&session.to_string()), now);
        }
        let view = noted(begun, ViewNote { renamed: false, timed: true });
        assert!(claims.began(view, Role::Play).is_some());
        claims.granted(anew, claim("again"), now + UNBEGUN_FOR / 2);
        let keys = |claims: &mut Claims, now| {
            let unbegun = claims.unbegun(now).into_iter();
            unbegun.map(|claim| claim.request.key.0.clone()).collect::<Vec<_>>()
        };
        assert_eq!(claims.unbegun_due(), Some(now + UNBEGUN_FOR));
        assert_eq!(keys(&mut claims, now + UNBEGUN_FOR - Duration::from_millis(1)), [""; 0]);
        assert_eq!(keys(&mut claims, now + UNBEGUN_FOR), [idle.to_string()]);
        assert_eq!(keys(&mut claims, now + 2 * UNBEGUN_FOR), ["again"]);
        assert_eq!(claims.unbegun_due(), None);
        // Others may wait for as long as they like, and he plays.
        assert!([guest, rtmp].iter().all(|&session| claims.granted_to(session).is_some()));
        assert!(claims.granted_to(idle).is_none() && claims.of(view).is_some());
        // A crowd is forgotten, and takes no room.
        for _ in 0..2 * GRANTED_MAX {
            claims.granted(ids.next(ShardId(1), wall), claim("k"), now);
        }
        assert_eq!(claims.viewers.len(), GRANTED_MAX);
    }
}
