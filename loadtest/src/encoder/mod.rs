//! An encoder that costs next to nothing: pictures that every H.264 decoder decodes without a
//! complaint, and AAC that sounds, both of the size that is asked for.
//!
//! The picture is drawn in tiles of one macroblock, each of one colour: bars, the number of the
//! frame in digits, and a mark that moves. What a tile costs is a few bits, because its colour is
//! predicted exactly from the tile above it. The bytes that a bit rate wants beyond that are
//! macroblocks of noise at the bottom, and filler data where there is no more room.
//!
//! Not here: pacing and stamps ([`crate::source`]), motion and prediction from anything but the
//! tile's neighbours.

mod bit_writer;
mod canvas;
mod macroblock;
mod noise;
mod parameter_sets;
mod picture;
mod sound;

pub use parameter_sets::{PICTURE_SIDE_MAX, PictureSize};
pub use picture::{PictureEncoder, VideoFormat};
pub use sound::{AUDIO_CONFIG, SAMPLE_RATE, SAMPLES_PER_FRAME, SoundEncoder};
