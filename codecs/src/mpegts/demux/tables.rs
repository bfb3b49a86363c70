//! The program association and program map tables, as they are read.
//!
//! Spec: ITU-T H.222.0 2.4.4.3 to 2.4.4.10.
//! Errors: [`Error::Truncated`] for a table that is shorter than its fields say.

use crate::Error;
use crate::mpegts::packet::Pid;
use crate::mpegts::psi::crc32;
use crate::reader::Reader;

/// `table_id` of the program association table.
pub(super) const TABLE_PAT: u8 = 0;
/// `table_id` of a program map table.
pub(super) const TABLE_PMT: u8 = 2;
/// `table_id` of SCTE-35.
pub(super) const TABLE_SPLICE: u8 = 0xfc;

/// The fields that all long sections begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Section<'a> {
    pub(super) table_id: u8,
    /// `transport_stream_id` or `program_number`.
    pub(super) extension: u16,
    pub(super) version: u8,
    pub(super) current: bool,
    pub(super) number: u8,
    pub(super) last_number: u8,
    body: &'a [u8],
}

/// A stream as a program map lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListedStream<'a> {
    pub(super) stream_type: u8,
    pub(super) pid: Pid,
    pub(super) descriptors: &'a [u8],
}

/// True if the checksum at the end of a section is right.
pub(super) fn is_sound(section: &[u8]) -> bool {
    crc32(section) == 0
}

impl<'a> Section<'a> {
    pub(super) fn parse(section: &'a [u8]) -> Result<Self, Error> {
        let mut r = Reader::new(section);
        let [table_id, _, _] = r.array("mpegts.section.head")?;
        let extension = r.u16("mpegts.section.extension")?;
        let [flags, number, last_number] = r.array("mpegts.section.version")?;
        let len = r.remaining().checked_sub(4);
        let body = r.bytes(len.ok_or(Error::Truncated { what: "mpegts.section.crc" })?, "")?;
        let (version, current) = (flags >> 1 & 0x1f, flags & 1 == 1);
        Ok(Self { table_id, extension, version, current, number, last_number, body })
    }

    /// Number and map of each program of a program association table.
    pub(super) fn programs(&self) -> impl Iterator<Item = (u16, Pid)> + use<'a> {
        self.body.chunks_exact(4).filter_map(|entry| {
            let &[a, b, c, d] = entry.first_chunk()?;
            let number = u16::from_be_bytes([a, b]);
            // 0 is the network information table.
            (number != 0).then_some((number, Pid::new(u16::from_be_bytes([c, d]))))
        })
    }

    /// The clock and the streams of a program map table.
    pub(super) fn map(&self) -> Result<(Pid, ListedStreams<'a>), Error> {
        let mut r = Reader::new(self.body);
        let clock = Pid::new(r.u16("mpegts.pmt.pcr_pid")?);
        let len = r.u16("mpegts.pmt.program_info")? & 0x0fff;
        r.bytes(usize::from(len), "mpegts.pmt.program_info")?;
        Ok((clock, ListedStreams(r)))
    }
}

/// The streams of a program map table; the list ends where it is cut off.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListedStreams<'a>(Reader<'a>);

impl<'a> ListedStreams<'a> {
    fn read(&mut self) -> Result<ListedStream<'a>, Error> {
        let stream_type = self.0.u8("mpegts.pmt.stream_type")?;
        let pid = Pid::new(self.0.u16("mpegts.pmt.pid")?);
        let len = self.0.u16("mpegts.pmt.descriptors")? & 0x0fff;
        let descriptors = self.0.bytes(usize::from(len), "mpegts.pmt.descriptors")?;
        Ok(ListedStream { stream_type, pid, descriptors })
    }
}

impl<'a> Iterator for ListedStreams<'a> {
    type Item = ListedStream<'a>;

    fn next(&mut self) -> Option<ListedStream<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let stream = self.read();
        if stream.is_err() {
            self.0 = Reader::new(&[]);
        }
        stream.ok()
    }
}

/// Tag and content of each descriptor; the list ends where it is cut off.
pub(super) fn descriptors(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut r = Reader::new(bytes);
    core::iter::from_fn(move || {
        let tag = r.u8("mpegts.descriptor").ok()?;
        let len = r.u8("mpegts.descriptor").ok()?;
        Some((tag, r.bytes(usize::from(len), "mpegts.descriptor").ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn tables_are_read_to_where_they_are_cut_off() {
        let pat = [0, 0xb0, 17, 0, 1, 0xc7, 0, 1, 0, 0, 0xe0, 16, 0, 5, 0xf0, 0, 1, 1, 1, 1];
        let section = Section::parse(&pat).unwrap();
        assert_eq!((section.version, section.current, section.last_number), (3, true, 1));
        assert_eq!(section.programs().collect::<Vec<_>>(), [(5, Pid::new(0x1000))]);
        let streams = [0x1b, 0xe1, 0, 0xf0, 0, 6, 0xe1, 1, 0xf0, 3, 0x6a, 1, 9];
        let head = [2, 0xb0, 40, 0, 1, 0xc0, 0, 0, 0xff, 0xff, 0xf0, 2, 7, 0];
        for (cut, count) in [(13, 2), (12, 1), (6, 1), (5, 1), (4, 0), (0, 0)] {
            let pmt = [&head[..], &streams[..cut], &[0; 4]].concat();
            let section = Section::parse(&pmt).unwrap();
            let (clock, streams) = section.map().unwrap();
            assert_eq!((clock, streams.count()), (Pid::NULL, count), "{cut}");
        }
        for cut in 0..12 {
            assert!(Section::parse(&head[..cut]).is_err());
        }
        assert!(Section::parse(&[&head[..13], &[0; 4]].concat()).unwrap().map().is_err());
    }

    #[test]
    fn descriptors_end_where_they_are_cut_off() {
        let bytes = [5, 4, b'O', b'p', b'u', b's', 0x7f, 2, 0x80, 2];
        let read = |len| descriptors(&bytes[..len]).collect::<Vec<_>>();
        assert_eq!(read(10), [(5, &b"Opus"[..]), (0x7f, &[0x80, 2])]);
        assert_eq!(read(9), [(5, &b"Opus"[..])]);
        assert_eq!(read(5), []);
    }
}
