//! MPEG transport streams, the reading side.
//!
//! Spec: ITU-T H.222.0 (ISO/IEC 13818-1).
//!
//! Reading order: [`framer`] (bytes to packets), [`packet`], `continuity`; `section`, `tables` and
//! [`programs`] (which streams there are), [`carriage`] (what they hold); [`pes_head`] and
//! [`reference_clock`] (when); `video` (with `picture_times`), `frames`, `opus_packets`,
//! `data_packets` (units); `track_reader`, `dispatcher` and [`demuxer`] (all together);
//! [`packet_index`] (with `packet_clock`) for whoever sends the packets on as they are.
//!
//! In/Out: payloads go into a [`UnitStore`] of the caller, once; only the frames of LATM are copied
//! twice, for they begin between two bytes.
//!
//! Errors: none. What is wrong with a packet costs the unit that it is in, is counted in
//! [`Counters`], and never ends the stream.

pub mod carriage;
mod continuity;
mod data_packets;
pub mod demuxer;
mod dispatcher;
pub mod event;
mod frame_head;
mod frame_times;
pub mod framer;
mod frames;
mod latm;
mod nal_kind;
mod nal_splitter;
mod opus_packets;
pub mod packet;
mod packet_clock;
pub mod packet_index;
pub mod parameter_sets;
pub mod pes_head;
mod picture_times;
pub mod pid_table;
pub mod programs;
pub mod reference_clock;
mod section;
pub mod settings;
mod sink;
pub mod store;
mod tables;
mod track_reader;
mod video;

pub use carriage::{Carriage, DataFormat};
pub use demuxer::Demuxer;
pub use event::{Counters, DataUnit, Event, MediaUnit, Track};
pub use framer::{Framer, RawPacket};
pub use packet_index::{PacketGroup, PacketIndex};
pub use reference_clock::ClockJump;
pub use settings::{DamagedUnits, Settings, TRACKS_MAX};
pub use store::{MemoryStore, NoRoom, TrackSlot, UnitStore};
