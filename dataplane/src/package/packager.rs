//! The framing of one log: what an access unit, a configuration or metadata looks like in it.

use codecs::media::{Codec, DecoderConfig, TrackKind};
use codecs::mpegts::Framing;
use codecs::time::MediaTime;

use super::{body, flv, mpegts, rtmp};
use crate::error::Error;
use crate::log::{Entry, EntryKind, EntryMeta, LogWriter, Preamble, PreambleItem, PreambleKind};
use crate::session::{AccessUnit, Dialect, Format, LogKey};
use crate::slab::Pool;

/// One message or tag: a short head of our own and, for media, payload in slab pages.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The kind of message.
    pub kind: TrackKind,
    /// When.
    pub dts: MediaTime,
    /// The head, or the whole body of a message without payload.
    pub head: &'a [u8],
    /// The unit whose payload follows the head.
    pub unit: Option<&'a AccessUnit>,
}

impl Piece<'_> {
    /// Bytes of head and payload.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.head.len() + self.unit.map_or(0, |unit| unit.payload.len())
    }

    /// Head and payload, in order.
    pub fn parts<'a>(&'a self, pool: &'a Pool) -> impl Iterator<Item = &'a [u8]> {
        let payload = self.unit.map(|unit| pool.chunks(&unit.payload));
        std::iter::once(self.head).chain(payload.into_iter().flatten())
    }
}

/// Frames one log. Lives on: the home shard; a copy joins players on every shard.
#[derive(Clone, Copy, Debug)]
pub struct Packager {
    key: LogKey,
    chunk_bytes: u32,
}

impl Packager {
    /// The framing of `key`, with RTMP chunks of `chunk_bytes`.
    #[must_use]
    pub const fn new(key: LogKey, chunk_bytes: u32) -> Self {
        Self { key, chunk_bytes }
    }

    /// The framing of `key`, with chunks as large as these.
    #[must_use]
    pub const fn of(self, key: LogKey) -> Self {
        Self { key, ..self }
    }

    /// True if `format` has a place for a track of `codec`.
    #[must_use]
    pub fn carries(format: Format, codec: Codec, config: Option<&DecoderConfig>) -> bool {
        format != Format::MpegTs || Framing::of(codec, config).is_ok()
    }

    /// The format and dialect.
    #[must_use]
    pub const fn key(&self) -> LogKey {
        self.key
    }

    /// Appends one access unit.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; the log is as it was then.
    pub fn unit(
        &self,
        log: &mut LogWriter,
        pool: &Pool,
        unit: &AccessUnit,
        meta: EntryMeta,
    ) -> Result<(), Error> {
        let mut head = [0; body::HEAD_LEN_MAX];
        let len = body::unit_head(unit, self.legacy_ids(), &mut head);
        let kind = unit.codec.kind();
        let piece = Piece { kind, dts: unit.dts, head: &head[..len], unit: Some(unit) };
        self.append(log, pool, &piece, meta)
    }

    /// Appends a message without payload in slab pages: a configuration, metadata, a data message.
    ///
    /// # Errors
    /// [`Error::Exhausted`]; the log is as it was then.
    pub fn message(
        &self,
        log: &mut LogWriter,
        pool: &Pool,
        item: &PreambleItem,
        meta: EntryMeta,
    ) -> Result<(), Error> {
        let is_config = meta.kind == EntryKind::Config;
        let dts = if is_config { told_at(item.kind, meta.dts) } else { meta.dts };
        let piece = Piece { kind: kind_of(item.kind), dts, head: &item.body, unit: None };
        self.append(log, pool, &piece, meta)
    }

    /// True if configurations and data are messages of their own; packets carry theirs inside.
    #[must_use]
    pub const fn has_messages(&self) -> bool {
        !matches!(self.key.format, Format::MpegTs)
    }

