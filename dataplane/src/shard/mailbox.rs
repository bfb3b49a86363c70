//! Mailboxes: bounded queues between each ordered pair of shards.
//!
//! Shape: one single-producer single-consumer ring per pair, with room for `letters_max` letters
//! that expect nothing and, kept free for them, `answers_max` answers. Who asks reserves the slot
//! of the answer in the ring that comes back; so an answer always has room, and a full mailbox is
//! told to the one who can still refuse: the asker.
//!
//! ```text
//!   a: ask(b)  --- letter --->  b        a reserves 1 of answers_max in the ring b -> a
//!   a: settle(b) <-- answer --- b: answer(a)
//! ```
//!
//! Limits: [`MailboxLimits`]. A full mailbox is a refusal, never a wait and never a loss.
//! Not here: waking the receiver (`shard/wake.rs`: `alert` after sending).

use rtrb::{Consumer, Producer, RingBuffer};

use crate::ids::ShardId;

/// Room of each ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxLimits {
    /// Letters, questions among them, that wait in one ring.
    pub letters_max: usize,
    /// Questions of one sender to one receiver without an answer yet.
    pub answers_max: usize,
}

/// The sending ends of one shard.
///
/// Lives on: its shard. Crosses by: never.
#[derive(Debug)]
pub struct Outboxes<T> {
    limits: MailboxLimits,
    to: Vec<Outbox<T>>,
}

#[derive(Debug)]
struct Outbox<T> {
    ring: Producer<T>,
    /// Questions that this receiver owes an answer to.
    asked: usize,
}

/// The receiving ends of one shard.
///
/// Lives on: its shard. Crosses by: never.
#[derive(Debug)]
pub struct Inboxes<T> {
    from: Vec<Consumer<T>>,
    /// The sender whose turn it is, so that none starves another.
    turn: usize,
}

/// Connects `n` members, each with each and with itself: one item per member, in order.
#[must_use]
pub fn mesh<T>(n: u16, limits: MailboxLimits) -> Vec<(Outboxes<T>, Inboxes<T>)> {
    let members = usize::from(n);
    let ends = || (Outboxes { limits, to: Vec::new() }, Inboxes { from: Vec::new(), turn: 0 });
    let mut mesh: Vec<_> = (0..members).map(|_| ends()).collect();
    for sender in 0..members {
        for receiver in 0..members {
            let (ring, consumer) = RingBuffer::new(limits.letters_max + limits.answers_max);
            mesh[sender].0.to.push(Outbox { ring, asked: 0 });
            mesh[receiver].1.from.push(consumer);
        }
    }
    mesh
}

impl<T> Outboxes<T> {
    /// Sends a letter that expects no answer.
    ///
    /// # Errors
    /// Gives the letter back if the mailbox is full.
    pub fn send(&mut self, to: ShardId, letter: T) -> Result<(), T> {
        let kept = self.limits.answers_max;
        let outbox = &mut self.to[to.index()];
        if outbox.ring.slots() <= kept {
            return Err(letter);
        }
        outbox.ring.push(letter).map_err(|rtrb::PushError::Full(letter)| letter)
    }

    /// True if [`Self::send`] to `to` has room.
    #[must_use]
    pub fn has_room(&self, to: ShardId) -> bool {
        self.to[to.index()].ring.slots() > self.limits.answers_max
    }

    /// Sends a question and reserves the slot of its answer.
    ///
    /// # Errors
    /// Gives the question back if the mailbox is full, or too many answers are outstanding.
    pub fn ask(&mut self, to: ShardId, question: T) -> Result<(), T> {
        if self.to[to.index()].asked >= self.limits.answers_max {
            return Err(question);
        }
        self.send(to, question)?;
        self.to[to.index()].asked += 1;
        Ok(())
    }

    /// Sends the answer of one question; its room was reserved by the asker.
    pub fn answer(&mut self, to: ShardId, answer: T) {
        let sent = self.to[to.index()].ring.push(answer);
        assert!(sent.is_ok(), "the asker reserved the slot of the answer");
    }

    /// An answer of `from` was received: its reservation is free again.
    pub fn settle(&mut self, from: ShardId) {
        let asked = &mut self.to[from.index()].asked;
        *asked = asked.checked_sub(1).expect("an answer belongs to a question");
    }

    /// Questions to `to` without an answer yet.
    #[must_use]
    pub fn outstanding(&self, to: ShardId) -> usize {
        self.to[to.index()].asked
    }
}

impl<T> Inboxes<T> {
    /// The next letter and its sender; senders take turns.
    pub fn recv(&mut self) -> Option<(ShardId, T)> {
        for _ in 0..self.from.len() {
            let sender = self.turn;
            self.turn = (sender + 1) % self.from.len();
            if let Ok(letter) = self.from[sender].pop() {
                let sender = u16::try_from(sender).expect("members are counted in 16 bits");
                return Some((ShardId(sender), letter));
            }
        }
        None
    }

    /// True if no letter waits; the check before sleeping.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from.iter().all(Consumer::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: MailboxLimits = MailboxLimits { letters_max: 3, answers_max: 2 };
    const A: ShardId = ShardId(0);
    const B: ShardId = ShardId(1);

    #[test]
    fn letters_keep_their_order_and_senders_take_turns() {
        let mut mesh = mesh::<u32>(3, LIMITS);
        for sender in 0..3_u32 {
            for n in 0..3 {
                mesh[sender as usize].0.send(B, sender * 10 + n).unwrap();
            }
        }
        let inbox = &mut mesh[1].1;
        let got: Vec<_> = std::iter::from_fn(|| inbox.recv()).map(|(_, n)| n).collect();
        assert_eq!(got, [0, 10, 20, 1, 11, 21, 2, 12, 22]);
        assert!(inbox.is_empty());
    }

    #[test]
    fn a_full_mailbox_gives_the_letter_back() {
        let mut mesh = mesh::<u32>(2, LIMITS);
        (0..3).for_each(|n| mesh[0].0.send(B, n).unwrap());
        assert_eq!(mesh[0].0.send(B, 3), Err(3));
        assert_eq!(mesh[0].0.ask(B, 4), Err(4));
        assert_eq!(mesh[0].0.outstanding(B), 0);
        mesh[0].0.send(A, 5).expect("another pair has room of its own");
    }

    #[test]
    fn an_answer_has_room_however_many_letters_wait() {
        let mut mesh = mesh::<u32>(2, LIMITS);
        mesh[0].0.ask(B, 1).unwrap();
        mesh[0].0.ask(B, 2).unwrap();
        assert_eq!(mesh[0].0.ask(B, 3), Err(3), "no more reservations");
        (0..3).for_each(|n| mesh[1].0.send(A, n).unwrap());
        assert_eq!(mesh[1].0.send(A, 9), Err(9));
        mesh[1].0.answer(A, 100);
        mesh[1].0.answer(A, 200);
        let inbox = &mut mesh[0].1;
        let got: Vec<_> = std::iter::from_fn(|| inbox.recv()).map(|(_, n)| n).collect();
        assert_eq!(got, [0, 1, 2, 100, 200]);
        mesh[0].0.settle(B);
        mesh[0].0.ask(B, 3).unwrap();
        assert_eq!(mesh[0].0.outstanding(B), 2);
    }
}
