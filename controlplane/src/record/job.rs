//! Job: one recording, on a thread of its own.
//!
//! ```text
//!   HTTP-FLV --buffer--> tags --> file, file, file
//!                                  cut before a keyframe
//! ```
//!
//! A file is begun by the first frame, and is whole up to its last tag at every moment.
//! Limits: [`CONFIGURATIONS_MAX`] tags that decoders need, of [`CONFIGURATION_BYTES_MAX`] together.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use codecs::flv::tag::{PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN};
use codecs::flv::{TagHeader, TagKind};
use dataplane::ids::{Secret, StreamName};

use super::file_id::FileId;
use super::flv_file::FlvFile;
use super::report::Word;
use super::room::Refused;
use super::shelf::{Begun, Shelf};
use super::source::{self, Switch};
use super::tags::{Meaning, Tags};

/// Tags that decoders need at most: more tracks are written where they come.
const CONFIGURATIONS_MAX: usize = 16;
/// Bytes of those, and of what the stream says of itself.
const CONFIGURATION_BYTES_MAX: usize = 32 << 10;
/// It is looked for room whenever so much was written.
const LOOK_BYTES: u64 = 1 << 20;

/// What is to be recorded, and from where.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) stream: StreamName,
    pub(super) addr: SocketAddr,
    pub(super) key: Secret,
    pub(super) switch: Switch,
    pub(super) shelf: Shelf,
}

/// Why a recording is over.
enum End {
    /// The stream is, or nobody wants it any more.
    Over(&'static str),
    /// It cannot go on.
    Failed(&'static str, String),
}

impl From<Refused> for End {
    fn from(refused: Refused) -> Self {
        Self::Failed(refused.word(), refused.message())
    }
}

/// The file in hand.
struct Current {
    id: FileId,
    path: PathBuf,
    flv: FlvFile,
    progress: Arc<AtomicU64>,
    began: Instant,
    /// Bytes at which it is looked for room.
    look_at: u64,
    /// It has a frame, and is told of.
    is_told: bool,
}

/// A tag that decoders need, of a track.
struct Configuration {
    kind: TagKind,
    track: u8,
    tag: Vec<u8>,
}

struct Recording<'j, T> {
    job: &'j Job,
    tell: T,
    written: Arc<AtomicU64>,
    current: Option<Current>,
    metadata: Vec<u8>,
    configurations: Vec<Configuration>,
}

impl Job {
    /// Records until the stream is over, or something fails, and tells what became of it.
    pub(super) fn run(&self, tell: impl Fn(Word)) {
        let mut recording = Recording {
            job: self,
            tell: &tell,
            written: self.shelf.written(),
            current: None,
            metadata: Vec::new(),
            configurations: Vec::new(),
        };
        let mut end = recording.run();
        if self.switch.is_off() {
            end = End::Over("stopped");
        }
        let reason = match &end {
            End::Over(reason) | End::Failed(reason, _) => *reason,
        };
        if let Err(refused) = recording.finish(reason)
            && matches!(end, End::Over(_))
        {
            end = refused.into();
        }
        if let End::Failed(reason, message) = end {
            self.shelf.failed();
            tell(Word::Failed { reason, message });
        }
        tell(Word::Over);
    }
}

impl<T: Fn(Word)> Recording<'_, T> {
    fn run(&mut self) -> End {
        let Job { addr, stream, key, switch, .. } = self.job;
        let mut socket = match source::open(*addr, stream, key, switch) {
            Ok(socket) => socket,
            Err(message) => return End::Failed("source", message),
        };
        let (mut tags, mut left) = (Tags::new(), 0);
        loop {
            match tags.fill(&mut socket) {
                Ok(true) => {}
                Ok(false) if left == 0 && tags.is_empty() => return End::Over("stream_ended"),
                Ok(false) | Err(_) => return End::Over("connection_lost"),
            }
            if let Err(end) = self.take(&mut tags, &mut left) {
                return end;
            }
        }
    }

