//! Bytes that repeat nowhere, and what became of them on the way.

use std::fmt;
use std::time::Duration;

/// Bytes of a packet: seven transport packets.
pub(crate) const PACKET: usize = 1_316;
/// How long a stream is.
const SECONDS: f64 = 2.5;
/// Packets that follow, so that programs put out all that they buffer of those that count.
const TRAILER: usize = 64;
/// What may be lost at the start: programs throw away what they are given before they hear that
/// they are connected.
const START_MAX: Duration = Duration::from_secs(1);

/// Spreads the number of a word over all its bits; odd, so that it can be undone.
const SPREAD: u32 = 0x9e37_79b1;
/// What undoes it.
const GATHER: u32 = inverse(SPREAD);

const fn inverse(odd: u32) -> u32 {
    let mut inverse = odd;
    let mut round = 0;
    while round < 4 {
        inverse = inverse.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(inverse)));
        round += 1;
    }
    inverse
}

/// What is sent, at a pace.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    bytes_per_second: f64,
    counted: usize,
    bytes: Vec<u8>,
}

impl Content {
    pub(crate) fn at(mbps: u32) -> Self {
        let bytes_per_second = f64::from(mbps) * 125_000.0;
        let packets = (bytes_per_second * SECONDS) as usize / PACKET;
        let words = 1..=(packets * PACKET / 4) as u32;
        let mut bytes: Vec<u8> =
            words.flat_map(|word| word.wrapping_mul(SPREAD).to_be_bytes()).collect();
        let counted = bytes.len();
        bytes.resize(counted + TRAILER * PACKET, 0);
        Self { bytes_per_second, counted, bytes }
    }

    /// All of it, with what follows those that count.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many there are, but for what follows.
    pub(crate) const fn packets(&self) -> u64 {
        (self.counted / PACKET) as u64
    }

    /// Bytes that are due after `time`, in whole packets.
    pub(crate) fn due(&self, time: Duration) -> usize {
        let due = (time.as_secs_f64() * self.bytes_per_second) as usize;
        (due / PACKET * PACKET).min(self.bytes.len())
    }

    /// True if the last that counts is in `got`.
    pub(crate) fn is_ended_by(&self, got: &[u8]) -> bool {
        let last = &self.bytes[self.counted - 16..self.counted];
        let from = got.len().saturating_sub(2 * TRAILER * PACKET);
        got[from..].windows(last.len()).any(|bytes| bytes == last)
    }

    /// What became of it.
    pub(crate) fn judge(&self, got: &[u8]) -> Outcome {
        let words = got.chunks_exact(4).map(|word| u32::from_be_bytes(word.try_into().unwrap()));
        let total = self.counted / 4;
        let mut came = Came::default();
        for word in words {
            // The trailer is zero.
            if word == 0 {
                continue;
            }
            let at = word.wrapping_mul(GATHER) as usize - 1;
            if at >= total {
                return Outcome::Corrupt { at: 4 * came.next.unwrap_or(0) };
            }
            let next = *came.next.get_or_insert(at);
            came.start.get_or_insert(at);
            if at < next {
                return Outcome::Corrupt { at: 4 * next };
            }
            came.missing += at - next;
            came.next = Some(at + 1);
        }
        let (Some(start), Some(next)) = (came.start, came.next) else { return Outcome::Nothing };
        let start_max = START_MAX.as_secs_f64() * self.bytes_per_second;
        if 4 * start > start_max as usize {
            return Outcome::Late { bytes: 4 * start };
        }
        let packets = |words: usize| (4 * words).div_ceil(PACKET);
        let (gaps, tail) = (packets(came.missing), packets(total - next));
        if gaps + tail == 0 { Outcome::Whole } else { Outcome::Gaps { gaps, tail } }
    }
}

/// Words that came.
#[derive(Default)]
struct Came {
    start: Option<usize>,
    next: Option<usize>,
    missing: usize,
}

/// What became of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All came after the start, in order, once.
    Whole,
    /// So many packets of it are missing, in its middle and at its end.
    Gaps {
        gaps: usize,
        tail: usize,
    },
    /// It began later than it may.
    Late {
        bytes: usize,
    },
    /// From there on something came that was not sent, or twice, or not in order.
    Corrupt {
        at: usize,
    },
    Nothing,
    /// They did not meet, or a program ended.
    Failed(String),
}

impl Outcome {
    /// Packets that are missing of what came otherwise as it should.
    fn missing(&self) -> Option<usize> {
        match self {
            Self::Whole => Some(0),
            Self::Gaps { gaps, tail } => Some(gaps + tail),
            _ => None,
        }
    }

    /// Clearly worse: by more than chance makes of one line and another.
    pub(crate) fn is_worse_than(&self, other: &Self) -> bool {
        match (self.missing(), other.missing()) {
            (Some(ours), Some(theirs)) => ours > theirs + theirs / 10,
            (ours, theirs) => ours.is_none() && theirs.is_some(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("="),
            Self::Gaps { gaps, tail } => write!(f, "-{}", gaps + tail),
            Self::Late { .. } => f.write_str("late"),
            Self::Corrupt { .. } => f.write_str("corrupt"),
            Self::Nothing => f.write_str("nothing"),
            Self::Failed(_) => f.write_str("failed"),
        }
    }
}

#[test]
fn what_is_missing_is_counted_and_what_is_wrong_is_found() {
    let content = Content::at(2);
    let sent = content.bytes();
    let gap = |from: usize, to: usize| [&sent[..from * PACKET], &sent[to * PACKET..]].concat();
    assert_eq!(content.judge(sent), Outcome::Whole);
    assert_eq!(content.judge(&sent[100 * PACKET..]), Outcome::Whole);
    assert_eq!(content.judge(&sent[300 * PACKET..]), Outcome::Late { bytes: 300 * PACKET });
    assert_eq!(content.judge(&gap(50, 53)), Outcome::Gaps { gaps: 3, tail: 0 });
    let short = content.counted - 2 * PACKET;
    assert_eq!(content.judge(&sent[..short]), Outcome::Gaps { gaps: 0, tail: 2 });
    let twice = [&sent[..2 * PACKET], &sent[PACKET..]].concat();
    assert_eq!(content.judge(&twice), Outcome::Corrupt { at: 2 * PACKET });
    let mut damaged = sent.to_vec();
    damaged[PACKET] ^= 1;
    assert!(matches!(content.judge(&damaged), Outcome::Corrupt { .. }));
    assert_eq!(content.judge(&[]), Outcome::Nothing);
    assert!(content.is_ended_by(sent) && !content.is_ended_by(&sent[..short]));
}
