//! FLV file: how a recording is on the disk.
//!
//! Shape: the header of FLV, `onMetaData` with `duration` and `filesize` first, in fixed places,
//! what decoders need, then whole tags from the time 0 on. Both numbers are 0 until the file is
//! whole: so a file that was cut short is known by its first bytes.
//!
//! Errors: of the disk. What was written of a tag in hand is taken back.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use codecs::amf0::{self, Limits, Value};
use codecs::flv::tag::{FILE_HEADER_LEN, PREVIOUS_TAG_SIZE_LEN, TAG_HEADER_LEN};
use codecs::flv::{FileHeader, TagHeader, TagKind};
use codecs::writer::Writer;

/// Where the numbers are: behind the header of the file, that of the tag, the name of what is
/// told, the head of an array, and the name of the number itself.
const DURATION_AT: u64 = (FILE_HEADER_LEN + TAG_HEADER_LEN + 13 + 5 + 10 + 1) as u64;
const SIZE_AT: u64 = DURATION_AT + 8 + 10 + 1;
/// Bytes by which a file of ours is known.
const KNOWN_LEN: usize = SIZE_AT as usize + 8;
/// What an array of AMF0 begins with.
const ECMA_ARRAY: u8 = 8;
/// Members of a stream's description at most.
const MEMBERS_MAX: usize = 64;
/// A tag this much before the first one is at the time 0.
const EARLY_MS: u32 = 60_000;
/// Times of a file; what is beyond came before its first tag.
const TIME_MAX: u32 = i32::MAX as u32;
const LATE_MIN: u32 = u32::MAX - EARLY_MS;
/// The last picture is shown no longer than this.
const PICTURE_MS_MAX: u64 = 1_000;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct FlvFile {
    file: File,
    bytes: u64,
    whole: u64,
    torn: bool,
    clock: Clock,
}

/// How long the file plays.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    first: Option<u32>,
    last_picture: Option<u64>,
    end_ms: u64,
    /// Times went back further than pictures are ever out of order.
    has_jumped: bool,
}

impl Clock {
    /// The time of a tag in the file.
    fn place(&mut self, kind: TagKind, timestamp_ms: u32) -> u32 {
        let first = *self.first.get_or_insert(timestamp_ms);
        let since = timestamp_ms.wrapping_sub(first);
        let at = if since <= TIME_MAX {
            since
        } else if since > LATE_MIN {
            0
        } else {
            // The file is to be cut; until then its time stands still.
            self.has_jumped = true;
            u32::try_from(self.end_ms).unwrap_or(TIME_MAX)
        };
        let (now, mut end) = (u64::from(at), u64::from(at));
        if kind == TagKind::Video {
            let before = self.last_picture.replace(now);
            let lasts = before.map_or(0, |before| now.saturating_sub(before));
            end += lasts.min(PICTURE_MS_MAX);
        }
        self.end_ms = self.end_ms.max(end);
        at
    }
}

impl FlvFile {
    /// Begins a file with what the stream says of itself, and what its decoders need.
    pub(super) fn begin<'c>(
        file: File,
        metadata: &[u8],
        configurations: impl Iterator<Item = &'c [u8]>,
    ) -> io::Result<Self> {
        let mut start = vec![0; FILE_HEADER_LEN];
        FileHeader { audio: true, video: true }.encode(&mut Writer::new(&mut start));
        start.extend_from_slice(&description(metadata));
        for tag in configurations {
            let at = start.len();
            start.extend_from_slice(tag);
            set_timestamp(&mut start[at..], 0);
        }
        let (bytes, whole, torn) = (0, 0, false);
        let mut begun = Self { file, bytes, whole, torn, clock: Clock::default() };
        begun.put(&start)?;
        begun.whole = begun.bytes;
        Ok(begun)
    }

    /// Writes a tag, or the first piece of one; `left` bytes of it follow.
    pub(super) fn tag(
        &mut self,
        header: &TagHeader,
        tag: &mut [u8],
        left: usize,
    ) -> io::Result<()> {
        set_timestamp(tag, self.clock.place(header.kind, header.timestamp_ms));
        self.piece(tag, left)
    }

    /// Writes a further piece of a tag.
    pub(super) fn piece(&mut self, piece: &[u8], left: usize) -> io::Result<()> {
        self.put(piece)?;
        if left == 0 {
            self.whole = self.bytes;
        }
        Ok(())
    }

    /// Bytes that were written.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How long it plays.
    pub(super) const fn duration_ms(&self) -> u64 {
        self.clock.end_ms
    }

    /// True if the times of the stream went back, so that they are no use to this file any more.
    pub(super) const fn has_jumped(&self) -> bool {
        self.clock.has_jumped
    }

    /// Ends the file at its last whole tag: its bytes, and how long it plays. The disk has all of
    /// it then.
    pub(super) fn finish(mut self) -> io::Result<(u64, u64)> {
        if self.torn || self.bytes > self.whole {
            self.file.set_len(self.whole)?;
        }
        seal(&mut self.file, self.whole, self.clock.end_ms)?;
        Ok((self.whole, self.clock.end_ms))
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes);
        match written {
            Ok(()) => self.bytes += bytes.len() as u64,
            // Nobody knows how much of it is there: `finish` takes it back.
            Err(_) => self.torn = true,
        }
        written
    }
}

