//! One program: its clock, its tables' intervals, its streams.
//!
//! Units: 27 MHz ticks of the program's own clock, unless a name says otherwise.

use super::clock::{Clock, Step, TICKS_PER_MS, stamp_distance};
use super::findings::Findings;
use super::indicator::Indicator;
use super::tables::{Layout, Listed};
use super::unit::Stamps;
use super::verdict::{ProgramSummary, StreamSummary};

/// The longest interval of PAT and PMT.
pub(super) const TABLE_INTERVAL_MAX: u64 = 500 * TICKS_PER_MS;

/// The longest interval of PTS.
const PTS_INTERVAL_MAX: u64 = 700 * TICKS_PER_MS;

/// Decoding times of one stream that pass without a PCR, in 90 kHz: then there is none.
const SILENT_CLOCK_MAX: i64 = 90_000;

/// An elementary stream.
#[derive(Debug)]
struct Stream {
    listed: Listed,
    /// Packets of its PID when the last PCR came, and when that number last grew.
    packets: u64,
    heard_at: u64,
    is_absent: bool,
    units: u64,
    pts_at: u64,
    is_pts_late: bool,
    pts_interval_max: u64,
    /// The first decoding time since the last PCR, in 90 kHz.
    first_dts: Option<u64>,
    lead_min: Option<i64>,
}

/// A program of the PAT.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) number: u16,
    pub(super) pmt_pid: u16,
    /// The PAT at hand names it.
    pub(super) is_listed: bool,
    layout: Option<Layout>,
    streams: Vec<Stream>,
    clock: Clock,
    pat_at: u64,
    /// Of the reference clock as long as there is no PMT.
    pub(super) pmt_at: u64,
    pub(super) is_pmt_late: bool,
    is_clock_silent: bool,
}

impl Program {
    pub(super) fn new(number: u16, pmt_pid: u16, now: u64) -> Self {
        Self {
            number,
            pmt_pid,
            is_listed: true,
            layout: None,
            streams: Vec::new(),
            clock: Clock::default(),
            pat_at: 0,
            pmt_at: now,
            is_pmt_late: false,
            is_clock_silent: false,
        }
    }

    /// The PID of its PCRs, once a PMT told it.
    pub(super) fn pcr_pid(&self) -> Option<u16> {
        self.layout.as_ref().map(|layout| layout.pcr_pid)
    }

    /// The PIDs of its streams.
    pub(super) fn stream_pids(&self) -> impl Iterator<Item = u16> {
        self.streams.iter().map(|stream| stream.listed.pid)
    }

    /// A PAT came.
    pub(super) const fn note_pat(&mut self) {
        self.pat_at = self.clock.elapsed();
    }

    /// A PMT came; `layout` if it is in force. `packets` tells how many a PID had. True if the
    /// layout changed.
    pub(super) fn note_pmt(
        &mut self,
        layout: Option<Layout>,
        packets: impl Fn(u16) -> u64,
    ) -> bool {
        let changed = layout.filter(|layout| self.layout.as_ref() != Some(layout));
        let has_changed = changed.is_some();
        if let Some(layout) = changed {
            if self.pcr_pid() != Some(layout.pcr_pid) {
                // Another clock counts from its own start.
                self.clock = Clock::default();
                self.pat_at = 0;
                for stream in &mut self.streams {
                    (stream.heard_at, stream.pts_at) = (0, 0);
                }
            }
            let mut before = std::mem::take(&mut self.streams);
            for listed in &layout.streams {
                let known = before.iter().position(|stream| stream.listed == *listed);
                self.streams.push(match known {
                    Some(index) => before.swap_remove(index),
                    None => Stream::new(*listed, packets(listed.pid), self.clock.elapsed()),
                });
            }
            self.layout = Some(layout);
        }
        self.pmt_at = self.clock.elapsed();
        self.is_pmt_late = false;
        has_changed
    }

    /// A packet of the PCR's PID announces a break of the time base.
    pub(super) const fn announce_break(&mut self) {
        self.clock.announce();
    }

    /// True if the clock stands at this PCR.
    pub(super) fn is_at(&self, pcr: u64) -> bool {
        self.clock.is_at(pcr)
    }

    /// A PCR came: time went on, and what is due by now must have come.
    pub(super) fn note_pcr(
        &mut self,
        pcr: u64,
        pid_period: u64,
        packets: impl Fn(u16) -> u64,
        findings: &mut Findings,
    ) {
        let pid = self.pcr_pid();
        match self.clock.take(pcr) {
            Step::Start | Step::On(_) => {}
            Step::Late(ticks) => findings.note(Indicator::PcrRepetition, pid, || {
                format!("{:.1} ms after the PCR before it", ms(ticks))
            }),
            Step::Jump(ticks) => findings.note(Indicator::PcrDiscontinuity, pid, || {
                format!("{:+.1} ms from the PCR before it, unannounced", ticks as f64 / 27_000.0)
            }),
        }
        self.is_clock_silent = false;
        let now = self.clock.elapsed();
        if now - self.pmt_at > TABLE_INTERVAL_MAX && !self.is_pmt_late {
            self.is_pmt_late = true;
            let (since, number) = (ms(now - self.pmt_at), self.number);
            findings.note(Indicator::Pmt, self.pmt_pid, || {
                format!("no PMT of program {number} for {since:.1} ms")
            });
        }
        for stream in &mut self.streams {
            stream.note_time(now, pid_period, packets(stream.listed.pid), findings);
        }
    }

