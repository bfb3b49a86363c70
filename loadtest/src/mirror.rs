//! A copy of a live stream's playlists and segments in a folder, for another server to serve.
//!
//! Spec: RFC 8216 6.2.2: a segment stays for a while after it has left the list.
//!
//! Shape: the multivariant playlist, the media playlist that it names, and the segments, under
//! the names that the playlists use. Every file appears whole: it is written aside and renamed; a
//! playlist appears after the segments that it lists.
//!
//! Limits: [`KEPT`] segments that are listed no more; [`SEGMENT_BYTES_MAX`] of a segment.

use std::collections::VecDeque;
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use crate::hls::{MediaPlaylist, Playlist};
use crate::http_answer::Answer;
use crate::http_flv::put_request;
use crate::socket::monotonic_ns;
use crate::stream_url::{Scheme, StreamUrl};

/// Segments that are kept after they have left the list.
pub const KEPT: usize = 16;

/// Bytes of a segment.
pub const SEGMENT_BYTES_MAX: usize = 256 << 20;

/// How often the playlist is looked at.
const INTERVAL: Duration = Duration::from_millis(200);

/// Without an answer for so long the server is gone.
const PATIENCE: Duration = Duration::from_secs(15);

/// What to copy, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorPlan {
    /// The multivariant playlist.
    pub url: StreamUrl,
    /// The folder.
    pub into: PathBuf,
    /// How long; `None` until the wish to stop.
    pub duration_ns: Option<u64>,
}

/// What was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MirrorTotals {
    /// Segments.
    pub segments: u64,
    /// Bytes of them.
    pub bytes: u64,
}

/// Copies until `stop` is set or the plan is over.
///
/// # Errors
/// If the server ends or refuses, or the folder cannot be written.
pub fn mirror(plan: &MirrorPlan, stop: &AtomicBool) -> Result<MirrorTotals> {
    ensure!(
        plan.url.scheme == Scheme::Hls && !plan.url.is_tls,
        "a mirror follows http://HOST/NAME/index.m3u8"
    );
    fs::create_dir_all(&plan.into)
        .with_context(|| format!("cannot make {}", plan.into.display()))?;
    let stream = Some(connect(&plan.url)?);
    let mut mirror =
        Mirror { plan, stream, known: VecDeque::new(), totals: MirrorTotals::default() };
    let end_ns = plan.duration_ns.map_or(u64::MAX, |duration| monotonic_ns() + duration);
    while !stop.load(Ordering::Relaxed) && monotonic_ns() < end_ns {
        mirror.copy_new().with_context(|| format!("mirroring {}", plan.url))?;
        thread::sleep(INTERVAL);
    }
    Ok(mirror.totals)
}

struct Mirror<'a> {
    plan: &'a MirrorPlan,
    /// None before the first request, and behind an answer that ended it.
    stream: Option<TcpStream>,
    /// Names of the segments in the folder, the oldest first.
    known: VecDeque<String>,
    totals: MirrorTotals,
}

impl Mirror<'_> {
    fn copy_new(&mut self) -> Result<()> {
        let url = &self.plan.url;
        let Some(index) = self.get(&url.request_target())? else { return Ok(()) };
        let Playlist::Multivariant(variant) = read(&index)? else {
            bail!("the playlist names no media playlist");
        };
        let folder = if url.app.is_empty() { String::new() } else { format!("/{}", url.app) };
        let Some(media) = self.get(&format!("{folder}/{variant}"))? else { return Ok(()) };
        let Playlist::Media(MediaPlaylist { segments, .. }) = read(&media)? else {
            bail!("{variant} is no media playlist");
        };
        let listed = segments.len();
        for segment in segments {
            if self.known.contains(&segment.uri) {
                continue;
            }
            let body = self.get(&format!("{folder}/{}", segment.uri))?;
            let Some(body) = body else { continue };
            self.put(&segment.uri, &body)?;
            self.totals.segments += 1;
            self.totals.bytes += body.len() as u64;
            self.known.push_back(segment.uri);
        }
        self.put(&variant, &media)?;
        self.put(&url.name, &index)?;
        while self.known.len() > listed + KEPT {
            let gone = self.known.pop_front().unwrap_or_default();
            fs::remove_file(self.plan.into.join(file_name(&gone)?))?;
        }
        Ok(())
    }

    /// The body; `None` if the server asks for patience, or has it no more.
    fn get(&mut self, target: &str) -> Result<Option<Vec<u8>>> {
        // One that has answered before may have ended since.
        let again = self.stream.take().and_then(|stream| self.ask(stream, target).ok());
        let Answer { head, body } = match again {
            Some(answer) => answer,
            None => self.ask(connect(&self.plan.url)?, target)?,
        };
        match head.status {
            200 => Ok(Some(body)),
            404 | 503 => Ok(None),
            _ => bail!("refused: {}", head.status_line),
        }
    }

    fn ask(&mut self, mut stream: TcpStream, target: &str) -> Result<Answer> {
        let mut request = Vec::new();
        put_request(target, &self.plan.url.authority, &[], &mut request);
        stream.write_all(&request)?;
        let answer = Answer::read(&mut stream, SEGMENT_BYTES_MAX)?;
        if !answer.head.closes {
            self.stream = Some(stream);
        }
        Ok(answer)
    }

    fn put(&self, name: &str, body: &[u8]) -> Result<()> {
        let path = self.plan.into.join(file_name(name)?);
        let aside = path.with_extension("new");
        fs::write(&aside, body).with_context(|| format!("cannot write {}", aside.display()))?;
        fs::rename(&aside, &path).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn connect(url: &StreamUrl) -> Result<TcpStream> {
    let addr = url.resolve()?;
    let stream = TcpStream::connect(addr).with_context(|| format!("cannot connect to {addr}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn read(playlist: &[u8]) -> Result<Playlist> {
    Playlist::parse(str::from_utf8(playlist).context("a playlist that is no text")?)
}

/// A name from a playlist as one of the folder: nothing that leads out of it.
fn file_name(name: &str) -> Result<&Path> {
    let path = Path::new(name);
    ensure!(path.file_name().is_some_and(|last| last == path), "{name:?} is no name of a file");
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        assert!(file_name("17.ts").is_ok());
        for name in ["", ".", "..", "../a.ts", "/a.ts", "a/b.ts", "a/.."] {
            assert!(file_name(name).is_err(), "{name}");
        }
    }
}
