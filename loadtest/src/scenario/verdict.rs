//! What an audience may expect: the criteria by which a step holds or breaks.

use crate::measurement::{Measurement, PartMeasurement};
use crate::player::{Pace, Part};
use crate::stats::Percentiles;
use crate::stream_url::Scheme;

/// A generator that is late by this share of what players may be late may be what was measured.
const OWN_SHARE: f64 = 0.5;
/// What players may be late if nobody says: a tenth of what a stall is.
const LATE_MS_MAX: f64 = 200.0;

/// Who was lost, in words; nothing if everybody played to the end. Slow players are not judged.
pub(super) fn losses(of: &Measurement, cast: &[Part]) -> Vec<String> {
    let mut found = Vec::new();
    let lost: u64 = judged(of, cast).map(|(part, _)| part.lost_players).sum();
    if lost > 0 {
        let reason = of.first_loss.as_deref().unwrap_or("for no known reason");
        let refused =
            if of.refused > 0 { format!(", {} refused", of.refused) } else { String::new() };
        found.push(format!("{lost} players were lost{refused}; the first: {reason}"));
    }
    let late = of.players.saturating_sub(of.held) as u64;
    let gone = of.refused + of.failed + of.closed;
    if late > gone {
        found.push(format!("{} players got no frame in time", late - gone));
    }
    found
}

/// What broke, in words; nothing if the step held. Slow players are not judged.
pub(super) fn breaches(of: &Measurement, cast: &[Part], p99_max_ns: Option<u64>) -> Vec<String> {
    let mut found = losses(of, cast);
    let stalls: u64 = judged(of, cast).map(|(part, _)| part.stalls).sum();
    if stalls > 0 {
        found.push(format!("players stalled {stalls} times"));
    }
    if of.packets_lost > 0 {
        let all = of.packets + of.packets_lost;
        found.push(format!("srt: {} packets were lost of {all}", of.packets_lost));
    }
    for (part, of_cast) in judged(of, cast) {
        found.extend(faults(part, of.first_transport_fault.as_deref()));
        if let Some(limit_ns) = p99_max_ns {
            found.extend(lateness(part, of_cast.url.scheme, limit_ns));
        }
    }
    found
}

/// True if no lateness of this generator can be why it broke: the server refused somebody, or what
/// came is not what was published.
pub(super) const fn is_servers(of: &Measurement) -> bool {
    let strange = of.corrupt + of.unstamped + of.duplicated + of.reordered + of.timestamps_back;
    of.refused + strange > 0
}

/// How late this generator was itself, in words, if that is near what players may be late: `what`
/// is what it did too late.
pub(super) fn own_lateness(
    what: &str,
    late: Option<Percentiles>,
    p99_max_ms: Option<f64>,
) -> Option<String> {
    let (late_ms, limit_ms) = (late?.p99_ms, p99_max_ms.unwrap_or(LATE_MS_MAX));
    (late_ms >= OWN_SHARE * limit_ms).then(|| {
        format!(
            "this generator was late itself, {what} by p99 {late_ms:.1} ms where players may be by \
             {limit_ms} ms: give it more CPU (--threads, --cpu) or a host of its own"
        )
    })
}

/// What is wrong with what came, in words.
fn faults(of: &PartMeasurement, first_transport_fault: Option<&str>) -> Vec<String> {
    let first =
        first_transport_fault.map_or(String::new(), |fault| format!(", the first: {fault}"));
    let kinds = [
        (of.lost, format!("frames were lost of {}", of.frames)),
        (of.corrupt, "frames are not what was published".to_owned()),
        (of.duplicated, "frames came once more".to_owned()),
        (of.reordered, "frames came after a later one".to_owned()),
        (of.timestamps_back, "times went back".to_owned()),
        (of.undecodable_starts, "streams began without configuration and keyframe".to_owned()),
        (of.missed_segments, "segments were gone before a player had them".to_owned()),
        (of.transport_faults, format!("faults by TR 101 290{first}")),
    ];
    let found = kinds.into_iter().filter(|(count, _)| *count > 0);
    found.map(|(count, what)| format!("{}: {count} {what}", of.name)).collect()
}