    /// The sequence header of a track, as a body of this dialect; `None` if its codec has none.
    #[must_use]
    pub fn sequence_header(&self, config: &DecoderConfig) -> Option<PreambleItem> {
        let kind = match config.codec.kind() {
            TrackKind::Video => PreambleKind::Video,
            TrackKind::Audio => PreambleKind::Audio,
            TrackKind::Data => return None,
        };
        body::sequence_header(config, self.legacy_ids()).map(|body| PreambleItem { kind, body })
    }

    /// What a track says beside its configuration, as a body of this dialect; `None` if the dialect
    /// does not know it.
    #[must_use]
    pub fn detail(&self, codec: Codec, detail: &[u8]) -> Option<PreambleItem> {
        let kind = match codec.kind() {
            TrackKind::Video => PreambleKind::Video,
            TrackKind::Audio => PreambleKind::Audio,
            TrackKind::Data => return None,
        };
        body::detail(codec, detail, self.legacy_ids()).map(|body| PreambleItem { kind, body })
    }

    /// Appends what a player needs before it can join at `dts`: the container's own header if it is
    /// the connection's first, then metadata and sequence headers.
    pub fn greet(&self, preamble: &Preamble, dts: MediaTime, first: bool, out: &mut Vec<u8>) {
        if first && self.key.format == Format::Flv {
            flv::write_file_header(preamble, out);
        }
        for item in &preamble.items {
            let dts = told_at(item.kind, dts);
            let piece = Piece { kind: kind_of(item.kind), dts, head: &item.body, unit: None };
            match self.key.format {
                Format::Rtmp => rtmp::write(&piece, self.chunk_bytes, out),
                Format::Flv => flv::write(&piece, out),
                Format::MpegTs => {}
            }
        }
    }

    /// Appends what a player needs that begins at `entry`, or goes on there after a gap: it did not
    /// read what is before it.
    pub fn splice(&self, entry: &Entry, preamble: &Preamble, after_gap: bool, out: &mut Vec<u8>) {
        if let Some(relayed) = &preamble.relayed {
            mpegts::write_entrance(&relayed.entrance(entry, after_gap), out);
        } else if self.key.format == Format::MpegTs && after_gap {
            mpegts::write_splice(entry.continuity, out);
        }
    }

    const fn legacy_ids(&self) -> bool {
        matches!(self.key.dialect, Dialect::LegacyIds)
    }

    fn append(
        &self,
        log: &mut LogWriter,
        pool: &Pool,
        piece: &Piece<'_>,
        meta: EntryMeta,
    ) -> Result<(), Error> {
        log.begin();
        let framed = match self.key.format {
            Format::Rtmp => rtmp::append(piece, self.chunk_bytes, log, pool),
            Format::Flv => flv::append(piece, log, pool),
            Format::MpegTs => unreachable!("packets are counted, see PacketPackager"),
        };
        let done = framed.and_then(|()| log.end(pool, meta));
        done.map_err(|exhausted| {
            log.abandon(pool);
            Error::from(exhausted)
        })
    }
}

const fn kind_of(kind: PreambleKind) -> TrackKind {
    match kind {
        PreambleKind::Metadata => TrackKind::Data,
        PreambleKind::Video => TrackKind::Video,
        PreambleKind::Audio => TrackKind::Audio,
    }
}

/// The time that what a stream says of itself bears at `dts`. Metadata is of no time: players that
/// see it at another one than 0 take it for text and record it as a track, which never ends.
const fn told_at(kind: PreambleKind, dts: MediaTime) -> MediaTime {
    match kind {
        PreambleKind::Metadata => MediaTime::ZERO,
        PreambleKind::Video | PreambleKind::Audio => dts,
    }
}

impl From<TrackKind> for EntryKind {
    fn from(kind: TrackKind) -> Self {
        match kind {
            TrackKind::Video => Self::Video,
            TrackKind::Audio => Self::Audio,
            TrackKind::Data => Self::Data,
        }
    }
}
