//! A player that asks for playlists and segments.
//!
//! All of them are woken by what they wait for, so that the time of each request is true. A sampled
//! one reads its segments and judges them; the others throw them away inside the kernel, woken for
//! large pieces only, because behind a network card no packet of theirs would wake this machine.
//! What is encrypted has to be read, or nobody would know where it ends. A slow one is swept once
//! it plays, takes no more than its pace allows, and is woken by the end of its connection only.
//!
//! A server may end a connection between two answers, as many do after so many of them or some time
//! of silence: then the next request opens another one, as a player's HTTP client does.

use super::cast::Pace;
use super::loss::Loss;
use super::scene::Scene;
use crate::connection::{Connection, is_end};
use crate::hls::{Asked, Client, End, Playback, Told};
use crate::mpegts::{Tr101290, UnitReader};
use crate::socket::monotonic_ns;
use crate::stream_url::StreamUrl;
use crate::verify::Verifier;

/// Bytes of a segment that wake a player who throws them away.
const WAKE_BYTES: u64 = 256 * 1024;

/// What a sampled player reads with.
struct Eyes {
    reader: UnitReader,
    verifier: Verifier,
    judge: Tr101290,
}

impl Default for Eyes {
    fn default() -> Self {
        let reader = UnitReader::of_contents();
        Self { reader, verifier: Verifier::default(), judge: Tr101290::default() }
    }
}

/// What a player looks at.
#[derive(Clone, Copy)]
pub(super) struct Eyesight {
    /// Every segment.
    pub(super) sampled: bool,
    /// One playlist.
    pub(super) holds: bool,
}

pub(super) struct SegmentPlayer {
    connection: Connection,
    client: Client,
    eyes: Option<Box<Eyes>>,
    playback: Playback,
    pace: Pace,
    /// When it began to be slow, and what it has taken since.
    paced_from: Option<(u64, u64)>,
    connected_ns: u64,
    wake_bytes: u64,
    holds: bool,
    pub(super) playing: bool,
}

impl SegmentPlayer {
    pub(super) fn new(
        mut connection: Connection,
        url: &StreamUrl,
        pace: Pace,
        eyes: Eyesight,
    ) -> Self {
        let Eyesight { sampled, holds } = eyes;
        let now_ns = monotonic_ns();
        let client = Client::new(url, holds, now_ns, connection.out());
        Self {
            connection,
            client,
            eyes: (sampled && !holds).then(Box::default),
            playback: Playback::default(),
            pace,
            paced_from: None,
            connected_ns: now_ns,
            wake_bytes: 1,
            holds,
            playing: false,
        }
    }

    /// The socket has something, or room.
    pub(super) fn receive(&mut self, scene: &mut Scene) -> Result<(), Loss> {
        if self.paced_from.is_some() {
            // Who reads comes to the end when it is swept; what is before it may be the rest of an
            // answer. Who stopped to read never does.
            let reads = self.pace.due(u64::MAX) > 0;
            self.connection.unwatch(&scene.poll)?;
            return if reads { Ok(()) } else { Err(Loss::Closed) };
        }
        self.take(u64::MAX, scene)?;
        if self.playing && self.pace != Pace::Live {
            self.connection.wake_at(1)?;
            self.connection.watch_end(&scene.poll)?;
            self.paced_from = Some((monotonic_ns(), 0));
            return Ok(());
        }
        self.wake_for_what_is_due()
    }

    /// Takes about `most` bytes, while there are any.
    fn take(&mut self, most: u64, scene: &mut Scene) -> Result<(), Loss> {
        self.flush(scene)?;
        let mut left = most;
        scene.with_buffer(|scene, buffer| {
            while left > 0 {
                let taken = match self.client.segment_left() {
                    Some(_) if self.discards() => self.discard(left, scene)?,
                    _ => {
                        let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                        self.read(&mut buffer[..room], scene)?
                    }
                };
                self.move_on(scene)?;
                self.flush(scene)?;
                if taken == 0 {
                    break;
                }
                left = left.saturating_sub(taken);
                if let Some((_, had)) = &mut self.paced_from {
                    *had += taken;
                }
            }
            Ok(())
        })
    }

    /// Segments are thrown away unread.
    const fn discards(&self) -> bool {
        self.eyes.is_none() && !self.connection.is_tls()
    }

    /// Throws a segment's bytes away; tells how many there were.
    fn discard(&mut self, most: u64, scene: &mut Scene) -> Result<u64, Loss> {
        let discarded = self.connection.discard(most)?;
        let now_ns = monotonic_ns();
        scene.tally().received += discarded.bytes;
        let told = self.client.discarded(discarded.bytes, now_ns, self.connection.out())?;
        if let Some(told) = told {
            self.note(told, now_ns, scene)?;
        }
        if discarded.ended {
            self.end(Loss::Closed, scene)?;
        }
        Ok(discarded.bytes)
    }

