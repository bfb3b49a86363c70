//! Survey: questions of the API to all shards, a few of them a second, whoever asks how often.
//!
//! Each survey costs every shard a look at all that it has. Those who ask for the same while one is
//! on its way, or just after it began, are answered together by the next one: so a client that
//! hammers the API costs the shards ten looks at their counters and four of each kind at their
//! lists a second at most, and no answer is older than its question.

use std::time::{Duration, Instant};

use dataplane::control::Detail;
use tokio::sync::oneshot;

use super::gather::Gathered;

/// From the begin of a survey of counters alone to the begin of the next one.
const COUNTERS_GAP: Duration = Duration::from_millis(100);
/// From the begin of a survey that lists something to the begin of the next one of its kind.
const LISTS_GAP: Duration = Duration::from_millis(250);
/// Questions that wait for one survey at most; one more is answered with nobody's answers.
pub(super) const ASKERS_MAX: usize = 64;

/// Who is answered by one survey.
pub(super) type Askers = Vec<oneshot::Sender<Gathered>>;

/// Surveys of one kind.
#[derive(Debug)]
struct Kind {
    detail: Detail,
    waiting: Askers,
    /// When the next one may begin.
    due: Instant,
}

/// Surveys of all kinds. Lives on: the control thread. Crosses by: never.
#[derive(Debug, Default)]
pub(crate) struct Surveys {
    /// As many as there are details that somebody asked for.
    kinds: Vec<Kind>,
}

impl Surveys {
    /// Lets `asker` wait for the next survey; gives it back if too many wait.
    pub(super) fn wait(
        &mut self,
        detail: Detail,
        asker: oneshot::Sender<Gathered>,
        now: Instant,
    ) -> Result<(), oneshot::Sender<Gathered>> {
        let at = self.kinds.iter().position(|kind| kind.detail == detail).unwrap_or_else(|| {
            self.kinds.push(Kind { detail, waiting: Vec::new(), due: now });
            self.kinds.len() - 1
        });
        let waiting = &mut self.kinds[at].waiting;
        // Those whose request is over wait no more.
        waiting.retain(|asker| !asker.is_closed());
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
        kind.due = now + if kind.detail == Detail::NONE { COUNTERS_GAP } else { LISTS_GAP };
        Some((kind.detail, std::mem::take(&mut kind.waiting)))
    }

    /// When [`Self::begin`] has something to give.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.kinds.iter().filter(|kind| !kind.waiting.is_empty()).map(|kind| kind.due).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_of_one_kind_share_a_survey_and_none_is_answered_by_an_older_one() {
        let now = Instant::now();
        let mut surveys = Surveys::default();
        let mut open = Vec::new();
        let mut ask = |surveys: &mut Surveys, detail| {
            let (asker, answer) = oneshot::channel();
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
        let (asker, _answer) = oneshot::channel();
        assert!(surveys.wait(Detail::NONE, asker, now).is_ok(), "the others went away");
    }
}
