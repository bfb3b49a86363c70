//! Sessions: who publishes, plays and views, who did, and how to end it.
//!
//! What goes on is asked of the shards; what began and what ended is known by the control plane
//! ([`crate::viewing`]). A session is closed when its shard has said so.
//!
//! Limits: a page costs its own sessions, and a look at those before it that are not wanted, with
//! turns for others in between; only a page is sorted.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dataplane::control::{Detail, SessionStatus};
use dataplane::ids::SessionId;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::paging::{BAD_CURSOR, Page};
use super::reply::{BUSY, ErrorBody, Refusal};
use super::request::{Params, Segment};
use super::session::{Session, SessionFilter, Wanted};
use super::state::ApiState;
use crate::bridge::{Ask, Gathered};
use crate::viewing::{ClosedSession, KickOutcome, SessionsAsk};

/// Sessions that are looked at before others have their turn on the control thread.
const LOOKED_AT_PER_TURN: usize = 1_000;
/// Sessions that are shown before others have their turn.
const VIEWS_PER_TURN: usize = 100;

const UNKNOWN: Refusal = Refusal::fixed(
    StatusCode::NOT_FOUND,
    "unknown_session",
    "no session has this id; GET /api/v1/sessions lists those that go on",
    Some("id"),
);
const LATE: Refusal = Refusal::fixed(
    StatusCode::GATEWAY_TIMEOUT,
    "kick_late",
    "the session was told to end, and its shard has not said yet that it did; ask again",
    Some("id"),
);

/// A page of sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct Sessions {
    sessions: Vec<Session>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
    /// Shards that did not answer.
    missing: Vec<u16>,
    /// Milliseconds since the shards told the figures.
    figures_age_ms: u64,
}

/// The sessions, by id.
#[utoipa::path(
    get,
    path = "/api/v1/sessions",
    tag = "sessions",
    params(Page, SessionFilter),
    responses((status = 200, description = "A page of them", body = Sessions)),
)]
pub(super) async fn sessions(
    State(state): State<ApiState>,
    Params(page): Params<Page>,
    Params(filter): Params<SessionFilter>,
) -> Result<Json<Sessions>, Refusal> {
    let (limit, cursor) = page.bounds()?;
    let after = cursor.map(Position::parse).transpose()?;
    let wanted = Wanted::parse(&filter)?;
    let gathered = match wanted.live {
        true => state.gather(Detail::SESSIONS).await?,
        false => Arc::default(),
    };
    let remembered = match wanted.closed {
        true => state.ask(|reply| Ask::Sessions(SessionsAsk::Closed { reply })).await?,
        false => Vec::new(),
    };
    // One more than fit says whether there is a next page.
    let mut goes_on = live(&gathered, &wanted, after, limit + 1).await.into_iter().peekable();
    let mut ended = closed_page(&remembered, &wanted, after, limit + 1).into_iter().peekable();
    let (mut sessions, mut last, mut next) = (Vec::new(), None, None);
    loop {
        let (one, other) = (goes_on.peek().map(|one| one.0), ended.peek().map(|one| one.0));
        let Some(position) = one.into_iter().chain(other).min() else { break };
        if sessions.len() == limit {
            next = last;
            break;
        }
        sessions.push(match one == Some(position) {
            true => goes_on.next().map(|(_, status)| Session::listed(status, &gathered)),
            false => ended.next().map(|(_, closed)| Session::from(closed)),
        });
        last = Some(position);
        if sessions.len().is_multiple_of(VIEWS_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
    let sessions = sessions.into_iter().flatten().collect();
    let next = next.map(|last: Position| last.to_string());
    let missing = gathered.missing.iter().map(|shard| shard.0).collect();
    let figures_age_ms = gathered.age_ms();
    Ok(Json(Sessions { sessions, next, missing, figures_age_ms }))
}

/// One session, also if it ended a while ago.
#[utoipa::path(
    get,
    path = "/api/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The session", body = Session),
        (status = 404, description = "There is none", body = ErrorBody),
    ),
)]
pub(super) async fn session(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
) -> Result<Json<Session>, Refusal> {
    let id = parse_id(&id)?;
    let sight = state.ask(|reply| Ask::Session { id, reply }).await?;
    Session::seen(sight).map(Json).ok_or(UNKNOWN)
}

