//! The programs of a stream, as its tables tell.
//!
//! Spec: ITU-T H.222.0 2.4.4.
//! A table counts from when it came whole, says that it is in force and has the right checksum;
//! what is wrong with one changes nothing.
//! Limits: [`PROGRAMS_MAX`], and [`STREAMS_MAX`] in each; more of them are not known.

use alloc::vec::Vec;

use super::carriage::{Carriage, language};
use super::settings::PROGRAMS_MAX;
use super::tables::{Section, TABLE_PAT, TABLE_PMT};
use crate::Error;
use crate::mpegts::packet::Pid;
use crate::mpegts::psi::crc32;

/// Streams of a program that are known at most.
pub const STREAMS_MAX: usize = 64;
/// Bytes of a program map at most, as the specification has it; of a longer one none are kept.
pub const MAP_BYTES_MAX: usize = 1_024;

/// A program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// `program_number`.
    pub number: u16,
    /// Where its map is.
    pub map_pid: Pid,
    /// Where its clock is; [`Pid::NULL`] for none, and before its map came.
    pub clock_pid: Pid,
    /// Its streams, whether they are read or not.
    pub streams: Vec<ProgramStream>,
    /// The section of the map in force, for whoever tells it again to readers that join; empty
    /// before it came, and for one over [`MAP_BYTES_MAX`].
    pub map_section: Vec<u8>,
    /// The checksum of the map in force.
    map: Option<u32>,
    is_listed: bool,
}

/// A stream of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramStream {
    /// Where its packets are.
    pub pid: Pid,
    /// `stream_type`.
    pub stream_type: u8,
    /// What it holds; `None` for what is not read.
    pub carriage: Option<Carriage>,
    /// ISO 639-2, if the map tells.
    pub language: Option<[u8; 3]>,
}

/// The programs of a stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Programs {
    list: Vec<Program>,
    /// The version of the association that is being gathered, and which sections came.
    version: Option<u8>,
    came: [u64; 4],
    /// The checksum of an association of one section.
    whole: Option<u32>,
    /// `transport_stream_id`.
    transport_stream: u16,
}

impl Programs {
    pub(super) fn list(&self) -> &[Program] {
        &self.list
    }

    /// `transport_stream_id` of the newest association.
    pub(super) const fn transport_stream(&self) -> u16 {
        self.transport_stream
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        let each = self.list.iter().map(|program| {
            let streams = program.streams.capacity() * size_of::<ProgramStream>();
            streams + program.map_section.capacity()
        });
        self.list.capacity() * size_of::<Program>() + each.sum::<usize>()
    }

    /// The program with this number, or without one the first whose map has a stream that is read,
    /// for as long as it is there.
    pub(super) fn choose(&self, number: Option<u16>, before: Option<u16>) -> Option<&Program> {
        let of = |number| self.list.iter().find(|program| program.number == number);
        if let Some(number) = number {
            return of(number);
        }
        let is_read =
            |program: &&Program| program.streams.iter().any(|stream| stream.carriage.is_some());
        before.and_then(of).or_else(|| self.list.iter().find(is_read))
    }

    /// Takes a section whose checksum is right from this PID; true if something is different now.
    pub(super) fn section(&mut self, pid: Pid, section: &[u8]) -> Result<bool, Error> {
        let checksum = crc32(section.get(..section.len().saturating_sub(4)).unwrap_or_default());
        let parsed = Section::parse(section)?;
        match parsed.table_id {
            _ if !parsed.current => Ok(false),
            TABLE_PAT if pid == Pid::PAT => self.association(&parsed, checksum),
            TABLE_PMT => self.map(pid, &parsed, section, checksum),
            // Other tables may be there as well.
            _ => Ok(false),
        }
    }

