//! SRT with every peer over every line: what is sent arrives bit-identical. Here are as many cells
//! as try every pair; `make matrix` (`whole.rs`) tries all of them, beside libsrt in our place.
//!
//! Shape: `cell.rs` is what is tried, `trial.rs` tries it: a source and a sink (`end.rs`), which
//! are a foreign program (`program.rs`) or our own connection (`ours.rs`), with the relay of
//! `grandstand-load impair` between them (`line.rs`). `content.rs` tells what became of the bytes,
//! `subset.rs` asks that they arrived, `table.rs` writes them down.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "the whole table is made of it, too")]
mod cell;
mod content;
mod end;
mod line;
mod ours;
mod program;
mod subset;
#[allow(dead_code, reason = "the whole table is written by it")]
mod table;
#[allow(dead_code, reason = "the whole table is made of it, too")]
mod trial;

use cell::Cell;
use cell::{Key::*, Line::*, Peer::*, Role::*};

/// Each is a test of its own, so that some run at once.
macro_rules! cells {
    ($($name:ident: $peer:ident $role:ident $key:ident $line:ident $mbps:literal;)*) => {
        const SUBSET: &[Cell] = &[$(Cell::with_us($peer, $role, $key, $line, $mbps)),*];

        $(
            #[test]
            fn $name() {
                subset::assert_whole(Cell::with_us($peer, $role, $key, $line, $mbps));
            }
        )*
    };
}

cells! {
    libsrt_publishes: Libsrt Publish Plain Fine 2;
    libsrt_publishes_over_loss: Libsrt Publish Aes256 Loss 20;
    libsrt_plays_over_bursts: Libsrt Play Aes128 Bursts 60;
    libsrt_plays_over_reorder: Libsrt Play Aes256 Reorder 2;
    libsrt_plays_over_copies: Libsrt Play Aes128 Duplicate 20;
    ffmpeg_publishes_over_loss: Ffmpeg Publish Aes256 Loss 20;
    ffmpeg_publishes_over_bursts: Ffmpeg Publish Plain Bursts 2;
    ffmpeg_publishes_over_copies: Ffmpeg Publish Plain Duplicate 2;
    ffmpeg_plays: Ffmpeg Play Aes128 Fine 20;
    ffmpeg_plays_over_reorder: Ffmpeg Play Aes128 Reorder 60;
    newer_publishes_over_reorder: Newer Publish Aes128 Reorder 20;
    newer_publishes_over_copies: Newer Publish Aes256 Duplicate 2;
    newer_plays: Newer Play Plain Fine 2;
    newer_plays_over_loss: Newer Play Plain Loss 60;
    newer_plays_over_bursts: Newer Play Aes256 Bursts 2;
    gstreamer_publishes: Gstreamer Publish Aes128 Fine 20;
    gstreamer_publishes_over_loss: Gstreamer Publish Aes256 Loss 20;
    gstreamer_publishes_over_bursts: Gstreamer Publish Aes128 Bursts 2;
    gstreamer_plays_over_reorder: Gstreamer Play Aes128 Reorder 20;
    gstreamer_plays_over_copies: Gstreamer Play Plain Duplicate 60;
    we_publish: Ours Publish Aes256 Fine 60;
    we_publish_over_reorder: Ours Publish Plain Reorder 20;
    we_publish_over_copies: Ours Publish Aes256 Duplicate 20;
    we_play_over_loss: Ours Play Aes128 Loss 2;
    we_play_over_bursts: Ours Play Plain Bursts 20;
}

#[test]
fn the_cells_above_try_every_pair() {
    assert!(SUBSET.len() <= 30);
    let peers = [Libsrt, Ffmpeg, Newer, Gstreamer, Ours];
    let missing = subset::pairs_missing(SUBSET, &peers);
    assert!(missing.is_empty(), "{missing:#?}");
}
