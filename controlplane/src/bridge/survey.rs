//! Survey: questions of the API to all shards, a few of them a second, whoever asks how often.
//!
//! Each survey costs every shard a look at all that it lists, so its answers are shared: by those
//! who wait for it, and by those who ask a moment later, as long as nothing has happened that the
//! shards tell by themselves. So a client that hammers the API costs the shards a few looks a
//! second, and who asks for a session that has just ended is told so all the same; figures that
//! shards only count, as bytes, are as old as the answer says.
//!
//! While things happen all the time, surveys of a kind follow each other at a pace that grows with
//! what they list: a long list is asked for rarely, and takes no more than a fiftieth of a core.
//!
//! ```text
//!   question -- answers are fresh --> answered at once
//!       |
//!       +------ else --> waits -- survey is due, and answered --> answered
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::control::Detail;
use dataplane::ids::{SessionId, StreamName};
use tokio::sync::oneshot;

use super::gathered::{Gathered, SessionSight, Sighting};

/// From the begin of a survey of counters alone to the begin of the next one.
const COUNTERS_GAP: Duration = Duration::from_millis(100);
/// From the begin of a survey that lists something to the begin of the next one of its kind.
const LISTS_GAP: Duration = Duration::from_millis(250);
/// What each stream, audience or session of the fullest shard adds to that: fifty times what it
/// takes to tell.
const ITEM_GAP: Duration = Duration::from_micros(50);
/// Lists are told again for this long if nothing happens; counters never are, because shards count
/// what they tell nobody of.
const LISTS_AGE_MAX: Duration = Duration::from_millis(500);
/// What one stream did is told from answers of this age at most, whatever happens to others.
const SIGHTING_AGE_MAX: Duration = Duration::from_secs(1);
/// Questions that wait for one survey at most; one more is answered with nobody's answers.
pub(super) const ASKERS_MAX: usize = 256;

/// Who waits for a survey.
#[derive(Debug)]
pub(super) enum Waiter {
    /// Wants all that is told.
    All(oneshot::Sender<Arc<Gathered>>),
    /// Wants one stream.
    One(StreamName, oneshot::Sender<Sighting>),
    /// Wants one session.
    Session(SessionId, oneshot::Sender<SessionSight>),
}

/// Who is answered by one survey.
pub(super) type Askers = Vec<Waiter>;

/// Surveys of one kind.
#[derive(Debug)]
struct Kind {
    detail: Detail,
    waiting: Askers,
    /// When the next one may begin.
    due: Instant,
    /// From the begin of one to the begin of the next.
    gap: Duration,
    /// What was answered last, while somebody may be told it.
    latest: Option<Arc<Gathered>>,
    /// When something happened that only the next one tells.
    changed: Option<Instant>,
}

/// Surveys of all kinds. Lives on: the control thread. Crosses by: never.
#[derive(Debug, Default)]
pub(crate) struct Surveys {
    /// As many as there are details that somebody asked for.
    kinds: Vec<Kind>,
}

impl Waiter {
    fn is_gone(&self) -> bool {
        match self {
            Self::All(reply) => reply.is_closed(),
            Self::One(_, reply) => reply.is_closed(),
            Self::Session(_, reply) => reply.is_closed(),
        }
    }
}

impl Kind {
    fn new(detail: Detail, now: Instant) -> Self {
        let (waiting, latest, changed) = (Vec::new(), None, None);
        Self { detail, waiting, due: now, gap: gap(detail), latest, changed }
    }

    fn age_max(&self) -> Duration {
        match self.detail {
            Detail::NONE => Duration::ZERO,
            _ => LISTS_AGE_MAX,
        }
    }

    /// The answers of a survey that is not older than `age_max`.
    fn recent(&self, age_max: Duration, now: Instant) -> Option<&Arc<Gathered>> {
        let latest = self.latest.as_ref()?;
        let asked_at = latest.asked_at?;
        (now < asked_at + age_max && latest.missing.is_empty()).then_some(latest)
    }
}

impl Surveys {
    /// The last answers, if a survey would tell the same but for what shards count.
    pub(super) fn fresh(&self, detail: Detail, now: Instant) -> Option<&Arc<Gathered>> {
        let kind = self.kinds.iter().find(|kind| kind.detail == detail)?;
        let latest = kind.recent(kind.age_max(), now)?;
        let since = kind.changed.is_none_or(|at| latest.asked_at.is_some_and(|asked| asked >= at));
        since.then_some(latest)
    }

