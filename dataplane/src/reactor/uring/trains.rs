//! Trains of one submit: memory that never moves, until the kernel has answered.

use super::super::completion::SendPart;
use super::super::core::Core;
use super::super::token::Token;
use super::super::train::{self, Cut, NO_RANGE, Ticket};

/// Trains of one submit at most.
const TRAINS_MAX: usize = 256;
/// Ranges of the trains of one submit at most: 128 KiB of them.
const RANGES_MAX: usize = 8_192;

/// One train and the message that asks for it.
struct Train {
    ticket: Ticket,
    header: libc::msghdr,
    cut: Cut,
    /// Its ranges in the table.
    ranges: std::ops::Range<usize>,
    answered: bool,
}

/// The trains of a submit. The tables are made for the first one, whole, and never grow.
#[derive(Default)]
pub(super) struct Trains {
    trains: Vec<Train>,
    ranges: Vec<libc::iovec>,
    ranges_used: usize,
    /// Trains that the kernel has not answered.
    open: usize,
    /// The submit, wrapping, so that no late answer is taken for another train's.
    submit: u16,
}

impl std::fmt::Debug for Trains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trains").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Trains {
    pub(super) const fn is_empty(&self) -> bool {
        self.trains.is_empty()
    }

    /// Trains that the kernel has not answered.
    pub(super) const fn open(&self) -> usize {
        self.open
    }

    /// True if another train of `parts` ranges has room in this submit.
    pub(super) const fn fit(&self, parts: usize) -> bool {
        self.trains.len() < TRAINS_MAX && self.ranges_used + parts <= RANGES_MAX
    }

    /// A message of `parts`, valid until [`Self::reset`], and the key of its answer.
    pub(super) fn put(
        &mut self,
        ticket: Ticket,
        parts: &[SendPart],
    ) -> (*const libc::msghdr, Token) {
        assert!(self.fit(parts.len()), "a submit makes room");
        if self.ranges.is_empty() {
            self.trains.reserve_exact(TRAINS_MAX);
            self.ranges.resize(RANGES_MAX, NO_RANGE);
        }
        let ranges = self.ranges_used..self.ranges_used + parts.len();
        self.ranges_used = ranges.end;
        train::write_ranges(&mut self.ranges[ranges.clone()], parts);
        let index = self.trains.len();
        self.trains.push(Train {
            ticket,
            // SAFETY: all zero bytes are a valid message without address and control data.
            header: unsafe { std::mem::zeroed() },
            cut: Cut::new(ticket.segment),
            ranges: ranges.clone(),
            answered: false,
        });
        self.open += 1;
        // What the message points to is where it stays: the tables have their full size.
        let Train { ticket, header, cut, .. } = &mut self.trains[index];
        let cut = ticket.several.then_some(cut);
        *header = train::message(&mut ticket.peer, &mut self.ranges[ranges], cut);
        let index = u32::try_from(index).expect("trains of a submit are few");
        (&raw const *header, Token::new(index, self.submit))
    }

    /// Files the answer to a train; the bytes of the submit are still there, so that a train that
    /// was refused leaves datagram by datagram.
    pub(super) fn settle(&mut self, core: &mut Core, key: Token, result: i32) {
        let train = self.trains.get_mut(key.slot as usize);
        let Some(train) = train.filter(|train| key.generation == self.submit && !train.answered)
        else {
            core.counters.stale += 1;
            return;
        };
        train.answered = true;
        self.open -= 1;
        let ticket = &train.ticket;
        let result = if ticket.several && train::refused(result) {
            core.train_split(-result);
            let ranges = &self.ranges[train.ranges.clone()];
            // SAFETY: the submit has not returned, and until then the caller keeps the bytes.
            unsafe { train::send_apart(&mut core.counters, ticket, ranges) }
        } else {
            result
        };
        core.train_sent(ticket.token, ticket.segment, result);
    }

    /// The submit is over: trains without an answer are as good as blocked.
    pub(super) fn reset(&mut self, core: &mut Core) {
        for train in self.trains.drain(..) {
            if !train.answered {
                core.train_sent(train.ticket.token, train.ticket.segment, -libc::ENOBUFS);
            }
        }
        self.ranges_used = 0;
        self.open = 0;
        self.submit = self.submit.wrapping_add(1);
    }
}
