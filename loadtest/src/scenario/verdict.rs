//! What an audience may expect: the criteria by which a step holds or breaks.

use crate::measurement::{Measurement, PartMeasurement};
use crate::player::{Pace, Part};
use crate::stream_url::Scheme;

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
    for (part, of_cast) in judged(of, cast) {
        let name = &part.name;
        if part.lost > 0 {
            found.push(format!("{name}: {} frames were lost of {}", part.lost, part.frames));
        }
        if part.corrupt > 0 {
            found.push(format!("{name}: {} frames are not what was published", part.corrupt));
        }
        // Players of segments are seconds behind by design.
        let limit_ms = p99_max_ns.filter(|_| of_cast.url.scheme != Scheme::Hls);
        if let Some((limit_ns, latency)) = limit_ms.zip(part.latency)
            && latency.p99_ms > limit_ns as f64 / 1e6
        {
            let limit_ms = limit_ns as f64 / 1e6;
            let p99_ms = latency.p99_ms;
            found.push(format!("{name}: p99 latency {p99_ms:.1} ms is above {limit_ms} ms"));
        }
    }
    found
}

fn judged<'a>(
    of: &'a Measurement,
    cast: &'a [Part],
) -> impl Iterator<Item = (&'a PartMeasurement, &'a Part)> {
    of.parts.iter().zip(cast).filter(|(_, part)| part.pace == Pace::Live)
}