    /// The last answers that tell of `stream`, whatever happened to others since.
    pub(super) fn sighted(&self, stream: &StreamName, now: Instant) -> Option<&Arc<Gathered>> {
        let kind = self.kinds.iter().find(|kind| kind.detail == Detail::STREAMS)?;
        let latest = kind.recent(SIGHTING_AGE_MAX, now)?;
        latest.stream(stream).map(|_| latest)
    }

    /// True if a survey of that kind may begin at once.
    pub(super) fn is_due(&self, detail: Detail, now: Instant) -> bool {
        let kind = self.kinds.iter().find(|kind| kind.detail == detail);
        kind.is_none_or(|kind| kind.due <= now && kind.waiting.is_empty())
    }

    /// The last answers of a kind, as long as they are kept.
    pub(super) fn latest(&self, detail: Detail) -> Option<&Arc<Gathered>> {
        self.kinds.iter().find(|kind| kind.detail == detail)?.latest.as_ref()
    }

    /// Something of `what` began or ended: answers that were asked for before do not tell it.
    pub(super) fn changed(&mut self, what: Detail, now: Instant) {
        let hears = |detail: Detail| {
            detail == Detail::NONE
                || (detail.streams && what.streams)
                || (detail.sessions && what.sessions)
        };
        for kind in self.kinds.iter_mut().filter(|kind| hears(kind.detail)) {
            kind.changed = Some(now);
        }
    }

    /// Lets `asker` wait for the next survey; gives it back if too many wait.
    pub(super) fn wait(
        &mut self,
        detail: Detail,
        asker: Waiter,
        now: Instant,
    ) -> Result<(), Waiter> {
        let at = self.kinds.iter().position(|kind| kind.detail == detail).unwrap_or_else(|| {
            self.kinds.push(Kind::new(detail, now));
            self.kinds.len() - 1
        });
        let waiting = &mut self.kinds[at].waiting;
        if waiting.len() >= ASKERS_MAX {
            // Those whose request is over wait no more.
            waiting.retain(|asker| !asker.is_gone());
        }
        if waiting.len() >= ASKERS_MAX {
            return Err(asker);
        }
        waiting.push(asker);
        Ok(())
    }

    /// A survey that may begin, and those who wait for it.
    pub(super) fn begin(&mut self, now: Instant) -> Option<(Detail, Askers)> {
        let ready = |kind: &&mut Kind| kind.due <= now && !kind.waiting.is_empty();
        let kind = self.kinds.iter_mut().find(ready)?;
        kind.due = now + kind.gap;
        Some((kind.detail, std::mem::take(&mut kind.waiting)))
    }

    /// Keeps the answers of a survey for who asks next.
    pub(super) fn took(&mut self, detail: Detail, gathered: &Arc<Gathered>) {
        let Some(kind) = self.kinds.iter_mut().find(|kind| kind.detail == detail) else { return };
        let items = u32::try_from(gathered.items_max()).unwrap_or(u32::MAX);
        kind.gap = gap(detail) + ITEM_GAP.saturating_mul(items);
        kind.latest = Some(Arc::clone(gathered));
    }

    /// Forgets answers that nobody is told any more: lists of a full node are long.
    pub(super) fn forget(&mut self, now: Instant) {
        for kind in &mut self.kinds {
            // While no survey may begin, the last one is all that can be told.
            if kind.due <= now && kind.recent(SIGHTING_AGE_MAX, now).is_none() {
                kind.latest = None;
            }
        }
    }

    /// When [`Self::begin`] has something to give, or [`Self::forget`] something to forget.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let begins = self.kinds.iter().filter(|kind| !kind.waiting.is_empty()).map(|kind| kind.due);
        let kept = self.kinds.iter().filter_map(|kind| {
            let asked_at = kind.latest.as_ref()?.asked_at?;
            Some((asked_at + SIGHTING_AGE_MAX).max(kind.due))
        });
        begins.chain(kept).min()
    }
}

