//! What a transport stream says that it has, read or not.
//!
//! Limits: those of `codecs::mpegts::demux`, 64 programs and 64 streams of the one that is read.

use codecs::mpegts::demux::programs::Program;
use codecs::mpegts::demux::{Carriage, Demuxer};
use codecs::mpegts::relay::RelayProgram;

use crate::slab::AuBytes;

/// The program of a publisher, and what else its stream has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransportProgram {
    /// `program_number` of the one that is read; none if none can be.
    pub number: Option<u16>,
    /// Those of all programs.
    pub programs: Vec<u16>,
    /// The streams of the one that is read, or of all if none is.
    pub streams: Vec<TransportStream>,
    /// It as it is sent on to players; none if it is not.
    pub relay: Option<RelayProgram>,
}

/// A stream of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportStream {
    /// Where its packets are.
    pub pid: u16,
    /// `stream_type`.
    pub stream_type: u8,
    /// What it holds; `None` for what is not known.
    pub carriage: Option<Carriage>,
    /// ISO 639-2, if the map tells.
    pub language: Option<[u8; 3]>,
    /// It is among those that were chosen.
    pub is_chosen: bool,
}

/// Tells what is new.
#[derive(Debug)]
pub(super) struct Listing {
    /// The PIDs that were chosen; all of them if empty.
    pids: Vec<u16>,
    told: Option<TransportProgram>,
}

impl Listing {
    pub(super) fn new(pids: &[u16]) -> Self {
        // CONTROL: what was chosen, once per publication.
        Self { pids: pids.to_vec(), told: None }
    }

    /// The program, if it is another one than was told.
    pub(super) fn look_at(
        &mut self,
        demuxer: &Demuxer<AuBytes>,
        relays: bool,
    ) -> Option<TransportProgram> {
        let (program, all) = (demuxer.program(), demuxer.programs());
        let listed: &[Program] = program.map_or(all, std::slice::from_ref);
        let streams = listed.iter().flat_map(|program| &program.streams);
        let found = TransportProgram {
            number: program.map(|program| program.number),
            programs: all.iter().map(|program| program.number).collect(),
            streams: streams
                .take(codecs::mpegts::demux::programs::STREAMS_MAX)
                .map(|stream| TransportStream {
                    pid: stream.pid.get(),
                    stream_type: stream.stream_type,
                    carriage: stream.carriage,
                    language: stream.language,
                    is_chosen: self.pids.is_empty() || self.pids.contains(&stream.pid.get()),
                })
                .collect(),
            relay: program.filter(|_| relays).and_then(|program| {
                let transport_stream = demuxer.transport_stream();
                RelayProgram::of(program, &self.pids, transport_stream, all.len() == 1)
            }),
        };
        let is_news = self.told.as_ref() != Some(&found);
        is_news.then(|| self.told.insert(found).clone())
    }

    /// Bytes beside its record.
    pub(super) fn buffer_bytes(&self) -> usize {
        let told = self.told.as_ref().map_or(0, TransportProgram::buffer_bytes);
        self.pids.capacity() * size_of::<u16>() + told
    }
}

impl TransportProgram {
    /// Bytes beside its record.
    #[must_use]
    pub fn buffer_bytes(&self) -> usize {
        let lists = self.programs.capacity() * size_of::<u16>()
            + self.streams.capacity() * size_of::<TransportStream>();
        lists + self.relay.as_ref().map_or(0, RelayProgram::buffer_bytes)
    }
}
