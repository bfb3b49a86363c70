//! A list of segments written down as playlists.

use std::hint::black_box;
use std::time::Instant;

use codecs::time::{MediaTime, WallTime};
use dataplane::segment::{ListTerms, Program, Segment, SegmentList, Tags, render};

use super::Scenario;

const SEGMENT_MS: i64 = 2_000;
const SEGMENT_BYTES: u64 = 564_000;
const TARGET_S: u32 = 2;
const START_UNIX_MS: i64 = 1_790_000_000_000;

struct Render {
    list: SegmentList,
    program: Program,
    now: Instant,
    next: i64,
}

/// A segment more, and what is listed and kept then.
pub(super) fn render_playlists() -> Box<dyn Scenario> {
    let program = Program {
        codecs: "avc1.640028,mp4a.40.2".to_owned(),
        resolution: Some((1920, 1080)),
        fps_milli: Some(30_000),
        pictures: true,
    };
    let list = SegmentList::new(ListTerms { listed: 6, kept: 13 });
    Box::new(Render { list, program, now: Instant::now(), next: 0 })
}

impl Scenario for Render {
    fn prepare(&mut self) {
        let (number, start) =
            (self.next.unsigned_abs(), MediaTime::from_millis(self.next * SEGMENT_MS));
        let finished = (self.next > 0).then(|| Segment {
            number: number - 1,
            period: 1,
            discontinuity: false,
            start: start - MediaTime::from_millis(SEGMENT_MS),
            duration: MediaTime::from_millis(SEGMENT_MS),
            wall: WallTime::from_unix_millis(START_UNIX_MS + (self.next - 1) * SEGMENT_MS),
            independent: true,
            pictures: 60,
            first_unit: number * 154,
        });
        self.list.begin(number, number * SEGMENT_BYTES, finished.as_ref());
        self.next += 1;
    }

    fn run(&mut self) {
        self.list.settle(TARGET_S, self.now);
        let tags = Tags { target_s: TARGET_S, independent: true };
        black_box(render(&self.list, tags, &self.program));
    }
}
