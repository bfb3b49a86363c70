//! Playlists: a list of segments written down.

use codecs::m3u8::{MediaPlaylist, MediaSegment, Variant, end_list, multivariant_head};
use codecs::time::MediaTime;

use super::list::Kept;
use super::uri::Asset;
use super::{KeptSegment, Playlist, SegmentList, Window};

/// The tags of a media playlist that hold for all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    /// The target duration.
    pub target_s: u32,
    /// Nothing was said yet that `EXT-X-INDEPENDENT-SEGMENTS` would contradict.
    pub independent: bool,
}

/// What is in the segments, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The codec string of each track; empty if one of them has none.
    pub codecs: String,
    /// Width and height as displayed.
    pub resolution: Option<(u32, u32)>,
    /// Pictures per second in thousandths, as the bitstream says.
    pub fps_milli: Option<u32>,
    /// There are pictures.
    pub pictures: bool,
}

/// The window of `list`; `None` if nothing is listed.
#[must_use]
pub fn render(list: &SegmentList, tags: Tags, program: &Program) -> Option<Window> {
    let first = list.listed().next()?.segment;
    let listed = list.listed().count();
    let mut body = String::with_capacity(192 + 96 * listed);
    let mut uri_ends = Vec::with_capacity(listed);
    MediaPlaylist {
        target_duration_s: tags.target_s,
        media_sequence: first.number,
        discontinuity_sequence: first.period - u64::from(first.discontinuity),
        independent_segments: tags.independent,
    }
    .encode(&mut body);
    let mut uri = String::new();
    for kept in list.listed() {
        uri.clear();
        Asset::Segment(kept.segment.number).write(&mut uri);
        let segment = MediaSegment {
            duration_us: micros(kept.segment.start, kept.segment.duration),
            discontinuity: kept.segment.discontinuity,
            program_date_time: Some(kept.segment.wall),
            uri: &uri,
        };
        uri_ends.push(segment.encode(&mut body));
    }
    if list.has_ended() {
        end_list(&mut body);
    }
    Some(Window {
        multivariant: multivariant(list, tags.target_s, program),
        media: Playlist::new(body, uri_ends),
        segments: list.kept().map(shown).collect(),
        ended: list.has_ended(),
        publication: None,
    })
}

/// The list of variants: one, as long as a stream is one ladder of one step.
fn multivariant(list: &SegmentList, target_s: u32, program: &Program) -> Playlist {
    let mut body = String::with_capacity(256);
    let mut uri = String::new();
    Asset::Media.write(&mut uri);
    multivariant_head(&mut body);
    let average = list.kept().fold(Rate::default(), Rate::and).per_second();
    let variant = Variant {
        bandwidth: peak(list, target_s).max(average),
        average_bandwidth: Some(average),
        codecs: &program.codecs,
        resolution: program.resolution,
        fps_milli: program.pictures.then(|| frame_rate(list, program)).flatten(),
        uri: &uri,
    };
    let behind = variant.encode(&mut body);
    Playlist::new(body, vec![behind])
}

fn shown(kept: &Kept) -> KeptSegment {
    KeptSegment {
        number: kept.segment.number,
        from: kept.from,
        to: kept.to,
        duration: kept.segment.duration,
        wall: kept.segment.wall,
        discontinuity: kept.segment.discontinuity,
    }
}

/// A duration between two rounded ends, so that those of a period add up to it.
fn micros(start: MediaTime, duration: MediaTime) -> u64 {
    const PER_SECOND: u32 = 1_000_000;
    let us = (start + duration).as_ticks(PER_SECOND) - start.as_ticks(PER_SECOND);
    u64::try_from(us).unwrap_or(0).max(1)
}

/// Bits and the time that they last.
#[derive(Clone, Copy, Default)]
struct Rate {
    bits: u128,
    nanos: u128,
}

impl Rate {
    fn and(self, kept: &Kept) -> Self {
        let lasts = kept.segment.duration.as_nanos().max(1).unsigned_abs();
        Self { bits: self.bits + u128::from(kept.bits()), nanos: self.nanos + u128::from(lasts) }
    }

    /// Bits per second, rounded up.
    fn per_second(self) -> u64 {
        let rate = (self.bits * 1_000_000_000).div_ceil(self.nanos.max(1));
        u64::try_from(rate).unwrap_or(u64::MAX).max(1)
    }
}

/// The peak segment bit rate: the largest of any run of segments that lasts between a half and one
/// and a half target durations (RFC 8216 4.1).
fn peak(list: &SegmentList, target_s: u32) -> u64 {
    let target = u128::from(target_s) * 1_000_000_000;
    let mut peak = 0;
    for from in 0..list.kept().len() {
        let mut run = Rate::default();
        for kept in list.kept().skip(from) {
            run = run.and(kept);
            if run.nanos > target * 3 / 2 {
                break;
            }
            if run.nanos >= target / 2 {
                peak = peak.max(run.per_second());
            }
        }
    }
    peak
}

/// What was measured over the newest period, or what the bitstream says where both agree: it is
/// exact, but some encoders tell fields or nonsense.
fn frame_rate(list: &SegmentList, program: &Program) -> Option<u32> {
    let newest = list.kept().last()?.segment;
    let of_period = list.kept().filter(|kept| kept.segment.period == newest.period);
    let (pictures, nanos) = of_period.fold((0_u128, 0_u128), |(pictures, nanos), kept| {
        let lasts = kept.segment.duration.as_nanos().max(1).unsigned_abs();
        (pictures + u128::from(kept.segment.pictures), nanos + u128::from(lasts))
    });
    let measured = u32::try_from(pictures * 1_000_000_000_000 / nanos.max(1)).ok()?;
    let told = program.fps_milli.filter(|&told| told.abs_diff(measured) <= measured / 50);
    told.or(Some(measured)).filter(|&fps| fps > 0)
}
