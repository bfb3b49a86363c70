//! Random publishers.

use codecs::media::Codec;
use dataplane::config::StreamConfig;
use proptest::prelude::*;

use super::rules::Rules;
use super::stream::{ASC, AVCC, OTHER_AVCC, Stream};

/// What a publisher does next.
#[derive(Clone, Debug)]
enum Act {
    /// A group of pictures with sound.
    Group { pictures: u32, step_ms: i64 },
    /// Pictures go on without a keyframe.
    Straggle { pictures: u32, step_ms: i64 },
    /// Sound alone.
    Sound { ms: i64 },
    /// Nothing, while time passes.
    Pause { ms: i64 },
    /// The publisher is lost, and one comes whose clock begins at 0.
    Return { ms: i64, other: bool },
    /// The encoder changes its settings.
    Change,
    /// A viewer comes.
    Watch,
}

fn act() -> impl Strategy<Value = Act> {
    let step = prop::sample::select(vec![20_i64, 33, 40, 67, 100, 200]);
    prop_oneof![
        8 => (1_u32..120, step.clone())
            .prop_map(|(pictures, step_ms)| Act::Group { pictures, step_ms }),
        2 => (1_u32..200, step)
            .prop_map(|(pictures, step_ms)| Act::Straggle { pictures, step_ms }),
        1 => (20_i64..9_000).prop_map(|ms| Act::Sound { ms }),
        1 => (1_i64..12_000).prop_map(|ms| Act::Pause { ms }),
        1 => (1_i64..9_000, any::<bool>()).prop_map(|(ms, other)| Act::Return { ms, other }),
        1 => Just(Act::Change),
        2 => Just(Act::Watch),
    ]
}

struct Publisher {
    stream: Stream,
    clock_ms: i64,
    sound_ms: i64,
    tracks: Tracks,
    other: bool,
}

/// What a publisher has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tracks {
    Both,
    Pictures,
    Sound,
    /// Pictures that no transport stream carries, and sound.
    Foreign,
}

impl Publisher {
    fn configure(&mut self) {
        if matches!(self.tracks, Tracks::Both | Tracks::Pictures) {
            let record = if self.other { OTHER_AVCC } else { AVCC };
            self.stream.configure(Codec::H264, record);
        }
        if self.tracks != Tracks::Pictures {
            let record: &[u8] = if self.other { &[0x11, 0x90] } else { ASC };
            self.stream.configure(Codec::Aac, record);
        }
    }

    fn pictures(
        &mut self,
        count: u32,
        step_ms: i64,
        keyframe: bool,
        see: &mut impl FnMut(&mut Stream),
    ) {
        for at in 0..count {
            let codec = if self.tracks == Tracks::Foreign { Codec::Vp8 } else { Codec::H264 };
            if self.tracks != Tracks::Sound {
                self.stream.unit(codec, self.clock_ms, keyframe && at == 0, 400);
                see(&mut self.stream);
            }
            self.pass(step_ms);
            self.catch_up(see);
        }
    }

    fn pass(&mut self, ms: i64) {
        self.clock_ms += ms;
        self.stream.pass(ms);
    }

    /// Sound comes up to the clock.
    fn catch_up(&mut self, see: &mut impl FnMut(&mut Stream)) {
        while self.tracks != Tracks::Pictures && self.sound_ms + 23 <= self.clock_ms {
            self.stream.unit(Codec::Aac, self.sound_ms, true, 60);
            see(&mut self.stream);
            self.sound_ms += 23;
        }
    }

    fn act(&mut self, act: &Act, see: &mut impl FnMut(&mut Stream)) {
        match *act {
            Act::Group { pictures, step_ms } => self.pictures(pictures, step_ms, true, see),
            Act::Straggle { pictures, step_ms } => self.pictures(pictures, step_ms, false, see),
            Act::Sound { ms } => {
                for _ in 0..ms / 20 {
                    self.pass(20);
                    self.catch_up(see);
                }
            }
            Act::Pause { ms } => {
                self.pass(ms);
                self.sound_ms = self.clock_ms;
            }
            Act::Return { ms, other } => {
                self.stream.pass(ms);
                (self.clock_ms, self.sound_ms) = (0, 0);
                self.other = other;
                self.stream.returns();
                self.configure();
            }
            Act::Change => {
                self.other = !self.other;
                self.configure();
            }
            Act::Watch => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_publisher_does_lists_follow_the_specification(
        acts in prop::collection::vec(act(), 5..60),
        tracks in prop::sample::select(vec![
            Tracks::Both, Tracks::Both, Tracks::Pictures, Tracks::Sound, Tracks::Foreign,
        ]),
        always in any::<bool>(),
    ) {
        let mut config = StreamConfig::default();
        if always {
            config.hls.mode = dataplane::config::HlsMode::Always;
        }
        let (clock_ms, sound_ms, other) = (5_000, 5_000, false);
        let stream = Stream::new(&config);
        let mut publisher = Publisher { stream, clock_ms, sound_ms, tracks, other };
        publisher.configure();
        let mut log = None;
        let mut rules = Rules::default();
        for act in &acts {
            if matches!(act, Act::Watch) && log.is_none() {
                log = Some(publisher.stream.watch());
            }
            publisher.act(act, &mut |stream| {
                if let Some(log) = &log {
                    rules.see(log, stream.now);
                }
            });
        }
        publisher.stream.end();
        if let Some(log) = log {
            prop_assert!(log.sealed().is_some());
            prop_assert!(rules.windows > 0 || log.window().is_none_or(|w| w.ended));
        }
    }
}
