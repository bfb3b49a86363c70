//! Logs of streams that ended: kept until their readers have drained them, and a while longer for
//! viewers of their segments.
//!
//! ```text
//!   end of the stream --> sealed, ENDLIST is shown -- hls.ended --> closed: 404
//!                              | the name is published again
//!                              v
//!                         sealed as moved: new viewers get the new list, segments stay
//! ```
//!
//! Limits: what the page pool holds; under pressure nothing is kept for viewers beyond the time
//! that players have to drain it.

use std::time::{Duration, Instant};

use super::message::Subscribe;
use super::shard::Shard;
use crate::hub::{HubLog, Subscriber};
use crate::ids::{ShardId, StreamName};
use crate::log::{SealReason, Succession};
use crate::session::Use;

/// How long the logs of an ended stream can be drained.
pub(super) const LAST_WORDS: Duration = Duration::from_secs(10);

/// The log of a stream that ended. Lives on: the stream's home shard.
#[derive(Debug)]
pub(super) struct EndedLog {
    stream: StreamName,
    log: HubLog,
    /// Players have drained it until then.
    drained: Instant,
    /// Viewers may ask for its segments until then.
    viewed: Option<Instant>,
}

impl EndedLog {
    /// True if it is closed at `now`; viewers are forgotten if pages are `pressed` for.
    fn is_over(&self, now: Instant, pressed: bool) -> bool {
        match self.viewed.filter(|_| !pressed) {
            Some(until) => until <= now,
            None => self.drained <= now || self.log.is_unread(),
        }
    }
}

impl Shard {
    /// Keeps a log of a stream that ended for those who read it.
    pub(super) fn keep_ended(&mut self, stream: &StreamName, log: HubLog) {
        let shown = log.log().window().is_some();
        if log.is_unread() && !shown {
            log.close(&self.pool, &mut self.gc);
            return;
        }
        for &Subscriber { shard, slot, .. } in log.readers() {
            self.mark(shard, slot);
        }
        let viewed = shown.then(|| self.now + self.config.stream.hls.ended);
        let drained = self.now + LAST_WORDS;
        self.streams.ended.push(EndedLog { stream: stream.clone(), log, drained, viewed });
    }

    /// The log of an ended stream that answers a question, if its segments can still be had.
    pub(super) fn find_ended(&mut self, from: ShardId, question: &Subscribe) -> Option<Succession> {
        if question.usage != Use::Segments {
            return None;
        }
        let now = self.now;
        let mut ended = self.streams.ended.iter_mut().rev();
        let found = ended.find(|ended| {
            ended.stream == question.stream && ended.viewed.is_some_and(|until| now < until)
        })?;
        let reader = Subscriber { shard: from, slot: question.slot, number: question.number };
        found.log.add_reader(reader, Use::Segments);
        Some(found.log.logs())
    }

    /// A stream of this name began: viewers of the one that ended are told where it goes on.
    pub(super) fn supersede_ended(&mut self, stream: &StreamName) {
        let mut ended = std::mem::take(&mut self.streams.ended);
        for ended in ended.iter_mut().filter(|ended| ended.stream == *stream) {
            if ended.viewed.is_some() {
                ended.log.seal(SealReason::Moved);
                for &Subscriber { shard, slot, .. } in ended.log.readers() {
                    self.mark(shard, slot);
                }
            }
        }
        self.streams.ended = ended;
    }

    /// Gives back the logs that are kept for nobody any more, or for viewers alone if pages are
    /// `pressed` for.
    pub(super) fn close_ended_logs(&mut self, pressed: bool) {
        let now = self.now;
        let Self { streams, pool, gc, .. } = self;
        for ended in streams.ended.extract_if(.., |ended| ended.is_over(now, pressed)) {
            ended.log.close(pool, gc);
        }
    }

    /// The node goes down: nobody new comes to what ended here.
    pub(super) fn admit_nobody_to_ended(&mut self) {
        self.streams.ended.iter_mut().for_each(|ended| ended.log.forget_before());
    }

    /// True if somebody still reads what ended here.
    pub(super) fn is_read_elsewhere(&self) -> bool {
        let ended = self.streams.ended.iter().any(|ended| !ended.log.is_unread());
        ended || self.is_passed_by_some()
    }

    /// The thread ends: nothing is kept.
    pub(super) fn forget_ended(&mut self) {
        let Self { streams, pool, gc, .. } = self;
        for ended in streams.ended.drain(..) {
            ended.log.close(pool, gc);
        }
        self.forget_passed();
    }
}