/// Whether latency is too high, or cannot be judged although somebody looked; in words.
fn lateness(of: &PartMeasurement, scheme: Scheme, limit_ns: u64) -> Option<String> {
    let PartMeasurement { name, sampled, frames, latency, .. } = of;
    let is_live = scheme != Scheme::Hls;
    match latency {
        // Of segments there may be none in a short window.
        None if *frames > 0 || (is_live && *sampled > 0) => {
            Some(format!("{name}: no stamped frame was seen: latency and loss are unknown"))
        }
        // Players of segments are seconds behind by design.
        Some(latency) if is_live && latency.p99_ms > limit_ns as f64 / 1e6 => {
            let (p99_ms, limit_ms) = (latency.p99_ms, limit_ns as f64 / 1e6);
            Some(format!("{name}: p99 latency {p99_ms:.1} ms is above {limit_ms} ms"))
        }
        _ => None,
    }
}

fn judged<'a>(
    of: &'a Measurement,
    cast: &'a [Part],
) -> impl Iterator<Item = (&'a PartMeasurement, &'a Part)> {
    of.parts.iter().zip(cast).filter(|(_, part)| part.pace == Pace::Live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measurement::summarise;
    use crate::player::Tally;
    use crate::run::Passage;
    use crate::srt::Arrivals;
    use crate::stream_url::StreamUrl;

    const MS: u64 = 1_000_000;

    /// What is said of a step whose only part, one sampled player of `url`, counted that.
    fn said(url: &str, pace: Pace, limit_ns: Option<u64>, tally: Tally) -> Vec<String> {
        let url = StreamUrl::parse(url).unwrap();
        let cast = [Part { name: "x".to_owned(), url, share: 1.0, pace }];
        let (playing, sampled) = (vec![1], vec![1]);
        let window = Passage { tallies: vec![tally], playing, sampled, ..Passage::default() };
        let mut of = summarise(&Passage::default(), &window, &cast);
        of.players = 1;
        breaches(&of, &cast, limit_ns)
    }

    fn seen(frames: u64) -> Tally {
        let mut tally = Tally::default();
        tally.sampled.frames = frames;
        (0..frames).for_each(|_| tally.sampled.latency.record(5 * MS));
        tally
    }

    const RTMP: &str = "rtmp://h/live/a";
    const HLS: &str = "http://h/a/index.m3u8";
    const SRT: &str = "srt://h?streamid=a";

    type Fault = fn(&mut Tally);

    #[test]
    fn whatever_is_counted_is_judged() {
        let kinds: [(Fault, &str); 9] = [
            (|of| of.sampled.missing = 3, "x: 3 frames were lost of 9"),
            (|of| of.sampled.corrupt = 3, "x: 3 frames are not what was published"),
            (|of| of.sampled.duplicated = 3, "x: 3 frames came once more"),
            (|of| of.sampled.reordered = 3, "x: 3 frames came after a later one"),
            (|of| of.sampled.timestamps_back = 3, "x: 3 times went back"),
            (
                |of| of.starts.undecodable_starts = 3,
                "x: 3 streams began without configuration and keyframe",
            ),
            (|of| of.missed_segments = 3, "x: 3 segments were gone before a player had them"),
            (
                |of| {
                    of.transport_faults = 3;
                    of.first_transport_fault = Some("1.4".to_owned());
                },
                "x: 3 faults by TR 101 290, the first: 1.4",
            ),
            (|of| of.stalls = 3, "players stalled 3 times"),
        ];
        for (fault, wanted) in kinds {
            let mut tally = seen(9);
            fault(&mut tally);
            assert_eq!(said(RTMP, Pace::Live, Some(10 * MS), tally.clone()), [wanted]);
            let slow = Pace::Slow { bytes_per_s: 9 };
            assert_eq!(said(RTMP, slow, Some(10 * MS), tally), [""; 0], "slow ones are not");
        }
        assert_eq!(said(RTMP, Pace::Live, Some(10 * MS), seen(9)), [""; 0]);
    }

    fn late(ms: u64) -> Option<Percentiles> {
        let mut late = crate::stats::Histogram::default();
        (0..100).for_each(|_| late.record(ms * MS));
        late.percentiles()
    }

    #[test]
    fn a_generator_that_is_as_late_as_players_may_be_says_so() {
        for (late_ms, p99_max_ms, is_told) in [
            (340, Some(200.0), true),
            (340, None, true),
            (110, Some(200.0), true),
            (80, Some(200.0), false),
            (110, Some(1_000.0), false),
            (0, Some(200.0), false),
        ] {
            let told = own_lateness("sweeps", late(late_ms), p99_max_ms);
            assert_eq!(told.is_some(), is_told, "{late_ms} {p99_max_ms:?}: {told:?}");
        }
        assert_eq!(own_lateness("sweeps", None, Some(200.0)), None, "nobody was swept");
        let told = own_lateness("sweeps", late(340), Some(200.0)).unwrap();
        assert!(told.starts_with("this generator was late itself, sweeps by p99 "), "{told}");
        assert!(told.contains("where players may be by 200 ms: give it more CPU"), "{told}");
    }

    #[test]
    fn what_no_lateness_explains_is_the_servers() {
        type Happening = fn(&mut Measurement);
        let kinds: [(Happening, bool); 9] = [
            (|of| of.refused = 1, true),
            (|of| of.corrupt = 1, true),
            (|of| of.unstamped = 1, true),
            (|of| of.duplicated = 1, true),
            (|of| of.reordered = 1, true),
            (|of| of.timestamps_back = 1, true),
            (|of| of.stalls = 1, false),
            (|of| of.lost = 1, false),
            (|of| of.closed = 1, false),
        ];
        for (at, (happen, wanted)) in kinds.into_iter().enumerate() {
            let mut of = summarise(&Passage::default(), &Passage::default(), &[]);
            happen(&mut of);
            assert_eq!(is_servers(&of), wanted, "{at}");
        }
    }

    #[test]
    fn packets_that_never_came_are_judged() {
        let mut tally = seen(9);
        tally.packets = Arrivals { packets: 9, recovered: 4, lost: 0, useless: 5 };
        assert_eq!(said(SRT, Pace::Live, Some(10 * MS), tally.clone()), [""; 0]);
        tally.packets.lost = 3;
        let told = said(SRT, Pace::Live, Some(10 * MS), tally);
        assert_eq!(told, ["srt: 3 packets were lost of 12"]);
    }

    #[test]
    fn what_nobody_could_read_does_not_hold() {
        let unknown = ["x: no stamped frame was seen: latency and loss are unknown"];
        let mut strange = Tally::default();
        (strange.sampled.frames, strange.sampled.unstamped) = (9, 9);
        for (url, limit_ns, tally, wanted) in [
            (RTMP, Some(MS), strange.clone(), &unknown[..]),
            (HLS, Some(MS), strange.clone(), &unknown),
            (RTMP, Some(MS), Tally::default(), &unknown),
            (HLS, Some(MS), Tally::default(), &[]),
            // Nobody asked for a limit.
            (RTMP, None, strange, &[]),
            (RTMP, Some(MS), seen(9), &["x: p99 latency "]),
            (HLS, Some(MS), seen(9), &[]),
        ] {
            let told = said(url, Pace::Live, limit_ns, tally);
            assert_eq!(told.len(), wanted.len(), "{told:?}");
            let alike = told.iter().zip(wanted).all(|(told, wanted)| told.starts_with(wanted));
            assert!(alike, "{told:?}, not {wanted:?}");
        }
    }
}
