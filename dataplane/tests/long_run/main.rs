//! A day and two hours of one stream in seconds: clocks that wrap, counters, windows, memory.
//!
//! The publisher's clock has 32 bits of milliseconds and wraps half-way; so do the 33 bits of
//! transport packets and the clock beside them, and the 32 bits of RTMP and FLV. It drifts against
//! the wall clock, and its publisher is lost and returns now and then. `LONG_RUN_SEED` repeats one.
#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

#[path = "../segments/rules.rs"]
mod rules;
#[path = "../stream/mod.rs"]
mod stream;

mod messages;
mod transport;

use std::hash::{BuildHasher, RandomState};

use codecs::media::Codec;
use codecs::time::Unwrapper;
use dataplane::config::StreamConfig;
use dataplane::session::{Dialect, Format, LogKey};
use dataplane::slab::PageClass;

use messages::Messages;
use rules::Rules;
use stream::{ASC, AVCC, Stream};
use transport::Transport;

const HOUR_MS: u64 = 3_600_000;
const RUN_MS: u64 = 26 * HOUR_MS;
const PICTURE_MS: u64 = 100;
const PICTURE: i64 = 100;
/// Pictures between two looks at the logs.
const PICTURES_PER_LOOK: u64 = 10;

/// Numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

fn seed() -> u64 {
    let given = std::env::var("LONG_RUN_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0)) | 1;
    println!("LONG_RUN_SEED={seed}");
    seed
}

/// An encoder with a clock of 32 bits.
struct Encoder {
    wire: u32,
    clock: Unwrapper<32>,
    pictures: u64,
    gop: u64,
}

impl Encoder {
    fn new(wire: u32) -> Self {
        Self { wire, clock: Unwrapper::new(), pictures: 0, gop: 10 }
    }

    /// One picture, and the sound until the next.
    fn deliver(&mut self, stream: &mut Stream, dice: &mut Dice) {
        let ms = self.clock.unwrap(u64::from(self.wire));
        let keyframe = self.pictures.is_multiple_of(self.gop);
        let bytes = 60 + usize::try_from(dice.roll(300)).unwrap();
        stream.unit(Codec::H264, ms, keyframe, bytes);
        let sound = self.clock.unwrap(u64::from(self.wire.wrapping_add(30)));
        stream.unit(Codec::Aac, sound, true, 40);
        if keyframe {
            (self.pictures, self.gop) = (0, 5 + dice.roll(16));
        }
        self.pictures += 1;
        self.wire = self.wire.wrapping_add(u32::try_from(PICTURE_MS).unwrap());
    }
}

#[test]
fn a_day_and_two_hours_leave_no_trace() {
    let mut dice = Dice(seed());
    let mut stream = Stream::new(&StreamConfig::default());
    stream.configure(Codec::H264, AVCC);
    stream.configure(Codec::Aac, ASC);
    let wrap_in = 13 * HOUR_MS + dice.roll(HOUR_MS / 2);
    let mut encoder = Encoder::new(0_u32.wrapping_sub(u32::try_from(wrap_in).unwrap()));
    for _ in 0..30 {
        encoder.deliver(&mut stream, &mut dice);
        stream.pass(PICTURE);
    }

    let segments = stream.watch();
    let [rtmp, flv] = [Format::Rtmp, Format::Flv].map(|format| {
        let log = stream.subscribe(LogKey { format, dialect: Dialect::Native, track: 0 }).unwrap();
        Messages::new(format, log)
    });
    let mut logs = [rtmp, flv];
    let (mut transport, mut rules) = (Transport::new(segments.clone()), Rules::default());
    let (mut elapsed, mut returns, mut next_return) = (0, 0, HOUR_MS);
    let mut pages = [0; 2];
    while elapsed < RUN_MS {
        for _ in 0..PICTURES_PER_LOOK {
            encoder.deliver(&mut stream, &mut dice);
            rules.see(&segments, stream.now);
            stream.pass(PICTURE);
            elapsed += PICTURE_MS;
        }
        if elapsed % 10_000 == 0 {
            stream.pass(1);
        }
        transport.follow();
        logs.iter_mut().for_each(Messages::follow);
        if elapsed >= next_return {
            next_return += HOUR_MS / 2 + dice.roll(4 * HOUR_MS);
            let lost = 500 + i64::try_from(dice.roll(8_000)).unwrap();
            stream.pass(lost);
            stream.returns();
            encoder = Encoder::new(u32::try_from(dice.roll(1 << 32)).unwrap());
            returns += 1;
        }
        let used =
            stream.pool.usage(PageClass::Large).in_use + stream.pool.usage(PageClass::Small).in_use;
        let day = usize::from(elapsed > HOUR_MS);
        pages[day] = pages[day].max(used);
    }

    assert!(rules.windows as u64 >= RUN_MS / 4_000, "{} windows", rules.windows);
    assert!(returns >= 4, "{returns} returns");
    assert_eq!(rules.breaks, returns, "each return is told once");
    assert!(pages[1] <= pages[0] + 4, "memory grows: {pages:?}");
    transport.finish(RUN_MS);
    logs.iter().for_each(|log| log.finish(RUN_MS));
    stream.end();
}
