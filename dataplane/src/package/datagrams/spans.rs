//! Which group each number of a connection is.

use codecs::mpegts::{Continuity, PACKET_LEN, Splice};
use codecs::time::MediaTime;

use super::clock::micros;
use crate::log::GROUP_PACKETS_MAX;

/// Spans of one player at most: the clock is set four times, and a player jumps now and then, in
/// the time in which anything may be sent again. What is older than all of them cannot be.
const SPANS_MAX: usize = 8;

/// What a player gets of its own before a group, in datagrams of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Head {
    /// Nothing: it follows what was sent, or says all that there is to say.
    Nothing,
    /// That it does not follow what was sent.
    Splice(Continuity),
    /// The entrance of packets that came as they are: so many packets.
    Entrance { packets: u8, after_gap: bool },
}

impl Head {
    /// Datagrams of it.
    pub(super) const fn datagrams(self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Splice(_) => 1,
            Self::Entrance { packets, .. } => (packets as u64).div_ceil(GROUP_PACKETS_MAX),
        }
    }
}

/// One datagram of a head.
#[derive(Clone, Copy, Debug)]
pub(super) enum HeadPart {
    Splice(Splice),
    /// So many packets of the entrance, from this one on.
    Entrance {
        first: usize,
        packets: usize,
    },
}

impl HeadPart {
    /// Bytes of it.
    pub(super) fn len(self) -> usize {
        match self {
            Self::Splice(splice) => splice.encoded_len(),
            Self::Entrance { packets, .. } => packets * PACKET_LEN,
        }
    }
}

/// Numbers that follow each other as their groups do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// The first of them.
    pub number: u64,
    /// Its group; that of the first number behind the head, if there is one.
    pub group: u64,
    /// What comes before the group.
    pub head: Head,
    /// What is added to the times of the groups.
    pub shift_us: i64,
    /// No time is less: that of the number before the span.
    pub floor_us: i64,
}

impl Span {
    const NOTHING: Self =
        Self { number: 0, group: 0, head: Head::Nothing, shift_us: 0, floor_us: 0 };

    /// The group that a number is, or that it announces.
    pub(super) const fn group_of(&self, number: u64) -> u64 {
        let nth = number - self.number;
        self.group + nth.saturating_sub(self.head.datagrams())
    }

    /// The part of the head that a number is.
    pub(super) fn head_at(&self, number: u64) -> Option<HeadPart> {
        let nth = number.checked_sub(self.number).filter(|&nth| nth < self.head.datagrams())?;
        match self.head {
            Head::Nothing => None,
            Head::Splice(continuity) => Some(HeadPart::Splice(Splice(continuity))),
            Head::Entrance { packets, .. } => {
                let first = nth * GROUP_PACKETS_MAX;
                let packets = GROUP_PACKETS_MAX.min(u64::from(packets) - first);
                let size = |count| usize::try_from(count).expect("an entrance is short");
                Some(HeadPart::Entrance { first: size(first), packets: size(packets) })
            }
        }
    }

    pub(super) fn at_us(&self, time: MediaTime) -> i64 {
        micros(time).saturating_add(self.shift_us).max(self.floor_us)
    }
}

/// The newest spans of one player, in order.
#[derive(Debug)]
pub(super) struct Spans {
    spans: [Span; SPANS_MAX],
    len: usize,
}

impl Spans {
    pub(super) const fn new() -> Self {
        Self { spans: [Span::NOTHING; SPANS_MAX], len: 0 }
    }

    /// The numbers from that of `span` on are its.
    pub(super) fn begin(&mut self, span: Span) {
        let is_replaced = self.last().is_some_and(|last| last.number == span.number);
        if is_replaced {
            self.len -= 1;
        } else if self.len == SPANS_MAX {
            self.spans.rotate_left(1);
            self.len -= 1;
        }
        self.spans[self.len] = span;
        self.len += 1;
    }

    pub(super) fn last(&self) -> Option<&Span> {
        self.spans[..self.len].last()
    }

    /// The span of a number, if it is remembered.
    pub(super) fn find(&self, number: u64) -> Option<&Span> {
        self.spans[..self.len].iter().rfind(|span| span.number <= number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(number: u64, group: u64, splice: bool) -> Span {
        let splice = splice.then(|| Continuity::from_bits(group));
        let head = splice.map_or(Head::Nothing, Head::Splice);
        Span { number, group, head, shift_us: 5, floor_us: 100 }
    }

    #[test]
    fn a_number_is_found_in_the_span_that_it_is_of() {
        let mut spans = Spans::new();
        assert!(spans.find(0).is_none() && spans.last().is_none());
        spans.begin(span(0, 70, false));
        spans.begin(span(6, 90, true));
        spans.begin(span(9, 92, false));
        let group = |number| spans.find(number).map(|span| span.group_of(number)).unwrap();
        assert_eq!([0, 5, 6, 7, 8, 9, 40].map(group), [70, 75, 90, 90, 91, 92, 123]);
        let splices = (0..20).filter(|&n| spans.find(n).unwrap().head_at(n).is_some());
        assert_eq!(splices.collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn a_span_without_a_number_is_replaced_and_the_oldest_is_forgotten() {
        let mut spans = Spans::new();
        for number in 1..=20 {
            spans.begin(span(number, number + 1, false));
            spans.begin(span(number, number, true));
        }
        assert_eq!(spans.len, SPANS_MAX);
        let oldest = 20 - SPANS_MAX as u64 + 1;
        assert!(spans.find(oldest - 1).is_none());
        assert!((oldest..=20).all(|number| spans.find(number).unwrap().group == number));
    }

    #[test]
    fn an_entrance_has_as_many_datagrams_as_it_takes() {
        let entrance = |packets| Head::Entrance { packets, after_gap: true };
        let of = |packets| Span { head: entrance(packets), ..span(4, 70, false) };
        for (packets, parts) in
            [(2, &[(0, 2)][..]), (7, &[(0, 7)]), (16, &[(0, 7), (7, 7), (14, 2)])]
        {
            let span = of(packets);
            let found = (4..).map_while(|number| span.head_at(number)).map(|part| match part {
                HeadPart::Entrance { first, packets } => (first, packets),
                HeadPart::Splice(_) => unreachable!("an entrance has none"),
            });
            assert_eq!(found.collect::<Vec<_>>(), parts);
            let behind = 4 + parts.len() as u64;
            assert_eq!(
                (span.group_of(4), span.group_of(behind), span.group_of(behind + 1)),
                (70, 70, 71)
            );
        }
    }

    #[test]
    fn times_do_not_go_back() {
        let span = span(0, 0, false);
        let at = [0, 90, 96, 200].map(|us| span.at_us(MediaTime::from_nanos(us * 1_000)));
        assert_eq!(at, [100, 100, 101, 205]);
    }
}
