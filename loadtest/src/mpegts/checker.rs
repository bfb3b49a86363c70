//! The checker: bytes in, a verdict out.

use super::clock::{Clock, TICKS_PER_MS};
use super::continuity::{Follows, PidState, Role};
use super::findings::Findings;
use super::framer::{Framed, Framer};
use super::indicator::Indicator;
use super::packet::{PID_CAT, PID_NULL, PID_PAT, PIDS, Packet, Raw};
use super::program::{Program, TABLE_INTERVAL_MAX};
use super::section::crc32;
use super::tables::{Section, TABLE_CAT, TABLE_PAT, TABLE_PMT};
use super::verdict::Verdict;

/// How long a PID may be silent that a PMT names, unless told otherwise.
pub const PID_PERIOD_DEFAULT_MS: u64 = 5000;

/// Programs that are followed; more of them are not looked at.
const PROGRAMS_MAX: usize = 64;

/// NIT, SDT and BAT, EIT, TDT and TOT: their CRCs are checked and nothing else.
const PIDS_OF_DVB: [u16; 4] = [0x10, 0x11, 0x12, 0x14];

/// The table whose short section has a CRC all the same.
const TABLE_TOT: u8 = 0x73;

/// A checker of the indicators of priority 1 and 2, and of two rules of our own.
///
/// Spec: ETSI TR 101 290 V1.4.1 5.2.1 and 5.2.2; [`Indicator`] tells where it asks for more.
///
/// Units: a file has no clock of arrival, so intervals are measured on the line of PCR values of
/// each program; announced and unannounced jumps of it count no time. Before the first PMT the
/// first PID with a PCR stands in.
///
/// In/Out: bytes in any pieces; findings are kept, bounded, until [`Self::finish`].
///
/// Limits: 64 KiB of the stream, one packet for each PID, 4 KiB for each table, 64 programs, 20
/// findings for each indicator.
#[derive(Debug)]
pub struct Tr101290 {
    framer: Framer,
    pids: Vec<Option<Box<PidState>>>,
    programs: Vec<Program>,
    pat_version: Option<u8>,
    has_pat: bool,
    is_pat_late: bool,
    /// The first PID with a PCR, its clock, and when it told the time at the last PAT.
    reference: Option<(u16, Clock)>,
    reference_pat_at: u64,
    /// Where the first scrambled packet was.
    scrambled: Option<(u64, u64, u16)>,
    has_cat: bool,
    pid_period: u64,
    packets: u64,
    bytes: u64,
    findings: Findings,
}

impl Default for Tr101290 {
    fn default() -> Self {
        Self::new(PID_PERIOD_DEFAULT_MS)
    }
}

impl Tr101290 {
    /// A checker that lets a PID be silent for `pid_period_ms`.
    #[must_use]
    pub fn new(pid_period_ms: u64) -> Self {
        let mut checker = Self {
            framer: Framer::default(),
            pids: std::iter::repeat_with(|| None).take(PIDS).collect(),
            programs: Vec::new(),
            pat_version: None,
            has_pat: false,
            is_pat_late: false,
            reference: None,
            reference_pat_at: 0,
            scrambled: None,
            has_cat: false,
            pid_period: pid_period_ms.saturating_mul(TICKS_PER_MS),
            packets: 0,
            bytes: 0,
            findings: Findings::default(),
        };
        checker.tell_roles();
        checker
    }

    /// The verdict on a whole stream.
    #[must_use]
    pub fn check(stream: &[u8]) -> Verdict {
        let mut checker = Self::default();
        checker.feed(stream);
        checker.finish()
    }