    /// How long there was no PAT.
    pub(super) const fn since_pat(&self) -> u64 {
        self.clock.elapsed() - self.pat_at
    }

    /// A unit began on one of the program's PIDs.
    pub(super) fn note_unit(&mut self, pid: u16, stamps: Stamps, findings: &mut Findings) {
        let now = self.clock.elapsed();
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.listed.pid == pid) else {
            return;
        };
        if stamps.pts.is_some() {
            if stream.units > 0 {
                stream.pts_interval_max = stream.pts_interval_max.max(now - stream.pts_at);
            }
            (stream.pts_at, stream.is_pts_late) = (now, false);
        } else if stream.units == 0 {
            stream.pts_at = now;
        }
        stream.units += 1;
        let Some(dts) = stamps.dts else { return };
        let first = *stream.first_dts.get_or_insert(dts);
        if stamp_distance(dts, first) > SILENT_CLOCK_MAX && !self.is_clock_silent {
            self.is_clock_silent = true;
            let pcr_pid = self.layout.as_ref().map(|layout| layout.pcr_pid);
            findings.note(Indicator::PcrRepetition, pcr_pid, || {
                "no PCR for a second of decoding times".to_owned()
            });
        }
        if let Some(lead) = self.clock.until(dts) {
            stream.lead_min = Some(stream.lead_min.map_or(lead, |least| least.min(lead)));
            if lead < 0 {
                findings.note(Indicator::PcrAfterDts, pid, || {
                    format!("the last PCR is {:.1} ms after the unit's DTS", -lead as f64 / 90.0)
                });
            }
        }
    }

    /// A stream's times cannot be read here, so none of them is late.
    pub(super) fn note_scrambled(&mut self, pid: u16) {
        let now = self.clock.elapsed();
        for stream in self.streams.iter_mut().filter(|stream| stream.listed.pid == pid) {
            stream.pts_at = now;
        }
    }

    /// The stream is over: what never came is missing.
    pub(super) fn end(&mut self, findings: &mut Findings) {
        if self.layout.is_none() && !self.is_pmt_late {
            let number = self.number;
            findings.note(Indicator::Pmt, self.pmt_pid, || format!("no PMT of program {number}"));
        }
        let has_units = self.streams.iter().any(|stream| stream.units > 0);
        if has_units && !self.clock.is_running() && !self.is_clock_silent {
            let number = self.number;
            findings.note(Indicator::PcrRepetition, self.pcr_pid(), || {
                format!("no PCR of program {number}")
            });
        }
    }

    pub(super) fn summary(&self) -> ProgramSummary {
        ProgramSummary {
            number: self.number,
            pmt_pid: self.pmt_pid,
            pcr_pid: self.pcr_pid(),
            seconds: ms(self.clock.elapsed()) / 1000.0,
            pcr_interval_max_ms: ms(self.clock.interval_max),
            streams: self.streams.iter().map(Stream::summary).collect(),
        }
    }
}

impl Stream {
    const fn new(listed: Listed, packets: u64, now: u64) -> Self {
        Self {
            listed,
            packets,
            heard_at: now,
            is_absent: false,
            units: 0,
            pts_at: now,
            is_pts_late: false,
            pts_interval_max: 0,
            first_dts: None,
            lead_min: None,
        }
    }

    fn note_time(&mut self, now: u64, pid_period: u64, packets: u64, findings: &mut Findings) {
        self.first_dts = None;
        if packets != self.packets {
            (self.packets, self.heard_at, self.is_absent) = (packets, now, false);
        } else if now - self.heard_at > pid_period && !self.is_absent {
            self.is_absent = true;
            let since = ms(now - self.heard_at);
            findings.note(Indicator::Pid, self.listed.pid, || format!("nothing for {since:.1} ms"));
        }
        let is_due = self.listed.is_timed && self.units > 0;
        if is_due && now - self.pts_at > PTS_INTERVAL_MAX && !self.is_pts_late {
            self.is_pts_late = true;
            let since = ms(now - self.pts_at);
            findings.note(Indicator::Pts, self.listed.pid, || format!("no PTS for {since:.1} ms"));
        }
    }

    fn summary(&self) -> StreamSummary {
        StreamSummary {
            pid: self.listed.pid,
            stream_type: self.listed.kind,
            units: self.units,
            pts_interval_max_ms: ms(self.pts_interval_max),
            pcr_lead_min_ms: self.lead_min.map(|lead| lead as f64 / 90.0),
        }
    }
}

fn ms(ticks: u64) -> f64 {
    ticks as f64 / TICKS_PER_MS as f64
}