/// Says in the file how long it is, once the disk has what is said of; it has that then, too.
fn seal(file: &mut File, bytes: u64, duration_ms: u64) -> io::Result<()> {
    file.sync_data()?;
    let seconds = duration_ms as f64 / 1_000.0;
    file.write_all_at(&seconds.to_be_bytes(), DURATION_AT)?;
    file.write_all_at(&(bytes as f64).to_be_bytes(), SIZE_AT)?;
    file.sync_all()
}

/// The tag of `onMetaData`, with what the stream's own says besides.
fn description(metadata: &[u8]) -> Vec<u8> {
    let limits = Limits { depth_max: 4, elements_max: 256, string_bytes_max: 8 << 10 };
    let told = amf0::decode_all(metadata, &limits).unwrap_or_default();
    let members = told.get(1).map(Value::members).unwrap_or_default();
    let ours = |name: &str| matches!(name, "duration" | "filesize");
    let members = members.iter().filter(|(name, _)| !ours(name)).take(MEMBERS_MAX);
    let numbers = ["duration", "filesize"].map(|name| (name.to_owned(), Value::Number(0.0)));
    let all = numbers.into_iter().chain(members.cloned()).collect();
    let mut body = Vec::new();
    amf0::encode(&Value::String("onMetaData".to_owned()), &mut body);
    amf0::encode(&Value::EcmaArray(all), &mut body);
    let data_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let header = TagHeader { kind: TagKind::Script, data_len, timestamp_ms: 0 };
    let mut tag = vec![0; TAG_HEADER_LEN];
    header.encode(&mut Writer::new(&mut tag));
    tag.append(&mut body);
    tag.extend_from_slice(&header.previous_tag_size().to_be_bytes());
    tag
}

fn set_timestamp(tag: &mut [u8], timestamp_ms: u32) {
    let [high, rest @ ..] = timestamp_ms.to_be_bytes();
    tag[4..7].copy_from_slice(&rest);
    tag[7] = high;
}

/// What the first bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is whole, and plays that long.
    Whole(u64),
    /// It was cut short.
    Torn,
    /// It is none of ours.
    Foreign,
}

/// Looks at the beginning of a file.
pub(super) fn look(path: &Path) -> io::Result<Known> {
    let mut head = [0; KNOWN_LEN];
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    if len < KNOWN_LEN as u64 {
        // It ended before its first tag.
        let mut start = [0; 4];
        let signed = file.read_exact_at(&mut start, 0).is_ok() && start == *b"FLV\x01";
        return Ok(if len == 0 || signed { Known::Torn } else { Known::Foreign });
    }
    file.read_exact_at(&mut head, 0)?;
    let told = &head[FILE_HEADER_LEN + TAG_HEADER_LEN..];
    let named = told.starts_with(b"\x02\0\x0aonMetaData")
        && told[13] == ECMA_ARRAY
        && told[18..].starts_with(b"\0\x08duration\0")
        && told[37..].starts_with(b"\0\x08filesize\0");
    if !head.starts_with(b"FLV\x01") || !named {
        return Ok(Known::Foreign);
    }
    let number = |at: u64| {
        let at = at as usize;
        f64::from_be_bytes(head[at..at + 8].try_into().expect("a number has 8 bytes"))
    };
    let told = number(SIZE_AT);
    // After a loss of power the numbers may be there, and not all that was written before them.
    Ok(match told > 0.0 && told <= len as f64 {
        true => Known::Whole((number(DURATION_AT) * 1_000.0).round() as u64),
        false => Known::Torn,
    })
}

