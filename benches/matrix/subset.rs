//! The cells of every run of the tests: each pair is among them, and everything arrives.

use std::time::Instant;

use codecs::srt::{PayloadCipher, SeqNumber, StreamKey};

use crate::cell::{Cell, Key, Peer, ROLES, conditions};
use crate::content::{Outcome, PACKET};
use crate::trial;

/// What encrypting may take of a core; a build that is not optimised takes hundreds of times as
/// much as another.
const ENCRYPTING_MAX: f64 = 0.1;

/// Fails the test unless everything arrives; at a lower rate where this build cannot encrypt so
/// much.
pub(crate) fn assert_whole(mut cell: Cell) {
    while cell.key != Key::Plain && cell.mbps > 2 && encrypting(cell.mbps) > ENCRYPTING_MAX {
        cell.mbps = (cell.mbps / 3).max(2);
        println!("this build encrypts too slowly: {} Mb/s", cell.mbps);
    }
    assert_eq!(trial::run(cell).outcome, Outcome::Whole, "{cell:?}");
}

/// The part of a core that encrypting such a stream takes.
fn encrypting(mbps: u32) -> f64 {
    const PACKETS: u32 = 32;
    let key = StreamKey::new(&[1; 32]).unwrap();
    let cipher = PayloadCipher::new(&key, &[2; 16]);
    let mut packet = [3; PACKET];
    let began = Instant::now();
    (0..PACKETS).for_each(|number| cipher.apply(SeqNumber::new(number), &mut packet));
    let bits = f64::from(PACKETS) * PACKET as f64 * 8.0;
    began.elapsed().as_secs_f64() * f64::from(mbps) * 1e6 / bits
}

/// Pairs of values that no cell has, in words.
pub(crate) fn pairs_missing(cells: &[Cell], peers: &[Peer]) -> Vec<String> {
    let has = |cell: &Cell| {
        [
            format!("{:?}", cell.caller),
            format!("{:?}", cell.role),
            format!("{:?}", cell.key),
            format!("{:?}", cell.line),
            format!("{} Mb/s", cell.mbps),
        ]
    };
    let of = |peer| {
        ROLES.into_iter().flat_map(move |role| {
            conditions().map(move |(key, line, mbps)| Cell::with_us(peer, role, key, line, mbps))
        })
    };
    let mut missing = Vec::new();
    for wanted in peers.iter().flat_map(|&peer| of(peer)).map(|cell| has(&cell)) {
        for (a, b) in (0..5).flat_map(|a| (a + 1..5).map(move |b| (a, b))) {
            let is_tried = |cell: &Cell| {
                let tried = has(cell);
                tried[a] == wanted[a] && tried[b] == wanted[b]
            };
            let pair = format!("{} with {}", wanted[a], wanted[b]);
            if !cells.iter().any(is_tried) && !missing.contains(&pair) {
                missing.push(pair);
            }
        }
    }
    missing
}