    fn association(&mut self, section: &Section<'_>, checksum: u32) -> Result<bool, Error> {
        let is_single = section.last_number == 0;
        self.transport_stream = section.extension;
        if is_single && self.whole == Some(checksum) {
            return Ok(false);
        }
        if is_single || self.version != Some(section.version) {
            self.version = Some(section.version);
            self.came = [0; 4];
            self.list.iter_mut().for_each(|program| program.is_listed = false);
        }
        let before = self.list.len();
        if is_single {
            // The programs that go make room for those that come.
            let is_in = |program: &Program| section.programs().any(|(n, _)| n == program.number);
            self.list.retain(is_in);
        }
        let mut is_other = self.list.len() != before;
        let mut is_full = false;
        for (number, map_pid) in section.programs() {
            let room = self.list.len() < PROGRAMS_MAX;
            match self.list.iter_mut().find(|program| program.number == number) {
                Some(program) if program.map_pid == map_pid => program.is_listed = true,
                Some(program) => {
                    *program = Program::new(number, map_pid);
                    is_other = true;
                }
                None if room => {
                    self.list.push(Program::new(number, map_pid));
                    is_other = true;
                }
                None => is_full = true,
            }
        }
        self.whole = (is_single && !is_full).then_some(checksum);
        let at = usize::from(section.number);
        if let Some(came) = self.came.get_mut(at / 64) {
            *came |= 1 << (at % 64);
        }
        let has = |at: usize| self.came.get(at / 64).is_some_and(|came| came >> (at % 64) & 1 == 1);
        if (0..=usize::from(section.last_number)).all(has) {
            let before = self.list.len();
            self.list.retain(|program| program.is_listed);
            is_other |= self.list.len() != before;
        }
        if is_full && !is_other {
            let max = PROGRAMS_MAX as u64;
            return Err(Error::TooLarge { what: "mpegts.pat.programs", value: max + 1, max });
        }
        Ok(is_other)
    }

    fn map(
        &mut self,
        pid: Pid,
        section: &Section<'_>,
        bytes: &[u8],
        checksum: u32,
    ) -> Result<bool, Error> {
        let number = section.extension;
        let is_of = |program: &&mut Program| (program.number, program.map_pid) == (number, pid);
        let Some(program) = self.list.iter_mut().find(is_of) else { return Ok(false) };
        if program.map == Some(checksum) {
            return Ok(false);
        }
        let (clock_pid, streams) = section.map()?;
        program.map = Some(checksum);
        program.clock_pid = clock_pid;
        program.map_section.clear();
        if bytes.len() <= MAP_BYTES_MAX {
            program.map_section.extend_from_slice(bytes);
        }
        program.streams.clear();
        for listed in streams.take(STREAMS_MAX) {
            let is_known = program.streams.iter().any(|stream| stream.pid == listed.pid);
            if !is_known && listed.pid != Pid::PAT && listed.pid != Pid::NULL {
                program.streams.push(ProgramStream {
                    pid: listed.pid,
                    stream_type: listed.stream_type,
                    carriage: Carriage::of(&listed),
                    language: language(listed.descriptors),
                });
            }
        }
        Ok(true)
    }
}