/// Cuts a torn file behind its last whole tag: its bytes, and how long it plays; `None` if there is
/// no frame in it.
pub(super) fn mend(path: &Path) -> io::Result<Option<(u64, u64)>> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let len = file.metadata()?.len();
    if len < KNOWN_LEN as u64 {
        return Ok(None);
    }
    let mut reader = BufReader::with_capacity(64 << 10, &mut file);
    reader.seek(SeekFrom::Start(FILE_HEADER_LEN as u64))?;
    let (mut whole, mut clock, mut frames) = (FILE_HEADER_LEN as u64, Clock::default(), 0_u64);
    let mut head = [0; TAG_HEADER_LEN + 2];
    // Times are those of the file already.
    clock.first = Some(0);
    while whole + (head.len() + PREVIOUS_TAG_SIZE_LEN) as u64 <= len {
        reader.read_exact(&mut head)?;
        let Ok(header) = TagHeader::parse(&head) else { break };
        let body = u64::from(header.data_len);
        let end = whole + TAG_HEADER_LEN as u64 + body + PREVIOUS_TAG_SIZE_LEN as u64;
        if end > len {
            break;
        }
        let back = i64::try_from(end - whole - head.len() as u64);
        let Ok(forward) = back else { break };
        reader.seek_relative(forward)?;
        if header.kind != TagKind::Script {
            clock.place(header.kind, header.timestamp_ms);
            frames += u64::from(head[TAG_HEADER_LEN + 1] != 0 || body > 1_024);
        }
        whole = end;
    }
    drop(reader);
    if frames == 0 {
        return Ok(None);
    }
    file.set_len(whole)?;
    seal(&mut file, whole, clock.end_ms)?;
    Ok(Some((whole, clock.end_ms)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::path::PathBuf;

    /// Ten pictures of 40 ms.
    pub(in crate::record) fn ten_pictures(file: File) -> FlvFile {
        pictures(file, usize::MAX)
    }

    /// Ten pictures of 40 ms from the time 5000 on, the last cut off after `cut` bytes.
    fn pictures(file: File, cut: usize) -> FlvFile {
        let mut told = Vec::new();
        amf0::encode(&Value::String("onMetaData".into()), &mut told);
        let members = [("width", 320.0), ("duration", 7.0)];
        let members = members.map(|(name, value)| (name, Value::Number(value)));
        amf0::encode(&Value::object(members), &mut told);
        let configuration = tag(9, 4_990, &[0x17, 0, 0, 0, 0, 1]);
        let mut flv = FlvFile::begin(file, &told, [&*configuration].into_iter()).unwrap();
        for number in 0..10 {
            let mut bytes = tag(9, 5_000 + 40 * number, &[0x17, 1, 0, 0, 0, 9]);
            let header = TagHeader::parse(&bytes).unwrap();
            let len = if number == 9 { cut.min(bytes.len()) } else { bytes.len() };
            let left = bytes.len() - len;
            flv.tag(&header, &mut bytes[..len], left).unwrap();
        }
        flv
    }

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let name = format!("grandstand-flv-{name}-{}", std::process::id());
            Self(std::env::temp_dir().join(name))
        }

        fn write(&self, cut: usize) -> FlvFile {
            pictures(File::create(&self.0).unwrap(), cut)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn tag(kind: u8, at: u32, body: &[u8]) -> Vec<u8> {
        let [a, b, c, d] = at.to_be_bytes();
        let len = u8::try_from(body.len()).unwrap();
        let head = [kind, 0, 0, len, b, c, d, a, 0, 0, 0];
        [&head, body, &[0, 0, 0, len + 11]].concat()
    }

    #[test]
    fn a_file_says_how_long_it_plays_once_it_is_whole() {
        let place = Place::new("whole");
        let flv = place.write(usize::MAX);
        assert_eq!(look(&place.0).unwrap(), Known::Torn);
        let (bytes, duration_ms) = flv.finish().unwrap();
        assert_eq!(duration_ms, 400, "the last picture has its time, too");
        assert_eq!(std::fs::metadata(&place.0).unwrap().len(), bytes);
        assert_eq!(look(&place.0).unwrap(), Known::Whole(400));
        let text = std::fs::read(&place.0).unwrap();
        let body = FILE_HEADER_LEN + TAG_HEADER_LEN;
        let head = TagHeader::parse(&text[FILE_HEADER_LEN..]).unwrap();
        let told = &text[body..][..head.data_len as usize];
        let told = amf0::decode_all(told, &Limits::default()).unwrap();
        let number = |name: &str| {
            let mut members = told[1].members().iter().filter(|(member, _)| member == name);
            let found = members.next().map(|(_, value)| value.clone());
            assert!(members.next().is_none(), "{name} is said once");
            found
        };
        assert_eq!(number("duration"), Some(Value::Number(0.4)));
        assert_eq!(number("filesize"), Some(Value::Number(bytes as f64)));
        assert_eq!(number("width"), Some(Value::Number(320.0)));
        // A disk without power kept the numbers, and not the rest.
        File::options().write(true).open(&place.0).unwrap().set_len(bytes - 1).unwrap();
        assert_eq!(look(&place.0).unwrap(), Known::Torn);
    }

    #[test]
    fn a_file_is_whole_when_the_disk_has_it_and_not_before() {
        // What takes all that is written, and nobody's disk has it.
        let nowhere = File::options().write(true).open("/dev/null").unwrap();
        let error = pictures(nowhere, usize::MAX).finish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
    }

    #[test]
    fn times_that_go_back_let_the_file_stand_still_until_it_is_cut() {
        let mut clock = Clock::default();
        let mut place = |at: u32| (clock.place(TagKind::Audio, at), clock.has_jumped);
        for (at, expected) in [
            (1_000_000, (0, false)),
            (999_000, (0, false)),
            (1_005_000, (5_000, false)),
            (900_000, (5_000, true)),
            (900_020, (5_000, true)),
        ] {
            assert_eq!(place(at), expected, "{at}");
        }
    }

    #[test]
    fn a_torn_file_is_cut_behind_its_last_whole_tag() {
        for cut in [11, 13, 20] {
            let place = Place::new(&format!("torn-{cut}"));
            let bytes = {
                let flv = place.write(cut);
                flv.whole
            };
            assert_eq!(look(&place.0).unwrap(), Known::Torn);
            assert_eq!(mend(&place.0).unwrap(), Some((bytes, 360)), "{cut}");
            assert_eq!(std::fs::metadata(&place.0).unwrap().len(), bytes);
            assert_eq!(look(&place.0).unwrap(), Known::Whole(360));
        }
        let place = Place::new("cut");
        let (bytes, duration_ms) = place.write(12).finish().unwrap();
        assert_eq!((std::fs::metadata(&place.0).unwrap().len(), duration_ms), (bytes, 400));
    }

    #[test]
    fn a_file_of_somebody_else_is_left_alone_and_one_without_a_frame_is_none() {
        let place = Place::new("foreign");
        for (text, known) in [
            (&b""[..], Known::Torn),
            (b"FLV\x01\x05", Known::Torn),
            (b"a text", Known::Foreign),
            (&[b'F'; 200], Known::Foreign),
        ] {
            std::fs::write(&place.0, text).unwrap();
            assert_eq!(look(&place.0).unwrap(), known, "{text:?}");
        }
        let file = File::create(&place.0).unwrap();
        let configuration = tag(9, 0, &[0x17, 0, 0, 0, 0, 1]);
        FlvFile::begin(file, b"", [&*configuration].into_iter()).unwrap();
        assert_eq!(mend(&place.0).unwrap(), None);
    }
}
