//! Ledger: what the application was told of each publication, and what it is still to be told.
//!
//! ```text
//!   first playlist --> Available --200--> Told --ended--> Closed --200--> forgotten
//!                          |                                ^
//!                          +-- ended, and 200 then ---------+
//! ```
//!
//! A publication is announced when its first playlist can be served, until the application takes
//! that, and so is each output that an attached encoder makes of it; its end is told after all of
//! them, once; also when it ended before, and when the process died
//! between the two. So each announcement is followed by one end and each end follows an
//! announcement; what never had a playlist is never heard of, and one publication of a channel
//! never stands for another. Each state is on the disk before it is told, and one message of a
//! publication is under way at one time, so that none overtakes another.
//!
//! In/Out: no clock and no IO; `teller` carries out what is said here.
//! Limits: [`ROWS_MAX`] publications and [`LEDGER_BYTES_MAX`]; the end of the oldest one that waits
//! for an application that does not answer is dropped for a new one or for another output, and
//! counted. [`OUTPUTS_MAX`] outputs of one wait; further ones are dropped and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use dataplane::ids::{StreamId, StreamName};

use super::row::{OUTPUTS_MAX, Phase, Row};
use super::wire::Output;

/// Publications that are remembered at most.
pub(super) const ROWS_MAX: usize = 65_536;
/// Bytes of what is remembered at most: all of them, each with a few outputs.
pub const LEDGER_BYTES_MAX: usize = 32 << 20;
/// Bytes of a publication beside its words, in all tables.
const ENTRY_BYTES: usize = 256;
/// What failed is told again after this long, then twice as long, and so on.
///
/// With the time that an answer may take it is nine seconds from the first try to the second, which
/// leaves one of the ten that the application is promised.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(2);
/// And after this long at most.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// One message to the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The publication.
    pub(super) id: StreamId,
    /// What of it is told: its phase.
    pub(super) row: Row,
}

#[derive(Debug)]
struct Entry {
    row: Row,
    /// The phase that is on the disk.
    saved: Option<Phase>,
    /// A message is under way.
    flying: bool,
    /// The publication is over.
    over: bool,
    /// Attached encoders have made all that was told of it.
    elsewhere: bool,
    /// Messages of this phase that failed.
    failed: u32,
    /// When its next message is due, as the queue has it.
    due: Option<Instant>,
}

impl Entry {
    const fn new(row: Row, saved: Option<Phase>) -> Self {
        let (flying, over, elsewhere) = (false, false, false);
        Self { row, saved, flying, over, elsewhere, failed: 0, due: None }
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.row.bytes()
    }
}

/// What happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Messages that the application took.
    pub(super) told: u64,
    /// Messages that failed, to be told again.
    pub(super) failed: u64,
    /// Ends and outputs that are never told, because too many wait.
    pub(super) dropped: u64,
}

/// The publications that the application was or is to be told of.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    entries: BTreeMap<StreamId, Entry>,
    /// Those that are not on the disk as they are.
    unsaved: BTreeSet<StreamId>,
    /// When the next message of each is due.
    queue: BTreeSet<(Instant, StreamId)>,
    /// Bytes of all entries.
    bytes: usize,
    counts: Counts,
}

impl Ledger {
    /// The first playlist of a publication can be served.
    pub(super) fn ready(&mut self, id: StreamId, row: Row) {
        if let Some(entry) = self.entries.get_mut(&id) {
            // What was encoded elsewhere until now has an output here, too.
            if std::mem::take(&mut entry.elsewhere) {
                let output = Output::live(&row.channel, id, &row.resolution);
                self.push(id, output);
            }
        } else if self.insert(id, Entry::new(row, None)) {
            self.unsaved.insert(id);
        }
    }

    /// An attached encoder has made something of a publication that can be played.
    pub(super) fn output(&mut self, id: StreamId, channel: &StreamName, output: Output) {
        if !self.entries.contains_key(&id) {
            let row = Row::new(channel, String::new());
            if !self.insert(id, Entry { elsewhere: true, ..Entry::new(row, None) }) {
                return;
            }
        }
        self.push(id, output);
    }

