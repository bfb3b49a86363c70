//! Moves: orders of the API that a shard has not answered yet.

use std::time::{Duration, Instant};

use dataplane::control::{MoveOrder, MoveOutcome, MoveRefusal};
use dataplane::ids::{ShardId, StreamName};
use tokio::sync::oneshot;

/// Orders under way at most; one more is refused.
const MOVES_MAX: usize = 4;
/// An order without an answer is answered with a time-out; shards give theirs before.
const MOVE_DEADLINE: Duration = Duration::from_secs(4);

/// One order under way.
#[derive(Debug)]
struct Underway {
    id: u64,
    deadline: Instant,
    reply: oneshot::Sender<MoveOutcome>,
}

/// All orders under way. Lives on: the control thread.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    underway: Vec<Underway>,
    next_id: u64,
}

impl Moves {
    /// An order for a shard; `None` if it is refused at once.
    pub(crate) fn order(
        &mut self,
        stream: StreamName,
        to: ShardId,
        reply: oneshot::Sender<MoveOutcome>,
        now: Instant,
    ) -> Option<MoveOrder> {
        if self.underway.len() >= MOVES_MAX {
            // The request may be gone: then nobody misses the answer.
            let _ = reply.send(MoveOutcome::Refused(MoveRefusal::Busy));
            return None;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.underway.push(Underway { id, deadline: now + MOVE_DEADLINE, reply });
        Some(MoveOrder { id, stream, to })
    }

    /// A shard answered.
    pub(crate) fn over(&mut self, id: u64, outcome: MoveOutcome) {
        if let Some(at) = self.underway.iter().position(|underway| underway.id == id) {
            let _ = self.underway.swap_remove(at).reply.send(outcome);
        }
    }

    /// Answers the orders that no shard has answered in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        for late in self.underway.extract_if(.., |underway| underway.deadline <= now) {
            let _ = late.reply.send(MoveOutcome::Refused(MoveRefusal::Timeout));
        }
    }

    /// When [`Self::expire`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.underway.iter().map(|underway| underway.deadline).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_is_answered_once_in_time_or_as_late() {
        let (mut moves, now) = (Moves::default(), Instant::now());
        let name = || StreamName::parse("news/1").unwrap();
        let (first, mut answered) = oneshot::channel();
        let (second, mut late) = oneshot::channel();
        let order = moves.order(name(), ShardId(1), first, now).unwrap();
        moves.order(name(), ShardId(2), second, now).unwrap();
        moves.over(order.id, MoveOutcome::AlreadyThere);
        moves.over(order.id, MoveOutcome::Refused(MoveRefusal::Busy));
        assert_eq!(answered.try_recv(), Ok(MoveOutcome::AlreadyThere));
        assert_eq!(moves.deadline(), Some(now + MOVE_DEADLINE));
        moves.expire(now);
        assert!(late.try_recv().is_err());
        moves.expire(now + MOVE_DEADLINE);
        assert_eq!(late.try_recv(), Ok(MoveOutcome::Refused(MoveRefusal::Timeout)));
        assert_eq!(moves.deadline(), None);
    }

    #[test]
    fn orders_are_bounded() {
        let (mut moves, now) = (Moves::default(), Instant::now());
        let name = || StreamName::parse("news/1").unwrap();
        for _ in 0..MOVES_MAX {
            assert!(moves.order(name(), ShardId(1), oneshot::channel().0, now).is_some());
        }
        let (reply, mut answer) = oneshot::channel();
        assert!(moves.order(name(), ShardId(1), reply, now).is_none());
        assert_eq!(answer.try_recv(), Ok(MoveOutcome::Refused(MoveRefusal::Busy)));
    }
}
