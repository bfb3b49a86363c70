//! Frames of sound that follow each other and tell their own length.
//!
//! A frame is believed if it begins where the one before ended, or where its PES packet does;
//! another one is held until what follows it proves it. A unit of E-AC-3 may have frames that
//! depend on its first, so it is held until the next unit begins or its PES packet ends.

use alloc::vec::Vec;

use super::event::MediaUnit;
use super::frame_head::{FRAME_HEAD_LEN_MAX, FrameFormat, FrameHead};
use super::frame_times::{FrameTime, FrameTimes};
use super::latm::Latm;
use super::sink::{OpenUnit, Sink};
use super::store::UnitStore;
use crate::Error;
use crate::media::{Codec, DecoderConfig};
use crate::time::MediaTime;

/// The frame that is open, or is held.
#[derive(Clone, Copy, Debug)]
struct Frame {
    head: FrameHead,
    /// What its PES packet told.
    told: Option<MediaTime>,
    time: Option<FrameTime>,
    /// Bytes that are still to come.
    left: usize,
    /// Of them, those that are no part of the unit.
    left_out: usize,
    is_believed: bool,
}

/// Assembles the frames of one track.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    format: FrameFormat,
    head: [u8; FRAME_HEAD_LEN_MAX],
    head_len: usize,
    told: Option<MediaTime>,
    frame: Option<Frame>,
    unit: OpenUnit,
    /// A frame of LOAS, whose bits begin between bytes.
    scratch: Vec<u8>,
    latm: Latm,
    times: FrameTimes,
    config: Option<DecoderConfig>,
    /// Frames follow each other.
    in_sync: bool,
    /// Nothing of the PES packet was taken yet.
    at_start: bool,
    /// It says that a frame begins with it, and one is not whole.
    is_cut: bool,
    is_lost: bool,
    after_gap: bool,
}

impl Frames {
    pub(super) fn new(format: FrameFormat) -> Self {
        Self {
            format,
            head: [0; FRAME_HEAD_LEN_MAX],
            head_len: 0,
            told: None,
            frame: None,
            unit: OpenUnit::default(),
            scratch: Vec::new(),
            latm: Latm::default(),
            times: FrameTimes::new(),
            config: None,
            in_sync: false,
            at_start: false,
            is_cut: false,
            is_lost: false,
            after_gap: false,
        }
    }

    pub(super) const fn buffer_bytes(&self) -> usize {
        self.scratch.capacity()
    }

    /// A PES packet begins.
    pub(super) fn begin_pes(&mut self, time: Option<MediaTime>, time_base: u32, aligned: bool) {
        self.times.tell(time, time_base);
        self.is_lost = false;
        self.at_start = self.head_len == 0 && self.frame.is_none_or(|frame| frame.left == 0);
        self.is_cut = aligned && !self.at_start;
    }

    /// Takes its payload.
    pub(super) fn payload<S: UnitStore>(&mut self, mut input: &[u8], sink: &mut Sink<'_, S>) {
        if self.is_lost {
            return;
        }
        if core::mem::take(&mut self.is_cut) && self.begins_frame(input) {
            sink.counters.units_damaged += 1;
            self.reset(sink);
            (self.at_start, self.after_gap) = (true, true);
        }
        while !input.is_empty() {
            match &mut self.frame {
                Some(frame) if frame.left > 0 => {
                    let (now, later) = input.split_at(frame.left.min(input.len()));
                    input = later;
                    let left_out = frame.left_out.min(now.len());
                    frame.left -= now.len();
                    frame.left_out -= left_out;
                    let is_over = frame.left == 0;
                    self.body(now.get(left_out..).unwrap_or_default(), sink);
                    if is_over {
                        self.end_frame(sink);
                    }
                }
                _ => input = self.gather(input, sink),
            }
        }
    }

    /// True if a frame may begin here: multiplexers are known that say so of every PES packet.
    fn begins_frame(&self, input: &[u8]) -> bool {
        let head = input.get(..self.format.head_len());
        head.is_some_and(|head| self.format.parse(head).is_ok())
    }