const fn gap(detail: Detail) -> Duration {
    if detail.streams || detail.sessions { LISTS_GAP } else { COUNTERS_GAP }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker() -> (Waiter, oneshot::Receiver<Arc<Gathered>>) {
        let (reply, answer) = oneshot::channel();
        (Waiter::All(reply), answer)
    }

    fn answers(asked_at: Instant) -> Arc<Gathered> {
        Arc::new(Gathered { asked_at: Some(asked_at), ..Gathered::default() })
    }

    #[test]
    fn questions_of_one_kind_share_a_survey_and_are_bounded() {
        let now = Instant::now();
        let mut surveys = Surveys::default();
        let mut open = Vec::new();
        let mut ask = |surveys: &mut Surveys, detail| {
            let (asker, answer) = asker();
            open.push(answer);
            surveys.wait(detail, asker, now).is_ok()
        };
        assert!(surveys.begin(now).is_none());
        assert!(ask(&mut surveys, Detail::NONE));
        assert_eq!(surveys.begin(now).map(|(_, askers)| askers.len()), Some(1), "at once");
        for _ in 0..3 {
            assert!(ask(&mut surveys, Detail::NONE));
        }
        assert!(ask(&mut surveys, Detail::STREAMS));
        let (detail, askers) = surveys.begin(now).unwrap();
        assert_eq!((detail, askers.len()), (Detail::STREAMS, 1), "of another kind");
        assert!(surveys.begin(now).is_none());
        assert_eq!(surveys.deadline(), Some(now + COUNTERS_GAP));
        assert_eq!(surveys.begin(now + COUNTERS_GAP).map(|(_, askers)| askers.len()), Some(3));
        assert_eq!(surveys.deadline(), None);
        for _ in 0..ASKERS_MAX {
            assert!(ask(&mut surveys, Detail::NONE));
        }
        assert!(!ask(&mut surveys, Detail::NONE), "bounded");
        open.clear();
        let (asker, _answer) = asker();
        assert!(surveys.wait(Detail::NONE, asker, now).is_ok(), "the others went away");
    }

    #[test]
    fn answers_are_told_again_until_something_happens_or_they_are_old() {
        let now = Instant::now();
        let mut surveys = Surveys::default();
        let (one, _kept) = asker();
        assert!(surveys.wait(Detail::SESSIONS, one, now).is_ok());
        assert!(surveys.begin(now).is_some());
        surveys.took(Detail::SESSIONS, &answers(now));
        let later = now + LISTS_AGE_MAX - Duration::from_millis(1);
        assert!(surveys.fresh(Detail::SESSIONS, later).is_some());
        assert!(surveys.fresh(Detail::STREAMS, later).is_none(), "of another kind");
        assert!(surveys.fresh(Detail::SESSIONS, now + LISTS_AGE_MAX).is_none(), "old");
        surveys.changed(Detail::STREAMS, later);
        assert!(surveys.fresh(Detail::SESSIONS, later).is_some(), "no session began or ended");
        surveys.changed(Detail::SESSIONS, later);
        assert!(surveys.fresh(Detail::SESSIONS, later).is_none());
        surveys.took(Detail::SESSIONS, &answers(later));
        assert!(surveys.fresh(Detail::SESSIONS, later).is_some());
        assert_eq!(surveys.deadline(), Some(later + SIGHTING_AGE_MAX));
        surveys.forget(later + SIGHTING_AGE_MAX);
        assert!(surveys.latest(Detail::SESSIONS).is_none() && surveys.deadline().is_none());
    }

    #[test]
    fn a_shard_that_did_not_answer_is_asked_again() {
        let now = Instant::now();
        let mut surveys = Surveys::default();
        let (one, _kept) = asker();
        assert!(surveys.wait(Detail::SESSIONS, one, now).is_ok());
        let missing = vec![dataplane::ids::ShardId(0)];
        let partial = Gathered { missing, asked_at: Some(now), ..Gathered::default() };
        surveys.took(Detail::SESSIONS, &Arc::new(partial));
        assert!(surveys.fresh(Detail::SESSIONS, now).is_none());
    }

    #[test]
    fn long_lists_are_asked_for_rarely() {
        let now = Instant::now();
        let mut surveys = Surveys::default();
        let next = |surveys: &mut Surveys, at| {
            let (asker, _) = asker();
            assert!(surveys.wait(Detail::STREAMS, asker, at).is_ok());
            surveys.begin(at).is_some()
        };
        assert!(next(&mut surveys, now));
        let mut gathered = Gathered { asked_at: Some(now), ..Gathered::default() };
        let mut full = super::super::snapshots::empty(dataplane::ids::ShardId(0), 0);
        let audience = dataplane::control::Audience {
            stream: StreamName::parse("a").unwrap(),
            format: "flv",
            players: 1,
            viewers: 0,
        };
        full.audiences = vec![audience; 10_000];
        gathered.snapshots.push(full);
        surveys.took(Detail::STREAMS, &Arc::new(gathered));
        let due = now + LISTS_GAP;
        assert!(next(&mut surveys, due), "the gap was told before");
        assert!(!next(&mut surveys, due + LISTS_GAP));
        assert!(next(&mut surveys, due + LISTS_GAP + 10_000 * ITEM_GAP));
    }
}
