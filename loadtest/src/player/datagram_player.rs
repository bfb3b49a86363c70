//! A player whose stream comes in datagrams: SRT.
//!
//! It parses what it gets up to its first video frame. A sampled one goes on, woken by every
//! packet. The others only count packets by their headers from then on, when they are swept: they
//! still acknowledge, and ask for what was lost, so that they cost the server what viewers cost.
//! What that is late by a sweep is in no figure but the way's length, which they take for longer.

use super::loss::Loss;
use super::scene::Scene;
use super::stream_player::STALL_NS;
use crate::mpegts::{Tr101290, UnitReader};
use crate::socket::monotonic_ns;
use crate::srt::{Closed, Endpoint, Told};
use crate::verify::{Arrival, Verifier};

/// What is made of the bytes that come.
struct Eyes {
    reader: UnitReader,
    verifier: Verifier,
    /// Of a sampled player.
    judge: Option<Tr101290>,
    bytes: Vec<u8>,
}

pub(super) struct DatagramPlayer {
    endpoint: Endpoint,
    /// `None` once packets are only counted.
    eyes: Option<Box<Eyes>>,
    sampled: bool,
    connected_ns: u64,
    has_video: bool,
    pub(super) playing: bool,
    stalled: bool,
    last_packet_ns: u64,
}

impl DatagramPlayer {
    pub(super) fn new(endpoint: Endpoint, sampled: bool) -> Self {
        let now_ns = monotonic_ns();
        let eyes = Eyes {
            reader: if sampled { UnitReader::of_contents() } else { UnitReader::default() },
            verifier: if sampled { Verifier::default() } else { Verifier::of_start() },
            judge: sampled.then(Tr101290::default),
            bytes: Vec::new(),
        };
        Self {
            endpoint,
            eyes: Some(Box::new(eyes)),
            sampled,
            connected_ns: now_ns,
            has_video: false,
            playing: false,
            stalled: false,
            last_packet_ns: now_ns,
        }
    }

    /// The socket has something.
    pub(super) fn receive(&mut self, scene: &mut Scene) -> Result<(), Loss> {
        let told = scene.with_buffer(|_, buffer| self.endpoint.receive(buffer));
        let now_ns = monotonic_ns();
        self.count(now_ns, scene);
        // What came before the end was got all the same.
        self.look(now_ns, scene);
        match told {
            Ok(Told::Refused(reason)) => return Err(Loss::Refused(reason)),
            Ok(Told::Nothing | Told::Accepted) => {}
            Err(error) if error.is::<Closed>() => return Err(Loss::Closed),
            Err(error) => return Err(error.into()),
        }
        self.endpoint.tick()?;
        if self.playing && !self.sampled && self.eyes.take().is_some() {
            self.endpoint.quieten(&scene.poll)?;
        }
        Ok(())
    }

    /// Time has passed.
    pub(super) fn sweep(&mut self, now_ns: u64, scene: &mut Scene) -> Result<(), Loss> {
        if self.eyes.is_none() {
            self.receive(scene)?;
        } else {
            self.endpoint.tick()?;
            self.count(now_ns, scene);
            self.look(now_ns, scene);
        }
        let silent_ns = now_ns.saturating_sub(self.last_packet_ns);
        if self.playing && silent_ns > STALL_NS && !self.stalled {
            self.stalled = true;
            scene.tally().stalls += 1;
        }
        Ok(())
    }

    /// Counts packets and bytes; those of media show that the stream goes on.
    fn count(&mut self, now_ns: u64, scene: &mut Scene) {
        scene.tally().received += self.endpoint.take_received();
        let Some(link) = self.endpoint.link() else { return };
        let arrivals = link.take_arrivals();
        scene.tally().packets.add(&arrivals);
        if arrivals.packets > 0 {
            self.last_packet_ns = now_ns;
            self.stalled = false;
        }
    }

    /// Looks at what was released.
    fn look(&mut self, now_ns: u64, scene: &mut Scene) {
        let Some(Eyes { reader, verifier, judge, bytes }) = self.eyes.as_deref_mut() else {
            return;
        };
        self.endpoint.take_released(bytes);
        if let Some(judge) = judge {
            scene.judge(judge, bytes);
        }
        let mut rest = bytes.as_slice();
        while let Some(unit) = reader.next(&mut rest, now_ns) {
            let findings = match self.sampled {
                true => &mut scene.tally().sampled,
                false => &mut scene.tally().starts,
            };
            let arrival = verifier.unit(&unit, findings);
            let after_ns = unit.arrived_ns.saturating_sub(self.connected_ns);
            if arrival != Arrival::Plain && !self.has_video {
                self.has_video = true;
                scene.tally().first_video.record(after_ns);
            }
            if arrival == Arrival::Frame && !self.playing {
                self.playing = true;
                scene.tally().join.record(after_ns);
            }
        }
    }
}