    /// The PES packet is over, as its length tells.
    pub(super) fn end_pes<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        let is_held = self.frame.is_some_and(|frame| frame.left == 0);
        if is_held && self.head_len == 0 {
            self.in_sync = true;
            self.give(sink);
        }
    }

    /// The stream is over.
    pub(super) fn end<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        self.end_pes(sink);
        self.reset(sink);
    }

    /// Packets are missing here.
    pub(super) fn lose<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        if self.frame.is_some() {
            sink.counters.units_damaged += 1;
        }
        self.reset(sink);
        (self.is_lost, self.after_gap) = (true, true);
    }

    fn reset<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        self.frame = None;
        self.head_len = 0;
        self.in_sync = false;
        self.scratch.clear();
        self.unit.abort(sink);
    }

    /// Takes bytes up to the end of a head.
    fn gather<'a, S: UnitStore>(&mut self, input: &'a [u8], sink: &mut Sink<'_, S>) -> &'a [u8] {
        if self.head_len == 0 {
            self.told = self.times.take_told().or(self.told);
        }
        let wanted = self.format.head_len() - self.head_len;
        let (now, later) = input.split_at(wanted.min(input.len()));
        for &byte in now {
            if let Some(place) = self.head.get_mut(self.head_len) {
                *place = byte;
                self.head_len += 1;
            }
        }
        if self.head_len < self.format.head_len() {
            return later;
        }
        let head = self.head;
        let head = head.get(..self.head_len).unwrap_or_default();
        match self.format.parse(head) {
            Ok(parsed) => self.begin_frame(head, parsed, sink),
            Err(_) => {
                match self.frame {
                    Some(Frame { is_believed: true, .. }) => self.give(sink),
                    // What follows does not prove it.
                    Some(_) => self.drop_frame(sink),
                    None => {}
                }
                sink.counters.frame_sync_losses += u64::from(self.in_sync);
                self.in_sync = false;
                self.head.copy_within(1.., 0);
                self.head_len -= 1;
            }
        }
        self.at_start = false;
        later
    }

    fn begin_frame<S: UnitStore>(
        &mut self,
        head: &[u8],
        parsed: FrameHead,
        sink: &mut Sink<'_, S>,
    ) {
        self.head_len = 0;
        let follows = self.frame.is_some();
        let is_believed = follows || self.in_sync || self.at_start;
        self.in_sync = is_believed;
        let left = parsed.len - head.len();
        match &mut self.frame {
            Some(frame) if parsed.is_dependent => {
                (frame.left, frame.is_believed) = (left, true);
            }
            _ => {
                if let Some(Frame { is_believed, .. }) = self.frame {
                    if !is_believed {
                        self.configure(head, &parsed, sink);
                    }
                    self.give(sink);
                }
                let told = self.told.take();
                // The time of a frame that is read as a whole is known when it is.
                let time = match self.format {
                    FrameFormat::Loas => None,
                    _ => self.times.place(told, parsed.samples, parsed.sample_rate),
                };
                let left_out = parsed.left_out.saturating_sub(head.len());
                let frame = Frame { head: parsed, told, time, left, left_out, is_believed };
                self.frame = Some(frame);
                if is_believed && self.format != FrameFormat::Loas {
                    self.configure(head, &parsed, sink);
                }
            }
        }
        if parsed.left_out == 0 {
            self.body(head, sink);
        }
        if left == 0 {
            self.end_frame(sink);
        }
    }

    fn configure<S: UnitStore>(&mut self, head: &[u8], parsed: &FrameHead, sink: &mut Sink<'_, S>) {
        if let Ok(true) = self.format.configure(head, parsed, &mut self.config) {
            self.config.clone().into_iter().for_each(|config| sink.configure(config));
        }
    }

    fn body<S: UnitStore>(&mut self, bytes: &[u8], sink: &mut Sink<'_, S>) {
        match self.format {
            // COPY(latm): its payload begins between two bytes, so it is shifted when it is whole.
            FrameFormat::Loas => self.scratch.extend_from_slice(bytes),
            _ => self.unit.append(bytes, sink),
        }
    }

    /// All bytes of the frame are there.
    fn end_frame<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        let Some(frame) = self.frame else { return };
        if frame.is_believed && frame.head.codec != Codec::Eac3 {
            self.give(sink);
        }
    }

    fn drop_frame<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        self.frame = None;
        self.scratch.clear();
        self.unit.abort(sink);
    }

    /// Gives out the frame that is whole.
    fn give<S: UnitStore>(&mut self, sink: &mut Sink<'_, S>) {
        let Some(frame) = self.frame.take() else { return };
        if self.format == FrameFormat::Loas {
            self.give_latm(&frame, sink);
            return;
        }
        let is_whole = self.unit.end();
        let is_configured =
            self.config.as_ref().is_some_and(|config| config.codec == frame.head.codec);
        match frame.time {
            _ if !is_whole => {}
            _ if frame.head.is_unsupported => sink.counters.units_unreadable += 1,
            _ if !is_configured => sink.counters.units_without_config += 1,
            None => sink.counters.units_without_time += 1,
            Some(time) => return self.give_unit(frame.head.codec, time, sink),
        }
        sink.abort();
        self.after_gap = true;
    }

    fn give_latm<S: UnitStore>(&mut self, frame: &Frame, sink: &mut Sink<'_, S>) {
        let element = core::mem::take(&mut self.scratch);
        if self.read_latm(&element, frame.told, sink).is_err() {
            let is_configured = self.latm.is_configured();
            sink.counters.units_unreadable += u64::from(is_configured);
            sink.counters.units_without_config += u64::from(!is_configured);
            self.after_gap = true;
        }
        self.scratch = element;
        self.scratch.clear();
    }

    fn read_latm<S: UnitStore>(
        &mut self,
        element: &[u8],
        mut told: Option<MediaTime>,
        sink: &mut Sink<'_, S>,
    ) -> Result<(), Error> {
        let mut frames = self.latm.read(element)?;
        if let Some(config) = self.latm.take_config() {
            sink.configure(config.clone());
        }
        let (samples, rate) = self.latm.samples();
        while let Some(mut payload) = frames.next()? {
            let mut piece = [0; 64];
            loop {
                let bytes = payload.take(&mut piece);
                if bytes.is_empty() {
                    break;
                }
                self.unit.append(bytes, sink);
            }
            match self.times.place(told.take(), samples, rate) {
                _ if !self.unit.end() => sink.abort(),
                Some(time) => self.give_unit(Codec::Aac, time, sink),
                None => {
                    sink.counters.units_without_time += 1;
                    sink.abort();
                }
            }
        }
        Ok(())
    }

    fn give_unit<S: UnitStore>(&mut self, codec: Codec, time: FrameTime, sink: &mut Sink<'_, S>) {
        sink.give(MediaUnit {
            track: sink.track,
            codec,
            dts: time.at,
            pts: time.at,
            time_base: time.time_base,
            keyframe: true,
            damaged: false,
            after_gap: core::mem::take(&mut self.after_gap),
            estimated: time.estimated,
            bytes: (),
        });
    }
}