/// Closes a session, whatever it does: also one that waits for its stream. Answered when its shard
/// has said that it ended. A publication ends without grace; a viewer of HLS is refused from its
/// next request on.
#[utoipa::path(
    delete,
    path = "/api/v1/sessions/{id}",
    tag = "sessions",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is closed"),
        (status = 404, description = "There is none", body = ErrorBody),
        (status = 504, description = "Its shard has not answered", body = ErrorBody),
    ),
)]
pub(super) async fn kick_session(
    State(state): State<ApiState>,
    Segment(id): Segment<String>,
) -> Result<StatusCode, Refusal> {
    let session = parse_id(&id)?;
    let asked = |reply| Ask::Sessions(SessionsAsk::Kick { session, reply });
    match state.ask(asked).await? {
        KickOutcome::Closed => Ok(StatusCode::NO_CONTENT),
        KickOutcome::Unknown => Err(UNKNOWN),
        KickOutcome::Late => Err(LATE),
        KickOutcome::Busy => Err(BUSY),
    }
}

fn parse_id(text: &str) -> Result<SessionId, Refusal> {
    let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = (digits && (1..=16).contains(&text.len())).then(|| u64::from_str_radix(text, 16));
    id.and_then(Result::ok).map(SessionId).ok_or(UNKNOWN)
}

/// Where a session stands in the list. A number may come again: a connection plays twice, a viewer
/// returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    session: SessionId,
    /// When it ended, as Unix milliseconds; `None` if it goes on.
    ended: Option<i64>,
}

impl Position {
    /// From a cursor.
    ///
    /// Errors: it is none of ours.
    fn parse(cursor: &str) -> Result<Self, Refusal> {
        let (id, ended) = match cursor.split_once('.') {
            Some((id, ended)) => (id, Some(ended.parse().map_err(|_| BAD_CURSOR)?)),
            None => (cursor, None),
        };
        Ok(Self { session: parse_id(id).map_err(|_| BAD_CURSOR)?, ended })
    }

    fn of(closed: &ClosedSession) -> Self {
        Self { session: closed.session, ended: Some(closed.ended.as_unix_millis()) }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ended {
            Some(ended) => write!(f, "{}.{ended}", self.session),
            None => write!(f, "{}", self.session),
        }
    }
}