    /// Writes what is there; `left` bytes of the tag in hand are to follow.
    fn take(&mut self, tags: &mut Tags, left: &mut usize) -> Result<(), End> {
        loop {
            if *left > 0 {
                let rest = tags.rest(*left);
                *left -= rest.len();
                if let Some(current) = &mut self.current {
                    current.flv.piece(rest, *left).map_err(Refused::from)?;
                    self.written.fetch_add(rest.len() as u64, Ordering::Relaxed);
                }
                if *left > 0 {
                    return Ok(());
                }
            }
            let piece = match tags.next() {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(()),
                Err(error) => return Err(End::Failed("source", error.to_string())),
            };
            *left = piece.left;
            let (header, meaning, is_whole) = (piece.header, piece.meaning, piece.left == 0);
            match meaning {
                Meaning::Metadata if is_whole && piece.bytes.len() <= CONFIGURATION_BYTES_MAX => {
                    let body = TAG_HEADER_LEN..piece.bytes.len() - PREVIOUS_TAG_SIZE_LEN;
                    self.metadata = piece.bytes[body].to_vec();
                    continue;
                }
                Meaning::Configuration(track) if is_whole => {
                    self.keep(header.kind, track, piece.bytes);
                }
                Meaning::Configuration(_) | Meaning::Metadata => {}
                Meaning::Keyframe | Meaning::Other => self.turn(&header, meaning)?,
            }
            let Some(current) = &mut self.current else { continue };
            current.flv.tag(&header, piece.bytes, piece.left).map_err(Refused::from)?;
            self.written.fetch_add(piece.bytes.len() as u64, Ordering::Relaxed);
            if !std::mem::replace(&mut current.is_told, true) {
                (self.tell)(Word::Began { id: current.id.clone(), path: current.path.clone() });
            }
            current.progress.store(current.flv.bytes(), Ordering::Relaxed);
            if current.flv.bytes() >= current.look_at {
                current.look_at = current.flv.bytes() + LOOK_BYTES;
                self.job.shelf.make_room(0)?;
            }
        }
    }

    /// Keeps what decoders need, for files that begin later.
    fn keep(&mut self, kind: TagKind, track: u8, tag: &[u8]) {
        self.configurations.retain(|known| (known.kind, known.track) != (kind, track));
        let bytes: usize = self.configurations.iter().map(|known| known.tag.len()).sum();
        let fits = bytes + tag.len() <= CONFIGURATION_BYTES_MAX;
        if fits && self.configurations.len() < CONFIGURATIONS_MAX {
            self.configurations.push(Configuration { kind, track, tag: tag.to_vec() });
        }
    }

    /// Begins a file before that frame, if none is in hand or the one in hand is long enough.
    fn turn(&mut self, header: &TagHeader, meaning: Meaning) -> Result<(), End> {
        let has_video = self.configurations.iter().any(|known| known.kind == TagKind::Video);
        let begins = match header.kind {
            TagKind::Video => meaning == Meaning::Keyframe,
            TagKind::Audio => !has_video,
            TagKind::Script => false,
        };
        if let Some(current) = &self.current {
            if !(begins && self.is_long(current)) {
                return Ok(());
            }
            self.finish("segment")?;
        } else if !begins {
            // What comes before the first keyframe cannot be shown.
            return Ok(());
        }
        let shelf = &self.job.shelf;
        let Begun { id, path, file, bytes: progress } =
            shelf.begin(&self.job.stream, SystemTime::now())?;
        let needed = self.configurations.iter().map(|known| known.tag.as_slice());
        let flv = match FlvFile::begin(file, &self.metadata, needed) {
            Ok(flv) => flv,
            Err(error) => {
                shelf.drop_file(&id);
                // The disk is full: nothing of it is to be had.
                let _ = shelf.remove_file(&path);
                return Err(Refused::from(error).into());
            }
        };
        let (began, look_at, is_told) = (Instant::now(), LOOK_BYTES, false);
        self.current = Some(Current { id, path, flv, progress, began, look_at, is_told });
        Ok(())
    }

    fn is_long(&self, current: &Current) -> bool {
        let terms = self.job.shelf.terms();
        let (bytes, since) = (current.flv.bytes(), current.began.elapsed());
        let played = u128::from(current.flv.duration_ms()).max(since.as_millis());
        (terms.file_bytes_max > 0 && bytes >= terms.file_bytes_max)
            || (!terms.segment.is_zero() && played >= terms.segment.as_millis())
    }

    /// Ends the file in hand.
    ///
    /// Errors: the disk refuses; the file is mended at the next start.
    fn finish(&mut self, reason: &'static str) -> Result<(), Refused> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let Current { id, path, flv, is_told, .. } = current;
        if !is_told {
            // The disk took no frame: there is nothing to be told of.
            self.job.shelf.drop_file(&id);
            return Ok(self.job.shelf.remove_file(&path)?);
        }
        match flv.finish() {
            Ok((bytes, duration_ms)) => {
                self.job.shelf.finish(&id, (bytes, duration_ms));
                (self.tell)(Word::Finished { id, path, bytes, duration_ms, reason });
                Ok(())
            }
            Err(error) => {
                self.job.shelf.drop_file(&id);
                Err(error.into())
            }
        }
    }
}
