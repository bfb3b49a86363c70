//! Anything at all may come in; the checker says what it is and keeps little of it.

use loadtest::mpegts::{Indicator, Tr101290};
use proptest::prelude::*;

use crate::multiplex::Stream;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_judged(
        bytes in prop::collection::vec(any::<u8>(), 0..4000),
        size in 1_usize..500,
    ) {
        let mut checker = Tr101290::default();
        bytes.chunks(size).for_each(|piece| checker.feed(piece));
        let verdict = checker.finish();
        prop_assert_eq!(verdict.bytes, bytes.len() as u64);
    }

    #[test]
    fn any_packets_are_judged(
        packets in prop::collection::vec(
            (0_u16..4, prop::collection::vec(any::<u8>(), 187)),
            1..60,
        ),
    ) {
        let mut stream = Vec::new();
        for (pid, rest) in packets {
            stream.push(0x47);
            stream.extend([rest[0] & 0x40 | pid as u8 & 1, if pid > 1 { 0 } else { rest[1] & 3 }]);
            stream.extend(&rest[2..]);
        }
        let verdict = Tr101290::check(&stream);
        prop_assert_eq!(verdict.packets, stream.len() as u64 / 188);
    }

    #[test]
    fn a_stream_with_wrong_bytes_is_judged(
        wrong in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40),
    ) {
        let mut bytes = Stream::good().bytes();
        for (at, byte) in wrong {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let verdict = Tr101290::check(&bytes);
        prop_assert!(verdict.packets > 1000);
        // What is kept is bounded, what is counted is not.
        prop_assert!(verdict.findings.len() <= 20 * Indicator::ALL.len());
        let counted: u64 = verdict.counts.iter().map(|(_, count)| count).sum();
        prop_assert!(counted >= verdict.findings.len() as u64);
    }
}