    fn push(&mut self, id: StreamId, output: Output) {
        let more = output.kept_bytes();
        let Some(entry) = self.entries.get(&id).filter(|entry| !entry.over) else { return };
        if entry.row.outputs.contains(&output) {
            return;
        }
        if entry.row.outputs.len() >= OUTPUTS_MAX || !self.make_room(0, more) {
            self.counts.dropped += 1;
            return;
        }
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.bytes += more;
        let row = &mut entry.row;
        row.outputs.push_back(output);
        row.phase = Phase::Available;
        self.unsaved.insert(id);
    }

    /// A publication is over.
    pub(super) fn ended(&mut self, id: StreamId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.over = true;
        if entry.row.phase == Phase::Told {
            entry.row.phase = Phase::Closed;
            self.unsaved.insert(id);
        }
    }

    /// A row of the time before the start: whatever it says, the publication is over by now.
    pub(super) fn recover(&mut self, id: StreamId, row: Row) {
        if self.entries.contains_key(&id) {
            return;
        }
        let phase = row.phase;
        self.put(id, Entry::new(row, Some(phase)));
        self.ended(id);
        // What was to be told already is on the disk as it is, and queued when it was written.
        self.unsaved.insert(id);
    }

    /// The publications that were announced, or are to be, and are not over.
    pub(super) fn running(&self) -> impl Iterator<Item = (StreamId, &str)> {
        let running = self.entries.iter().filter(|(_, entry)| !entry.over);
        running.map(|(&id, entry)| (id, entry.row.channel.as_str()))
    }

    /// What is to be written: rows as they are, and those that are to be forgotten, `max` of them
    /// at most and `bytes_max` bytes or one row more.
    pub(super) fn take_unsaved(
        &mut self,
        max: usize,
        bytes_max: usize,
    ) -> Vec<(StreamId, Option<Row>)> {
        let (mut rows, mut bytes) = (Vec::new(), 0);
        while rows.len() < max
            && bytes < bytes_max
            && let Some(id) = self.unsaved.pop_first()
        {
            let row = self.entries.get(&id).map(|entry| entry.row.clone());
            bytes += row.as_ref().map_or(0, Row::bytes);
            rows.push((id, row));
        }
        rows
    }

    /// The rows are on the disk: what they say may be told.
    pub(super) fn saved(&mut self, rows: &[(StreamId, Option<Row>)], now: Instant) {
        for (id, row) in rows {
            let (Some(entry), Some(row)) = (self.entries.get_mut(id), row) else { continue };
            entry.saved = Some(row.phase);
            // What failed before keeps its time.
            if entry.due.is_none() {
                self.enqueue(*id, now);
            }
        }
    }

    /// The rows could not be written.
    pub(super) fn not_saved(&mut self, rows: &[(StreamId, Option<Row>)]) {
        self.unsaved.extend(rows.iter().map(|&(id, _)| id));
    }

    /// The next message that is due.
    pub(super) fn next(&mut self, now: Instant) -> Option<Message> {
        let &(due, id) = self.queue.first()?;
        if due > now {
            return None;
        }
        self.queue.pop_first();
        let entry = self.entries.get_mut(&id)?;
        (entry.flying, entry.due) = (true, None);
        Some(Message { id, row: entry.row.first() })
    }

    /// What became of a message.
    pub(super) fn outcome(&mut self, message: &Message, taken: bool, now: Instant) {
        let Message { id, row } = message;
        if taken {
            self.counts.told += 1;
        } else {
            self.counts.failed += 1;
        }
        let Some(entry) = self.entries.get_mut(id) else { return };
        entry.flying = false;
        match (taken, row.phase) {
            (true, Phase::Closed) => self.forget(*id),
            (true, Phase::Available | Phase::Told) => {
                let before = entry.bytes();
                let more = row.phase == Phase::Available && entry.row.take(row);
                self.bytes -= before - entry.bytes();
                if !more {
                    entry.row.phase = if entry.over { Phase::Closed } else { Phase::Told };
                }
                entry.failed = 0;
                self.unsaved.insert(*id);
            }
            (false, _) => {
                entry.failed = entry.failed.saturating_add(1);
                let wait = RETRY_FIRST * 2_u32.saturating_pow((entry.failed - 1).min(8));
                self.enqueue(*id, now + wait.min(RETRY_MAX));
            }
        }
    }

