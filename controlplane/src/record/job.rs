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
/// A stream without a picture for so long has sound alone: files begin and end with that.
const VIDEO_GONE_MS: u32 = 5_000;
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
    /// The time of the last picture, or of what its decoder needs.
    video_at: u32,
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
            video_at: 0,
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
            if header.kind == TagKind::Video {
                self.video_at = header.timestamp_ms;
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
        let has_video = self.configurations.iter().any(|known| known.kind == TagKind::Video)
            && !is_gone(self.video_at, header.timestamp_ms);
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
                // The disk is full: nothing of it is to be had.
                let _ = shelf.discard(&id, 0);
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
        current.flv.has_jumped()
            || (terms.file_bytes_max > 0 && bytes >= terms.file_bytes_max)
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
            return Ok(self.job.shelf.discard(&id, flv.bytes())?);
        }
        let written = (flv.bytes(), flv.duration_ms());
        match flv.finish() {
            Ok((bytes, duration_ms)) => {
                self.job.shelf.finish(&id, (bytes, duration_ms));
                (self.tell)(Word::Finished { id, path, bytes, duration_ms, reason });
                Ok(())
            }
            Err(error) => {
                self.job.shelf.keep(&id, written);
                Err(error.into())
            }
        }
    }
}

/// True if there was no picture from `video_at` to `now` though there should have been.
fn is_gone(video_at: u32, now: u32) -> bool {
    let since = now.wrapping_sub(video_at);
    // Times that went back say nothing.
    (VIDEO_GONE_MS..=i32::MAX as u32).contains(&since)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RecordingSection;
    use codecs::flv::FileHeader;
    use codecs::flv::tag::FILE_HEADER_LEN;
    use codecs::writer::Writer;
    use std::cell::RefCell;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use super::super::tags::tests::tag;

    const AVC: &[u8] = &[0x17, 0, 0, 0, 0, 1, b'a'];
    const OTHER_AVC: &[u8] = &[0x17, 0, 0, 0, 0, 1, b'b'];
    const AAC: &[u8] = &[0xaf, 0, 0x11, 0x90];
    const KEYFRAME: &[u8] = &[0x17, 1, 0, 0, 0, 9];
    const FRAME: &[u8] = &[0x27, 1, 0, 0, 0, 8];
    const SOUND: &[u8] = &[0xaf, 1, 7];

    /// What becomes of a stream of these tags, of times and bodies, with files of a minute: how
    /// long each plays, and its bytes.
    fn recorded(name: &str, tags: &[(TagKind, u32, &[u8])]) -> Vec<(u64, Vec<u8>)> {
        let dir =
            std::env::temp_dir().join(format!("grandstand-job-{name}-{}", std::process::id()));
        let (free_min, segment) = (0, Duration::from_secs(60));
        let terms = RecordingSection { free_min, segment, ..RecordingSection::default() };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let job = Job {
            stream: StreamName::parse("cam").unwrap(),
            addr: listener.local_addr().unwrap(),
            key: Secret::default(),
            switch: Switch::default(),
            shelf: Shelf::new(dir.clone(), terms),
        };
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        let head = answer.len();
        answer.resize(head + FILE_HEADER_LEN, 0);
        FileHeader { audio: true, video: true }.encode(&mut Writer::new(&mut answer[head..]));
        answer.extend(tags.iter().flat_map(|&(kind, at, body)| tag(kind, at, body)));
        let server = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                socket.read_exact(&mut byte).unwrap();
                asked.push(byte[0]);
            }
            socket.write_all(&answer).unwrap();
        });
        let files = RefCell::new(Vec::new());
        job.run(|word| match word {
            Word::Finished { path, bytes, duration_ms, .. } => {
                let text = std::fs::read(path).unwrap();
                assert_eq!(text.len() as u64, bytes, "it is whole when it is told of");
                files.borrow_mut().push((duration_ms, text));
            }
            Word::Failed { message, .. } => panic!("{message}"),
            Word::Began { .. } | Word::Over => {}
        });
        server.join().unwrap();
        std::fs::remove_dir_all(dir).unwrap();
        files.into_inner()
    }

    fn has(file: &[u8], part: &[u8]) -> bool {
        file.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn a_publisher_who_returns_without_pictures_begins_files_with_sound() {
        use TagKind::{Audio, Video};
        let files = recorded(
            "sound",
            &[
                (Video, 0, AVC),
                (Audio, 0, AAC),
                (Video, 0, KEYFRAME),
                (Audio, 30_000, SOUND),
                (Audio, 61_000, SOUND),
                (Audio, 62_000, SOUND),
            ],
        );
        let durations: Vec<_> = files.iter().map(|(duration_ms, _)| *duration_ms).collect();
        assert_eq!(durations, [61_000, 0]);
        assert!(has(&files[0].1, KEYFRAME) && !has(&files[1].1, KEYFRAME));
    }

    #[test]
    fn a_file_begins_with_what_its_own_pictures_need() {
        use TagKind::Video;
        let files = recorded(
            "codec",
            &[
                (Video, 0, AVC),
                (Video, 0, KEYFRAME),
                (Video, 61_000, FRAME),
                (Video, 61_040, OTHER_AVC),
                (Video, 61_040, KEYFRAME),
                (Video, 61_080, FRAME),
            ],
        );
        assert_eq!(files.len(), 2);
        assert!(has(&files[0].1, AVC) && files[0].0 >= 61_000);
        assert!(has(&files[1].1, OTHER_AVC) && !has(&files[1].1, AVC));
        assert_eq!(files[1].0, 80, "the last picture has its time, too");
    }

    #[test]
    fn a_file_is_cut_where_times_go_back() {
        use TagKind::Video;
        let files = recorded(
            "back",
            &[
                (Video, 500_000, AVC),
                (Video, 500_000, KEYFRAME),
                (Video, 10_000, KEYFRAME),
                (Video, 10_040, KEYFRAME),
                (Video, 10_080, FRAME),
            ],
        );
        let durations: Vec<_> = files.iter().map(|(duration_ms, _)| *duration_ms).collect();
        assert_eq!(durations, [0, 80]);
    }

    #[test]
    fn a_stream_whose_pictures_stopped_has_sound_alone() {
        for (video_at, now, expected) in [
            (1_000, 1_000, false),
            (1_000, 5_999, false),
            (1_000, 6_000, true),
            (u32::MAX, 4_998, false),
            (u32::MAX, 4_999, true),
            (100_000, 90_000, false),
        ] {
            assert_eq!(is_gone(video_at, now), expected, "{video_at} {now}");
        }
    }
}
