//! MPEG transport streams: the writing side here, the reading side in [`demux`].
//!
//! Spec: ITU-T H.222.0 (ISO/IEC 13818-1); ATSC A/52 Annexes A and G (AC-3, E-AC-3); "OpusTS" of
//! Xiph (Opus); ETSI TR 101 290 for what receivers check.
//!
//! Reading order: [`packet`], [`psi`], [`pes`], then [`es`] and [`annex_b`] for what is in a
//! stream, [`clock`] for its time, [`mux`] for all of it together; [`relay`] for packets that are
//! sent on as they came.
//!
//! In/Out: heads of packets are written, the payload between them is the caller's to chain; nothing
//! here sees more of it than the first byte of each NAL unit.
//!
//! Not here: judging a stream (the load generator's checker shares no line with either side).

pub mod annex_b;
pub mod clock;
pub mod demux;
pub mod es;
pub mod mux;
pub mod packet;
pub mod pes;
pub mod psi;
pub mod relay;

pub use es::{ElementaryStream, Framing};
pub use mux::{Muxer, PacketHead, Unit};
pub use packet::{Continuity, PACKET_LEN, Pid, Splice};