impl Program {
    const fn new(number: u16, map_pid: Pid) -> Self {
        Self {
            number,
            map_pid,
            clock_pid: Pid::NULL,
            streams: Vec::new(),
            map_section: Vec::new(),
            map: None,
            is_listed: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(mut section: Vec<u8>) -> Vec<u8> {
        let len = u16::try_from(section.len() - 3 + 4).unwrap();
        section[1..3].copy_from_slice(&(0xb000 | len).to_be_bytes());
        section.extend(crc32(&section).to_be_bytes());
        section
    }

    fn pat(version: u8, number: u8, last: u8, programs: &[(u8, u8)]) -> Vec<u8> {
        let mut section = Vec::from([0, 0, 0, 0, 1, 0xc1 | version << 1, number, last]);
        programs.iter().for_each(|&(program, pid)| section.extend([0, program, 0xe1, pid]));
        sealed(section)
    }

    fn pmt(program: u8, streams: &[(u8, u8)]) -> Vec<u8> {
        let mut section = Vec::from([2, 0, 0, 0, program, 0xc1, 0, 0, 0xe1, 1, 0xf0, 0]);
        streams.iter().for_each(|&(kind, pid)| section.extend([kind, 0xe1, pid, 0xf0, 0]));
        sealed(section)
    }

    fn numbers(programs: &Programs) -> Vec<u16> {
        programs.list().iter().map(|program| program.number).collect()
    }

    #[test]
    fn programs_come_and_go_with_the_association() {
        let mut programs = Programs::default();
        let mut take = |section: &[u8]| {
            let changed = programs.section(Pid::PAT, section).unwrap();
            (changed, numbers(&programs))
        };
        assert_eq!(take(&pat(0, 0, 0, &[(0, 16), (1, 20), (2, 21)])), (true, Vec::from([1, 2])));
        assert_eq!(take(&pat(0, 0, 0, &[(0, 16), (1, 20), (2, 21)])), (false, Vec::from([1, 2])));
        assert_eq!(take(&pat(1, 0, 0, &[(2, 21), (3, 22)])), (true, Vec::from([2, 3])));
        let mut later = pat(2, 0, 0, &[]);
        later[5] &= 0xfe;
        assert_eq!(take(&later), (false, Vec::from([2, 3])), "not in force");
        // Two sections: the ones that are gone go when both are there.
        assert_eq!(take(&pat(3, 1, 1, &[(4, 23)])), (true, Vec::from([2, 3, 4])));
        assert_eq!(take(&pat(3, 1, 1, &[(4, 23)])), (false, Vec::from([2, 3, 4])));
        assert_eq!(take(&pat(3, 0, 1, &[(3, 22)])), (true, Vec::from([3, 4])));
        assert_eq!(take(&pat(3, 0, 0, &[(3, 22)])), (true, Vec::from([3])), "the same version");
    }

    #[test]
    fn programs_that_go_make_room_for_those_that_come() {
        for count in [40_u8, 64] {
            let mut programs = Programs::default();
            let of = |first: u8| -> Vec<_> { (first..first + count).map(|n| (n, n)).collect() };
            assert_eq!(programs.section(Pid::PAT, &pat(0, 0, 0, &of(1))), Ok(true));
            assert_eq!(programs.section(Pid::PAT, &pat(1, 0, 0, &of(101))), Ok(true));
            assert!(numbers(&programs).into_iter().eq(101..101 + u16::from(count)), "{count}");
            assert_eq!(programs.section(Pid::PAT, &pat(1, 0, 0, &of(101))), Ok(false));
        }
    }

    #[test]
    fn an_association_with_too_many_is_told_each_time() {
        let mut programs = Programs::default();
        let many: Vec<_> = (1..=65).map(|n| (n, n)).collect();
        assert_eq!(programs.section(Pid::PAT, &pat(0, 0, 0, &many)), Ok(true));
        assert_eq!(programs.list().len(), PROGRAMS_MAX);
        assert!(programs.section(Pid::PAT, &pat(0, 0, 0, &many)).is_err());
        assert!(programs.section(Pid::PAT, &pat(0, 0, 0, &many)).is_err());
        assert_eq!(programs.section(Pid::PAT, &pat(0, 0, 0, &many[1..])), Ok(true));
        assert_eq!(numbers(&programs).last(), Some(&65));
    }

    #[test]
    fn the_choice_stays_with_its_program() {
        let mut programs = Programs::default();
        programs.section(Pid::PAT, &pat(0, 0, 0, &[(1, 20), (2, 21), (3, 22)])).unwrap();
        assert_eq!(programs.choose(None, None), None);
        let pid = |low: u16| Pid::new(0x100 + low);
        assert!(programs.section(pid(21), &pmt(2, &[(0x1b, 1), (0x0f, 2), (0x1b, 1)])).unwrap());
        assert!(!programs.section(pid(21), &pmt(2, &[(0x1b, 1), (0x0f, 2), (0x1b, 1)])).unwrap());
        assert!(!programs.section(pid(20), &pmt(2, &[])).unwrap(), "another one's map");
        assert!(programs.section(pid(20), &pmt(1, &[(2, 9)])).unwrap());
        let chosen = |asked, before| programs.choose(asked, before).map(|p| p.number);
        assert_eq!(chosen(None, None), Some(2), "nothing of the first can be read");
        assert_eq!(chosen(None, Some(3)), Some(3));
        assert_eq!(chosen(None, Some(4)), Some(2));
        assert_eq!(chosen(Some(1), Some(2)), Some(1));
        assert_eq!(chosen(Some(9), Some(2)), None);
        assert_eq!(programs.list()[1].streams.len(), 2, "a PID once");
        assert_eq!(programs.list()[0].map_section, pmt(1, &[(2, 9)]));
        assert!(programs.list()[2].map_section.is_empty(), "it has not come");
    }

    #[test]
    fn there_is_a_most_of_everything() {
        let mut programs = Programs::default();
        for first in 0..4 {
            let many: Vec<_> = (1..=40).map(|n| (first * 40 + n, n)).collect();
            let result = programs.section(Pid::PAT, &pat(0, first, 9, &many));
            assert_eq!(result.is_err(), first > 1, "{first}");
        }
        assert_eq!(programs.list().len(), PROGRAMS_MAX);
        let many: Vec<_> = (0..45).map(|n| (0x1b, n)).collect();
        programs.section(Pid::new(0x101), &pmt(1, &many)).unwrap();
        assert_eq!(programs.list()[0].streams.len(), 45);
        assert!(programs.section(Pid::new(0x101), &pmt(1, &[])[..9]).is_err());
    }
}