    /// When the next message is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.queue.first().map(|&(due, _)| due)
    }

    /// True if something is to be written.
    pub(super) fn is_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Publications that something is to be told of.
    pub(super) fn waiting(&self) -> usize {
        self.entries.values().filter(|entry| entry.row.phase != Phase::Told).count()
    }

    /// What happened so far.
    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Queues a publication, if there is something to be told of it that is on the disk.
    fn enqueue(&mut self, id: StreamId, due: Instant) {
        self.unqueue(id);
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let phase = entry.row.phase;
        if phase != Phase::Told && entry.saved == Some(phase) && !entry.flying {
            entry.due = Some(due);
            self.queue.insert((due, id));
        }
    }

    fn unqueue(&mut self, id: StreamId) {
        let due = self.entries.get_mut(&id).and_then(|entry| entry.due.take());
        if let Some(due) = due {
            self.queue.remove(&(due, id));
        }
    }

    /// Adds a publication; false if there is no room for it.
    fn insert(&mut self, id: StreamId, entry: Entry) -> bool {
        if !self.make_room(1, entry.bytes()) {
            self.counts.dropped += 1;
            return false;
        }
        self.put(id, entry);
        true
    }

    fn put(&mut self, id: StreamId, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.insert(id, entry);
    }

    /// False if there is no room for so many publications and bytes more.
    fn make_room(&mut self, rows: usize, bytes: usize) -> bool {
        while self.entries.len() + rows > ROWS_MAX || self.bytes + bytes > LEDGER_BYTES_MAX {
            let waits = |entry: &Entry| entry.over && !entry.flying;
            let oldest = self.entries.iter().find(|(_, entry)| waits(entry)).map(|(&id, _)| id);
            let Some(oldest) = oldest else { return false };
            self.counts.dropped += 1;
            self.forget(oldest);
        }
        true
    }

    fn forget(&mut self, id: StreamId) {
        self.unqueue(id);
        if let Some(entry) = self.entries.remove(&id) {
            self.bytes -= entry.bytes();
            self.unsaved.insert(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::row::OUTPUT_BYTES_MAX;
    use super::*;

    const ID: StreamId = StreamId([1; 16]);
    const NEXT: StreamId = StreamId([2; 16]);

    fn row(channel: &str) -> Row {
        Row::new(&StreamName::parse(channel).unwrap(), "640x360-30".to_owned())
    }

    /// A ledger with a disk and an application.
    struct Bench {
        ledger: Ledger,
        disk: BTreeMap<StreamId, Vec<u8>>,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { ledger: Ledger::default(), disk: BTreeMap::new(), now: Instant::now() }
        }

        fn save(&mut self) {
            let rows = self.ledger.take_unsaved(100, usize::MAX);
            for (id, row) in &rows {
                match row {
                    Some(row) => drop(self.disk.insert(*id, row.to_bytes())),
                    None => drop(self.disk.remove(id)),
                }
            }
            self.ledger.saved(&rows, self.now);
        }

        fn next(&mut self) -> Option<Message> {
            self.save();
            self.ledger.next(self.now)
        }

        /// Tells all that is due, of which the application takes what it should; what was told.
        fn tell(&mut self, taken: bool) -> Vec<(StreamId, Phase)> {
            let mut told = Vec::new();
            while let Some(message) = self.next() {
                told.push((message.id, message.row.phase));
                self.ledger.outcome(&message, taken, self.now);
            }
            self.save();
            told
        }

        /// The process dies and starts again.
        fn crash(&mut self) {
            self.ledger = Ledger::default();
            for (&id, bytes) in &self.disk {
                self.ledger.recover(id, Row::from_bytes(bytes).unwrap());
            }
        }
    }

    #[test]
    fn a_publication_is_announced_once_and_its_end_once() {
        let mut bench = Bench::new();
        bench.ledger.ready(ID, row("cam7"));
        bench.ledger.ready(ID, row("cam7"));
        assert_eq!(bench.tell(true), [(ID, Phase::Available)]);
        assert_eq!(bench.tell(true), []);
        bench.ledger.ended(ID);
        bench.ledger.ended(ID);
        assert_eq!(bench.tell(true), [(ID, Phase::Closed)]);
        assert_eq!((bench.tell(true), bench.disk.len()), (Vec::new(), 0));
        assert_eq!(bench.ledger.counts(), Counts { told: 2, failed: 0, dropped: 0 });
    }

    #[test]
    fn what_was_never_announced_never_ends() {
        let mut bench = Bench::new();
        bench.ledger.ended(ID);
        assert_eq!((bench.tell(true), bench.disk.len()), (Vec::new(), 0));
    }

    #[test]
    fn nothing_is_told_that_is_not_on_the_disk() {
        let mut bench = Bench::new();
        bench.ledger.ready(ID, row("cam7"));
        assert_eq!(bench.ledger.next(bench.now), None);
        let rows = bench.ledger.take_unsaved(100, usize::MAX);
        bench.ledger.not_saved(&rows);
        assert!(bench.ledger.next(bench.now).is_none() && bench.ledger.is_unsaved());
        assert_eq!(bench.tell(true), [(ID, Phase::Available)]);
    }

    #[test]
    fn what_fails_is_told_again_within_ten_seconds_and_then_more_slowly() {
        let mut bench = Bench::new();
        bench.ledger.ready(ID, row("cam7"));
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert_eq!(bench.tell(false), [(ID, Phase::Available)]);
            let due = bench.ledger.due().unwrap();
            waits.push((due - bench.now).as_secs());
            bench.now = due - Duration::from_millis(1);
            assert_eq!(bench.tell(true), []);
            bench.now = due;
        }
        assert_eq!(waits, [2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(bench.tell(true), [(ID, Phase::Available)]);
    }

    #[test]
    fn an_end_waits_for_the_announcement_of_its_own_publication_alone() {
        let mut bench = Bench::new();
        bench.ledger.ready(ID, row("cam7"));
        bench.ledger.ready(NEXT, row("cam7"));
        assert_eq!(bench.tell(false), [(ID, Phase::Available), (NEXT, Phase::Available)]);
        bench.ledger.ended(ID);
        assert_eq!(bench.tell(true), [], "the application is not asked sooner");
        bench.now += RETRY_FIRST;
        let told = [(ID, Phase::Available), (ID, Phase::Closed), (NEXT, Phase::Available)];
        let mut heard = bench.tell(true);
        heard.sort_by_key(|&(id, _)| id);
        assert_eq!(heard, told);
        bench.ledger.ended(NEXT);
        assert_eq!(bench.tell(true), [(NEXT, Phase::Closed)]);
        assert_eq!(bench.disk.len(), 0);
    }

    #[test]
    fn an_end_follows_the_announcement_that_is_under_way() {
        for taken in [true, false] {
            let mut bench = Bench::new();
            bench.ledger.ready(ID, row("cam7"));
            let first = bench.next().unwrap();
            bench.ledger.ended(ID);
            assert_eq!(bench.next(), None, "one at a time");
            bench.ledger.outcome(&first, taken, bench.now);
            bench.now += RETRY_FIRST;
            let again = (!taken).then_some((ID, Phase::Available));
            let told: Vec<_> = again.into_iter().chain([(ID, Phase::Closed)]).collect();
            assert_eq!(bench.tell(true), told);
            assert_eq!(bench.disk.len(), 0);
        }
    }

    #[test]
    fn after_a_crash_everything_announced_is_over_and_nothing_is_lost() {
        for (told, ended) in [(false, false), (true, false), (true, true), (false, true)] {
            let mut bench = Bench::new();
            bench.ledger.ready(ID, row("cam7"));
            bench.save();
            if told {
                bench.tell(true);
            }
            if ended {
                bench.ledger.ended(ID);
                bench.tell(false);
            }
            bench.crash();
            assert_eq!(bench.ledger.running().count(), 0);
            let first = if told { Phase::Closed } else { Phase::Available };
            assert_eq!(bench.tell(false), [(ID, first)]);
            bench.crash();
            let available = (!told).then_some((ID, Phase::Available));
            let both: Vec<_> = available.into_iter().chain([(ID, Phase::Closed)]).collect();
            assert_eq!(bench.tell(true), both);
            bench.crash();
            assert_eq!(bench.tell(true), []);
        }
    }

    #[test]
    fn a_crash_after_an_answer_tells_the_same_again_and_the_end_once() {
        let mut bench = Bench::new();
        bench.ledger.ready(ID, row("cam7"));
        let message = bench.next().unwrap();
        bench.ledger.outcome(&message, true, bench.now);
        // The answer came, and was not written before the process died.
        bench.crash();
        assert_eq!(bench.tell(true), [(ID, Phase::Available), (ID, Phase::Closed)]);
        assert_eq!(bench.disk.len(), 0);
    }

    #[test]
    fn an_end_that_waits_too_long_makes_room() {
        let mut bench = Bench::new();
        let id = |number: u32| {
            let mut bytes = [0; 16];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            StreamId(bytes)
        };
        let max = u32::try_from(ROWS_MAX).unwrap();
        for number in 0..max {
            bench.ledger.ready(id(number), row("cam7"));
        }
        bench.ledger.ready(id(max), row("late"));
        assert_eq!((bench.ledger.entries.len(), bench.ledger.counts().dropped), (ROWS_MAX, 1));
        bench.ledger.ended(id(7));
        bench.ledger.ready(id(max), row("late"));
        assert!(bench.ledger.entries.contains_key(&id(max)));
        assert!(!bench.ledger.entries.contains_key(&id(7)));
        assert_eq!(bench.ledger.entries.len(), ROWS_MAX);
    }

    #[test]
    fn long_words_of_many_outputs_are_bounded_and_the_newest_stay() {
        let mut bench = Bench::new();
        let id = |number: u128| StreamId(number.to_be_bytes());
        let channel = StreamName::parse("cam7").unwrap();
        for number in 0..600 {
            bench.ledger.ready(id(number), row("cam7"));
            for output in 0..OUTPUTS_MAX {
                let index_file = format!("{output:0>1000}");
                let output = Output { index_file, ..Output::live("cam7", id(number), "1x1-30") };
                bench.ledger.output(id(number), &channel, output);
            }
            bench.ledger.ended(id(number));
            assert!(bench.ledger.bytes <= LEDGER_BYTES_MAX);
        }
        let last = bench.ledger.entries.last_key_value().unwrap();
        assert_eq!((*last.0, last.1.row.outputs.len()), (id(599), OUTPUTS_MAX));
        assert!(!bench.ledger.entries.contains_key(&id(0)));
        assert_eq!(bench.ledger.counts().dropped, 600 - bench.ledger.entries.len() as u64);
        let counted = |ledger: &Ledger| ledger.entries.values().map(Entry::bytes).sum::<usize>();
        while bench.ledger.is_unsaved() {
            bench.save();
        }
        for taken in [true, false, true] {
            let message = bench.ledger.next(bench.now).unwrap();
            bench.ledger.outcome(&message, taken, bench.now);
            assert_eq!(bench.ledger.bytes, counted(&bench.ledger));
        }
    }

    #[test]
    fn what_is_over_and_told_takes_nothing() {
        let mut bench = Bench::new();
        let channel = StreamName::parse("cam7").unwrap();
        bench.ledger.ready(ID, row("cam7"));
        bench.ledger.output(ID, &channel, output(1));
        bench.ledger.ended(ID);
        assert!(bench.ledger.bytes > 0);
        assert_eq!(bench.tell(true).last(), Some(&(ID, Phase::Closed)));
        assert_eq!((bench.ledger.entries.len(), bench.ledger.bytes), (0, 0));
    }

    fn output(number: u32) -> Output {
        Output::live("cam7", ID, &format!("{number}x360-30"))
    }

    /// Tells all that is due, and of which output each message was.
    fn tell_outputs(bench: &mut Bench) -> Vec<(Phase, Option<Output>)> {
        let mut told = Vec::new();
        while let Some(message) = bench.next() {
            told.push((message.row.phase, message.row.outputs.front().cloned()));
            bench.ledger.outcome(&message, true, bench.now);
        }
        bench.save();
        told
    }

    #[test]
    fn outputs_are_told_in_their_order_and_the_end_after_all_of_them() {
        let mut bench = Bench::new();
        let channel = StreamName::parse("cam7").unwrap();
        for number in [1, 2, 2, 3] {
            bench.ledger.output(ID, &channel, output(number));
        }
        bench.ledger.ended(ID);
        bench.ledger.output(ID, &channel, output(4));
        let available = |number| (Phase::Available, Some(output(number)));
        let expected = [available(1), available(2), available(3), (Phase::Closed, None)];
        assert_eq!(tell_outputs(&mut bench), expected);
        assert_eq!((bench.disk.len(), bench.ledger.counts().told), (0, 4));
    }

    #[test]
    fn an_output_that_comes_late_is_told_and_so_is_what_is_made_here_afterwards() {
        let mut bench = Bench::new();
        let channel = StreamName::parse("cam7").unwrap();
        bench.ledger.output(ID, &channel, output(1));
        assert_eq!(tell_outputs(&mut bench).len(), 1);
        bench.ledger.output(ID, &channel, output(2));
        assert_eq!(tell_outputs(&mut bench), [(Phase::Available, Some(output(2)))]);
        // Its encoder died: the one of this node has it, and says so once.
        bench.ledger.ready(ID, row("cam7"));
        bench.ledger.ready(ID, row("cam7"));
        let here = Output::live("cam7", ID, "640x360-30");
        assert_eq!(tell_outputs(&mut bench), [(Phase::Available, Some(here))]);
        bench.crash();
        assert_eq!(tell_outputs(&mut bench), [(Phase::Closed, None)]);
    }

    #[test]
    fn outputs_survive_a_crash_wait_for_the_application_and_are_bounded() {
        let mut bench = Bench::new();
        let channel = StreamName::parse("cam7").unwrap();
        for number in 0..=u32::try_from(OUTPUTS_MAX).unwrap() {
            bench.ledger.output(ID, &channel, output(number));
        }
        assert_eq!(bench.ledger.counts().dropped, 1);
        assert_eq!(bench.tell(false), [(ID, Phase::Available)]);
        let due = bench.ledger.due().unwrap();
        bench.crash();
        assert_eq!(tell_outputs(&mut bench).len(), OUTPUTS_MAX + 1);
        // A new output does not make an application that fails be asked sooner.
        bench.ledger.output(NEXT, &channel, output(1));
        bench.tell(false);
        bench.ledger.output(NEXT, &channel, output(2));
        assert_eq!(bench.tell(false), []);
        assert!(bench.ledger.due().unwrap() >= due);
    }

    #[test]
    fn rows_are_written_some_at_a_time_by_their_bytes() {
        let mut ledger = Ledger::default();
        for id in [ID, NEXT] {
            ledger.ready(id, row("cam7"));
        }
        let first = ledger.take_unsaved(9, 1);
        assert_eq!(first.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [ID], "one there is");
        ledger.not_saved(&first);
        assert_eq!(ledger.take_unsaved(1, usize::MAX), first);
        assert_eq!(ledger.take_unsaved(9, 1).len(), 1);
        let long = "\"".repeat(512);
        let output = |number: u32| Output {
            resolution: long.clone(),
            index_file: format!("{number:03}{}", &long[3..]),
            ..output(number)
        };
        let mut row = row("cam7");
        row.outputs = (0..u32::try_from(OUTPUTS_MAX).unwrap()).map(output).collect();
        let kept = row.to_bytes().len();
        assert!((OUTPUTS_MAX * 1_024..OUTPUTS_MAX * OUTPUT_BYTES_MAX).contains(&kept), "{kept}");
        assert!((kept / 2..kept).contains(&row.bytes()), "{}", row.bytes());
    }

    #[test]
    fn rows_of_another_form_are_none() {
        let bytes = row("cam7").to_bytes();
        assert_eq!(Row::from_bytes(&bytes), Some(row("cam7")));
        let other = String::from_utf8(bytes).unwrap().replace("\"version\":1", "\"version\":2");
        assert_eq!(Row::from_bytes(other.as_bytes()), None);
        assert_eq!(Row::from_bytes(b"nonsense"), None);
    }
}