/// The first `count` sessions after `after` that go on and are wanted, with their places.
async fn live<'a>(
    gathered: &'a Gathered,
    wanted: &Wanted,
    after: Option<Position>,
    count: usize,
) -> Vec<(Position, &'a SessionStatus)> {
    // One shard's at a time is put in order, once for all readers.
    for at in 0..gathered.snapshots.len() {
        gathered.call(at);
        tokio::task::yield_now().await;
    }
    let from = after.map_or(SessionId(0), |after| after.session);
    let mut page = Vec::new();
    for (looked_at, status) in (1_usize..).zip(gathered.sessions_from(from)) {
        let position = Position { session: status.id, ended: None };
        if after.is_none_or(|after| position > after) && wanted.takes_live(status) {
            page.push((position, status));
        }
        if page.len() == count {
            break;
        }
        if looked_at.is_multiple_of(LOOKED_AT_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
    page
}

/// The first `count` of the sessions after `after` that ended and are wanted.
fn closed_page<'a>(
    remembered: &'a [Arc<ClosedSession>],
    wanted: &Wanted,
    after: Option<Position>,
    count: usize,
) -> Vec<(Position, &'a ClosedSession)> {
    let placed = remembered.iter().map(|closed| (Position::of(closed), &**closed));
    let mut page: Vec<_> = placed
        .filter(|(position, _)| after.is_none_or(|after| *position > after))
        .filter(|(_, closed)| wanted.takes_closed(closed))
        .collect();
    // As many are remembered at most as are looked at in four turns; few of them are sorted.
    if page.len() > count {
        page.select_nth_unstable_by_key(count, |&(position, _)| position);
        page.truncate(count);
    }
    page.sort_unstable_by_key(|&(position, _)| position);
    page
}

#[cfg(test)]
mod tests {
    use super::super::bench::{Answer, Bench};
    use super::*;
    use std::task::{Context, Waker};

    use codecs::time::WallTime;
    use dataplane::control::{CloseReason, Protocol, Role, SrtStatus};
    use dataplane::ids::{ShardId, StreamName};
    use dataplane::session::srt::Statistics;
    use dataplane::session::view_token::{ViewIds, ViewNote, noted};
    use http::Method;
    use serde_json::Value;
    use tokio::sync::mpsc;

    use crate::bridge::SessionSight;
    use crate::bridge::snapshots::empty;
    use crate::coordinator::Policy;
    use crate::viewing::LiveSession;

    const NOON: WallTime = WallTime::from_unix_millis(1_800_000_000_000);

    fn status(id: u64, protocol: Protocol, role: Option<Role>, stream: &str) -> SessionStatus {
        SessionStatus {
            id: SessionId(id),
            shard: ShardId(0),
            protocol,
            role,
            stream: StreamName::parse(stream),
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "test".into(),
            tls: None,
            state: "playing",
            age_ms: 9,
            started: role.map(|_| NOON),
            bytes_in: 1,
            bytes_out: 2,
            jumps: 0,
            srt: None,
        }
    }

    #[test]
    fn a_viewer_is_listed_by_the_number_that_he_was_asked_about_by() {
        let asked = ViewIds::default().next(ShardId(1), NOON);
        let id = noted(asked, ViewNote { renamed: false, timed: true });
        let status = status(id.0, Protocol::Hls, Some(Role::Play), "cam");
        for shown in [Session::from(&status), Session::from(&*closed(id.0))] {
            assert_eq!(serde_json::to_value(shown).unwrap()["id"], asked.to_string());
        }
    }

    fn closed(id: u64) -> Arc<ClosedSession> {
        Arc::new(ClosedSession {
            session: SessionId(id),
            was: LiveSession {
                shard: ShardId(1),
                role: Role::Play,
                protocol: Protocol::Hls,
                tls: true,
                stream: StreamName::parse("cam").unwrap(),
                peer: "[2001:db8::1]:7".parse().unwrap(),
                agent: "test".into(),
                started: NOON,
                publication: None,
            },
            ended: WallTime::from_unix_millis(NOON.as_unix_millis() + 1_500),
            age_ms: 1_500,
            bytes_in: 3,
            bytes_out: 4,
            reason: Some(CloseReason::TooSlow),
        })
    }

    /// Four sessions that go on.
    fn gathered() -> Arc<Gathered> {
        let mut snapshot = empty(ShardId(0), 0);
        snapshot.sessions = vec![
            status(3, Protocol::Rtmp, Some(Role::Publish), "cam"),
            status(1, Protocol::Rtmp, Some(Role::Play), "cam"),
            SessionStatus {
                srt: Some(Box::new(SrtStatus {
                    statistics: Statistics { pkt_recv: 41, ..Statistics::default() },
                    ..SrtStatus::default()
                })),
                ..status(2, Protocol::Srt, Some(Role::Play), "other")
            },
            status(4, Protocol::Http, None, ""),
        ];
        let policy = Policy { record: true, ..Policy::default() };
        let policies = [(StreamName::parse("cam").unwrap(), Arc::new(policy))];
        Arc::new(Gathered {
            snapshots: vec![snapshot],
            missing: vec![ShardId(1)],
            policies: policies.into(),
            ..Gathered::default()
        })
    }

    /// A desk with those, one that began since, and one that ended.
    async fn desk(mut asks: mpsc::Receiver<Ask>) {
        while let Some(ask) = asks.recv().await {
            match ask {
                Ask::Snapshot { reply, .. } => drop(reply.send(gathered())),
                Ask::Session { id, reply } => drop(reply.send(match id.0 {
                    1..=4 => SessionSight::Told { id, gathered: gathered() },
                    5 => SessionSight::Began { id, live: closed(5).was.clone(), policy: None },
                    9 => SessionSight::Closed(closed(9)),
                    _ => SessionSight::Unknown,
                })),
                Ask::Sessions(SessionsAsk::Closed { reply }) => drop(reply.send(vec![closed(9)])),
                Ask::Sessions(SessionsAsk::Kick { session, reply }) => {
                    drop(reply.send(match session.0 {
                        1 => KickOutcome::Closed,
                        2 => KickOutcome::Late,
                        3 => KickOutcome::Busy,
                        _ => KickOutcome::Unknown,
                    }));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// A router in front of the desk.
    fn bench(name: &str) -> Bench {
        let mut bench = Bench::new(name);
        tokio::spawn(desk(std::mem::replace(&mut bench.asks, mpsc::channel(1).1)));
        bench
    }

    async fn asked(bench: &Bench, method: Method, path: &str) -> Answer {
        bench.answer(bench.request(&method, path, "")).await
    }

    fn ids(answer: &Answer) -> Vec<&str> {
        let sessions = answer.json["sessions"].as_array().unwrap();
        sessions.iter().map(|session| session["id"].as_str().unwrap().trim_matches('0')).collect()
    }

    #[tokio::test]
    async fn sessions_are_filtered_and_come_in_pages() {
        let bench = bench("sessions");
        for (query, expected) in [
            ("", &["1", "2", "3", "4"] as &[_]),
            ("?stream=cam", &["1", "3"]),
            ("?protocol=rtmp&role=play", &["1"]),
            ("?peer=192.0.2.1", &["1", "2", "3", "4"]),
            ("?peer=192.0.2.1:6", &[]),
            ("?status=closed", &["9"]),
            ("?status=all&stream=cam", &["1", "3", "9"]),
            ("?status=closed&peer=2001:db8::1", &["9"]),
        ] {
            let answer = asked(&bench, Method::GET, &format!("/api/v1/sessions{query}")).await;
            assert_eq!(ids(&answer), expected, "{query}");
            assert_eq!(answer.json["next"], Value::Null);
        }
        let first = asked(&bench, Method::GET, "/api/v1/sessions?limit=3").await;
        assert_eq!((ids(&first), &first.json["missing"][0]), (vec!["1", "2", "3"], &1.into()));
        let next = first.json["next"].as_str().unwrap();
        let rest = format!("/api/v1/sessions?limit=3&cursor={next}");
        assert_eq!(ids(&asked(&bench, Method::GET, &rest).await), ["4"]);
        for (query, field) in [
            ("protocol=tcp", "protocol"),
            ("role=pull", "role"),
            ("status=open", "status"),
            ("peer=nobody", "peer"),
            ("stream=..", "stream"),
            ("limit=0", "limit"),
            ("cursor=x", "cursor"),
        ] {
            let path = format!("/api/v1/sessions?{query}");
            let answer = bench.answer(bench.request(&Method::GET, &path, "")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
            assert_eq!(answer.json["error"]["field"], field);
        }
    }

    #[tokio::test]
    async fn one_session_is_found_whether_it_goes_on_or_ended() {
        let bench = bench("session");
        let live = asked(&bench, Method::GET, "/api/v1/sessions/000000000003").await.json;
        assert_eq!((&live["status"], &live["close_reason"]), (&"live".into(), &Value::Null));
        assert_eq!(live["started"], "2027-01-15T08:00:00.000Z");
        let policy = serde_json::json!({
            "record": true, "previews": null, "resolutions": "ORIGINAL",
        });
        assert_eq!(live["policy"], policy, "of who publishes");
        let player = asked(&bench, Method::GET, "/api/v1/sessions/1").await.json;
        assert_eq!(player["policy"], Value::Null);
        assert!(player["figures_age_ms"].is_u64(), "{player}");
        assert_eq!(player["srt"], Value::Null);
        let srt = asked(&bench, Method::GET, "/api/v1/sessions/2").await.json;
        assert_eq!((&srt["srt"]["pktRecv"], &srt["srt"]["encrypted"]), (&41.into(), &false.into()));
        let listed = asked(&bench, Method::GET, "/api/v1/sessions").await.json;
        assert!(!listed.to_string().contains("pktRecv"), "one session alone tells it");
        let began = asked(&bench, Method::GET, "/api/v1/sessions/5").await.json;
        assert_eq!((&began["status"], &began["state"]), (&"live".into(), &"viewing".into()));
        assert_eq!((&began["bytes_in"], &began["figures_age_ms"]), (&0.into(), &Value::Null));
        let closed = asked(&bench, Method::GET, "/api/v1/sessions/9").await.json;
        assert_eq!(
            (&closed["status"], &closed["close_reason"]),
            (&"closed".into(), &"too_slow".into())
        );
        assert_eq!(
            (&closed["ended"], &closed["bytes_out"]),
            (&"2027-01-15T08:00:01.500Z".into(), &4.into())
        );
        for id in ["77", "x", "00000000000000001", "-1"] {
            let path = format!("/api/v1/sessions/{id}");
            let answer = asked(&bench, Method::GET, &path).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{id}");
            assert_eq!(answer.json["error"]["code"], "unknown_session");
        }
    }

    /// Sessions with every third number, on three shards in no order; every tenth publishes.
    fn crowd(count: u64) -> Gathered {
        let mut snapshots: Vec<_> = (0..3).map(|shard| empty(ShardId(shard), 0)).collect();
        for number in 0..count {
            let id = 3 * (number * 7_919 % count);
            let role = if id.is_multiple_of(30) { Role::Publish } else { Role::Play };
            let status = status(id, Protocol::Rtmp, Some(role), "cam");
            snapshots[number as usize % 3].sessions.push(status);
        }
        Gathered { snapshots, ..Gathered::default() }
    }

    #[tokio::test]
    async fn pages_of_a_crowd_tell_of_each_once_and_let_others_have_their_turn() {
        const COUNT: u64 = 10_007;
        let gathered = crowd(COUNT);
        let publishers = Wanted::parse(&SessionFilter::role("publish")).unwrap();
        let everybody = Wanted::parse(&SessionFilter::default()).unwrap();
        for (wanted, every) in [(&everybody, 3), (&publishers, 30)] {
            let (mut told, mut after) = (Vec::new(), None);
            loop {
                let page = live(&gathered, wanted, after, 1_000).await;
                told.extend(page.iter().map(|(position, _)| position.session.0));
                match page.last() {
                    Some(&(last, _)) => after = Some(last),
                    None => break,
                }
            }
            let all: Vec<_> = (0..3 * COUNT).step_by(every).collect();
            assert_eq!(told, all);
        }
        // Nobody is wanted: all are looked at, and others have a turn after each thousand.
        let nobody = Wanted::parse(&SessionFilter::stream("nobody")).unwrap();
        let mut page = std::pin::pin!(live(&gathered, &nobody, None, 1_000));
        let mut context = Context::from_waker(Waker::noop());
        let turns =
            std::iter::from_fn(|| page.as_mut().poll(&mut context).is_pending().then_some(()));
        assert_eq!(turns.count(), 3 + COUNT as usize / LOOKED_AT_PER_TURN);
    }

    #[test]
    fn only_the_ends_after_the_cursor_are_told_and_a_number_may_end_twice() {
        let at = |id, millis| {
            let ended = WallTime::from_unix_millis(millis);
            Arc::new(ClosedSession { ended, ..ClosedSession::clone(&closed(id)) })
        };
        let remembered = [at(9, 20), at(3, 10), at(9, 100), at(4, 5)];
        let wanted = Wanted::parse(&SessionFilter::closed()).unwrap();
        let page = |after: Option<&str>, count| {
            let after = after.map(|cursor| Position::parse(cursor).unwrap());
            let page = closed_page(&remembered, &wanted, after, count);
            page.iter().map(|(position, _)| position.to_string()).collect::<Vec<_>>()
        };
        let all = ["000000000003.10", "000000000004.5", "000000000009.20", "000000000009.100"];
        assert_eq!(page(None, 9), all);
        assert_eq!(page(None, 2), all[..2]);
        assert_eq!(page(Some("4"), 9), all[1..], "one that goes on stands before its end");
        assert_eq!(page(Some("4.5"), 1), all[2..3]);
        assert_eq!(page(Some(all[3]), 9), [""; 0]);
        for cursor in ["x", "3.", "3.x", "", "00000000000000001", "3.10.5", "+3"] {
            assert_eq!(Position::parse(cursor).unwrap_err().code, "bad_cursor", "{cursor}");
        }
    }

    #[tokio::test]
    async fn a_kick_says_what_became_of_it() {
        let bench = bench("kick");
        for (id, status) in [(1, 204), (2, 504), (3, 503), (4, 404)] {
            let path = format!("/api/v1/sessions/{id}");
            let answer = asked(&bench, Method::DELETE, &path).await;
            assert_eq!(answer.status.as_u16(), status, "{id}");
        }
    }
}