    /// Sends what is asked for.
    fn flush(&mut self, scene: &mut Scene) -> Result<(), Loss> {
        match self.connection.flush(&scene.poll) {
            // What the server said before is still to be read, and its end behind it.
            Err(error) if is_end(&error) && self.client.is_asking() => Ok(()),
            Err(error) if is_end(&error) => self.end(error.into(), scene),
            other => Ok(other?),
        }
    }

    /// The server has ended the connection: the player is lost by that, or goes on without it.
    fn end(&mut self, loss: Loss, scene: &mut Scene) -> Result<(), Loss> {
        let now_ns = monotonic_ns();
        let End::Left(told) = self.client.end(now_ns, self.connection.out())? else {
            return Err(loss);
        };
        self.connection.leave(&scene.poll)?;
        told.map_or(Ok(()), |told| self.note(told, now_ns, scene))
    }

    /// Connects anew if what is asked for next is not asked on this connection.
    fn move_on(&mut self, scene: &mut Scene) -> Result<(), Loss> {
        let Some(url) = self.client.leads_to() else { return Ok(()) };
        self.connection = scene.connect_to(url, self.connection.token())?;
        self.client.renew(self.connection.out());
        self.wake_bytes = 1;
        Ok(())
    }

    /// Reads once; tells how much there was.
    fn read(&mut self, buffer: &mut [u8], scene: &mut Scene) -> Result<u64, Loss> {
        let read = self.connection.read(buffer);
        scene.tally().received += self.connection.take_received();
        let len = match read {
            Ok(Some(0)) => return self.end(Loss::Closed, scene).map(|()| 0),
            Err(error) if is_end(&error) => return self.end(error.into(), scene).map(|()| 0),
            Ok(Some(len)) => len,
            Ok(None) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let now_ns = monotonic_ns();
        let mut input = &buffer[..len];
        loop {
            let (taken, told) = self.client.feed(input, now_ns, self.connection.out())?;
            input = &input[taken..];
            match told {
                None if input.is_empty() => return Ok(len as u64),
                None => {}
                Some(told) => self.note(told, now_ns, scene)?,
            }
        }
    }

    fn note(&mut self, told: Told<'_>, now_ns: u64, scene: &mut Scene) -> Result<(), Loss> {
        let tally = scene.tally();
        match told {
            Told::Body(bytes) => self.look(bytes, now_ns, scene),
            Told::Missed(count) => tally.missed_segments += count,
            Told::Refused(reason) => return Err(Loss::Refused(reason)),
            Told::Whole { asked: Asked::Playlist, asked_ns } => {
                tally.playlist.record(now_ns - asked_ns);
                if self.holds && !self.playing {
                    self.joined(now_ns, scene);
                }
            }
            Told::Whole { asked: Asked::Segment { duration_s }, asked_ns } => {
                tally.segment.record(now_ns - asked_ns);
                self.playback.add(duration_s, now_ns);
                if !self.playing {
                    self.joined(now_ns, scene);
                }
            }
        }
        Ok(())
    }

    fn joined(&mut self, now_ns: u64, scene: &mut Scene) {
        self.playing = true;
        scene.tally().join.record(now_ns - self.connected_ns);
    }

    fn look(&mut self, mut bytes: &[u8], now_ns: u64, scene: &mut Scene) {
        let Some(eyes) = &mut self.eyes else { return };
        scene.judge(&mut eyes.judge, bytes);
        while let Some(unit) = eyes.reader.next(&mut bytes, now_ns) {
            eyes.verifier.unit(&unit, &mut scene.tally().sampled);
        }
    }

    /// Sets how many bytes wake this player.
    fn wake_for_what_is_due(&mut self) -> Result<(), Loss> {
        let left = self.client.segment_left().filter(|_| self.discards());
        let wanted = left.map_or(1, |left| left.clamp(1, WAKE_BYTES));
        if wanted != self.wake_bytes {
            self.wake_bytes = wanted;
            self.connection.wake_at(wanted as usize)?;
        }
        Ok(())
    }

    /// Time has passed.
    pub(super) fn sweep(&mut self, now_ns: u64, scene: &mut Scene) -> Result<(), Loss> {
        self.client.poll(now_ns, self.connection.out())?;
        self.move_on(scene)?;
        match self.paced_from {
            Some((from_ns, had)) => {
                let due = self.pace.due(now_ns.saturating_sub(from_ns));
                self.take(due.saturating_sub(had), scene)?;
            }
            None => self.flush(scene)?,
        }
        if self.playback.starves(now_ns) && self.pace == Pace::Live {
            scene.tally().stalls += 1;
        }
        Ok(())
    }
}
