//! Where a stream is cut.

use codecs::time::{MediaTime, WallTime};
use dataplane::config::HlsConfig;
use dataplane::segment::{Mark, Numbering, Segmenter};

use super::Scenario;
use super::memory::time;
use super::stream::{Frame, second};

/// Seconds of one run.
const SECONDS: u32 = 60;
const START_UNIX_MS: i64 = 1_790_000_000_000;

struct Cut {
    segmenter: Segmenter,
    frames: Vec<Frame>,
    seconds: u32,
    units: u64,
}

/// A minute of a stream with a keyframe each second.
pub(super) fn cut() -> Box<dyn Scenario> {
    let segmenter = Segmenter::new(&HlsConfig::default(), Numbering::default());
    Box::new(Cut { segmenter, frames: second(), seconds: 0, units: 0 })
}

impl Scenario for Cut {
    fn run(&mut self) {
        let (mut begun, start) = (0, WallTime::from_unix_millis(START_UNIX_MS));
        for second in self.seconds..self.seconds + SECONDS {
            for frame in &self.frames {
                let dts = time(frame, second);
                let mark = Mark {
                    kind: frame.codec.kind(),
                    dts,
                    keyframe: frame.keyframe,
                    pictures: true,
                    unit: self.units,
                    wall: start.after(dts - MediaTime::ZERO),
                };
                self.units += 1;
                begun += u32::from(self.segmenter.push(&mark));
            }
        }
        self.seconds += SECONDS;
        assert!((SECONDS / 3..=SECONDS).contains(&begun), "{begun} segments");
    }
}