    /// Takes the next bytes of the stream.
    pub fn feed(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            self.framer.take(&mut bytes);
            self.drain();
        }
    }

    /// How many faults were found so far.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.findings.total()
    }

    /// The first fault that was found.
    #[must_use]
    pub fn first_fault(&self) -> Option<String> {
        self.findings.first()
    }

    /// The stream is over.
    #[must_use]
    pub fn finish(mut self) -> Verdict {
        self.framer.end();
        self.drain();
        if self.packets > 0 && !self.has_pat && !self.is_pat_late {
            self.findings.note(Indicator::Pat, PID_PAT, || "no PAT".to_owned());
        }
        for program in &mut self.programs {
            program.end(&mut self.findings);
        }
        if let Some((packet, offset, pid)) = self.scrambled.filter(|_| !self.has_cat) {
            (self.findings.packet, self.findings.offset) = (packet, offset);
            self.findings.note(Indicator::Cat, pid, || "scrambled, and no CAT".to_owned());
        }
        let (counts, findings) = self.findings.into_parts();
        Verdict {
            packets: self.packets,
            bytes: self.bytes,
            trailing_bytes: self.framer.left() as u64,
            programs: self.programs.iter().map(Program::summary).collect(),
            counts,
            findings,
        }
    }

    fn drain(&mut self) {
        while let Some(framed) = self.framer.next() {
            self.findings.packet = self.packets;
            match framed {
                Framed::Lost { offset } => {
                    self.findings.offset = offset;
                    self.findings.note(Indicator::SyncLoss, None, || {
                        "two packets in a row do not begin with 0x47".to_owned()
                    });
                }
                Framed::Packet { raw, offset, damaged } => {
                    self.findings.offset = offset;
                    if damaged {
                        self.findings.note(Indicator::SyncByte, None, || {
                            format!("the packet begins with {:#04x}", raw[0])
                        });
                    }
                    self.packet(&raw);
                    self.packets += 1;
                }
            }
        }
    }

    fn packet(&mut self, raw: &Raw) {
        let packet = Packet::parse(raw);
        let pid = packet.pid;
        let state = self.pids[usize::from(pid)].get_or_insert_default();
        if packet.transport_error {
            // Nothing else in it can be believed.
            state.forget();
            self.findings.note(Indicator::Transport, pid, || "marked as damaged".to_owned());
            return;
        }
        if pid == PID_NULL {
            return;
        }
        if let Some(fault) = packet.fault {
            state.drop_partial();
            self.findings.note(Indicator::Syntax, pid, || fault.to_owned());
        }
        let follows = state.follow(&packet, raw);
        if let Follows::Badly { expected } = follows {
            let found = packet.continuity;
            self.findings.note(Indicator::ContinuityCount, pid, || {
                format!("counter {found} where {expected} is due")
            });
        }
        let is_duplicate = follows == Follows::AsDuplicate;
        self.clocks(&packet, is_duplicate);
        if packet.has_payload && !is_duplicate {
            self.payload(&packet);
        }
    }

    /// Lets time go on for the programs whose clock this PID carries.
    fn clocks(&mut self, packet: &Packet<'_>, is_duplicate: bool) {
        let Self { programs, pids, findings, .. } = self;
        let packets = |pid: u16| packets_of(pids, pid);
        let mut since_pat = 0;
        for program in programs.iter_mut().filter(|program| program.pcr_pid() == Some(packet.pid)) {
            if packet.adaptation.discontinuity && !is_duplicate {
                program.announce_break();
            }
            // A duplicate may repeat the PCR or tell a newer one.
            let Some(pcr) = packet.adaptation.pcr else { continue };
            if !(is_duplicate && program.is_at(pcr)) {
                program.note_pcr(pcr, self.pid_period, packets, findings);
                since_pat = since_pat.max(program.since_pat());
            }
        }
        if let Some(pcr) = packet.adaptation.pcr {
            since_pat = since_pat.max(self.reference_time(packet, pcr));
        }
        if since_pat > TABLE_INTERVAL_MAX && !self.is_pat_late {
            self.is_pat_late = true;
            let since = since_pat / TICKS_PER_MS;
            self.findings.note(Indicator::Pat, PID_PAT, || format!("no PAT for {since} ms"));
        }
    }

    /// Measures what no program's clock can; tells how long there was no PAT.
    fn reference_time(&mut self, packet: &Packet<'_>, pcr: u64) -> u64 {
        let (pid, clock) = self.reference.get_or_insert((packet.pid, Clock::default()));
        if *pid != packet.pid {
            return 0;
        }
        clock.take(pcr);
        let now = clock.elapsed();
        for program in self.programs.iter_mut().filter(|program| program.pcr_pid().is_none()) {
            if now - program.pmt_at > TABLE_INTERVAL_MAX && !program.is_pmt_late {
                program.is_pmt_late = true;
                let number = program.number;
                self.findings.note(Indicator::Pmt, program.pmt_pid, || {
                    format!("no PMT of program {number} for more than 500 ms")
                });
            }
        }
        let has_clock = self.programs.iter().any(|program| program.pcr_pid().is_some());
        if has_clock { 0 } else { now - self.reference_pat_at }
    }

    fn payload(&mut self, packet: &Packet<'_>) {
        let pid = packet.pid;
        let Some(state) = self.pids[usize::from(pid)].as_mut() else { return };
        if packet.scrambled {
            let is_pmt = self.programs.iter().any(|program| program.pmt_pid == pid);
            match pid {
                PID_PAT => self.findings.note(Indicator::Pat, pid, || "scrambled".to_owned()),
                _ if is_pmt => self.findings.note(Indicator::Pmt, pid, || "scrambled".to_owned()),
                _ => {
                    let Findings { packet, offset, .. } = self.findings;
                    self.scrambled.get_or_insert((packet, offset, pid));
                    for program in &mut self.programs {
                        program.note_scrambled(pid);
                    }
                }
            }
            return;
        }
        if packet.payload.is_empty() {
            return;
        }
        match state.role {
            Role::Unknown => {}
            Role::Tables => match state.sections.feed(packet.payload, packet.unit_start) {
                Ok(sections) => {
                    for section in sections {
                        self.section(pid, &section);
                    }
                }
                Err(fault) => self.findings.note(Indicator::Syntax, pid, || fault.to_owned()),
            },
            Role::Media => match state.head.feed(packet.payload, packet.unit_start) {
                None => {}
                Some(Ok(stamps)) => {
                    for program in &mut self.programs {
                        program.note_unit(pid, stamps, &mut self.findings);
                    }
                }
                Some(Err(fault)) => self.findings.note(Indicator::Syntax, pid, || fault.to_owned()),
            },
        }
    }

    fn section(&mut self, pid: u16, section: &[u8]) {
        let [table, flags, ..] = *section else { return };
        let has_crc = flags & 0x80 != 0 || table == TABLE_TOT;
        if has_crc && crc32(section) != 0 {
            self.findings.note(Indicator::Crc, pid, || format!("table {table:#04x}"));
            return;
        }
        let wrong_table = || format!("table {table:#04x} has no place here");
        match (pid, table) {
            (PID_PAT, TABLE_PAT) => {
                if let Err(fault) = self.pat(section) {
                    self.findings.note(Indicator::Pat, pid, || fault.to_owned());
                }
            }
            (PID_PAT, _) => self.findings.note(Indicator::Pat, pid, wrong_table),
            (PID_CAT, TABLE_CAT) => self.has_cat = true,
            (PID_CAT, _) => self.findings.note(Indicator::Cat, pid, wrong_table),
            (_, TABLE_PMT) => {
                if let Err(fault) = self.pmt(pid, section) {
                    self.findings.note(Indicator::Pmt, pid, || fault.to_owned());
                }
            }
            _ => {}
        }
    }

    fn pat(&mut self, section: &[u8]) -> Result<(), &'static str> {
        let section = Section::parse(section)?;
        let entries = section.programs()?;
        self.has_pat = true;
        self.is_pat_late = false;
        let now = self.reference.map_or(0, |(_, clock)| clock.elapsed());
        self.reference_pat_at = now;
        for program in &mut self.programs {
            program.note_pat();
        }
        if !section.current {
            return Ok(());
        }
        let mut is_new = self.pat_version.replace(section.version) != Some(section.version);
        if is_new {
            for program in &mut self.programs {
                program.is_listed = false;
            }
        }
        for (number, pmt_pid) in entries {
            let has_room = self.programs.len() < PROGRAMS_MAX;
            let known = self.programs.iter_mut().find(|program| program.number == number);
            match known {
                Some(program) if program.pmt_pid == pmt_pid => program.is_listed = true,
                Some(program) => {
                    *program = Program::new(number, pmt_pid, now);
                    is_new = true;
                }
                None if has_room => {
                    self.programs.push(Program::new(number, pmt_pid, now));
                    is_new = true;
                }
                None => {}
            }
        }
        let before = self.programs.len();
        if section.number == section.last_number {
            self.programs.retain(|program| program.is_listed);
        }
        if is_new || self.programs.len() < before {
            self.tell_roles();
        }
        Ok(())
    }

    fn pmt(&mut self, pid: u16, section: &[u8]) -> Result<(), &'static str> {
        let section = Section::parse(section)?;
        let layout = section.layout()?;
        let Self { programs, pids, .. } = self;
        let found = programs
            .iter_mut()
            .find(|program| program.pmt_pid == pid && program.number == section.extension);
        if let Some(program) = found {
            let layout = section.current.then_some(layout);
            if program.note_pmt(layout, |pid| packets_of(pids, pid)) {
                self.tell_roles();
            }
        }
        Ok(())
    }

    /// Tells each PID what the tables say of it.
    fn tell_roles(&mut self) {
        let mut roles = [Role::Unknown; PIDS];
        for program in &self.programs {
            for pid in program.stream_pids() {
                roles[usize::from(pid)] = Role::Media;
            }
        }
        for program in &self.programs {
            roles[usize::from(program.pmt_pid)] = Role::Tables;
        }
        for pid in PIDS_OF_DVB.into_iter().chain([PID_PAT, PID_CAT]) {
            roles[usize::from(pid)] = Role::Tables;
        }
        for (state, role) in self.pids.iter_mut().zip(roles) {
            match state {
                Some(state) => state.take_role(role),
                None if role == Role::Unknown => {}
                None => state.get_or_insert_default().take_role(role),
            }
        }
    }
}

fn packets_of(pids: &[Option<Box<PidState>>], pid: u16) -> u64 {
    pids.get(usize::from(pid)).and_then(Option::as_ref).map_or(0, |state| state.packets)
}
