//! Usage: what each stream used of this shard, by protocol: bytes on sockets, and time.
//!
//! ```text
//!   a session begins, a viewer is answered --> its connection is charged to a row
//!        received, sent --> the row of the connection, which keeps counting
//!        control plane asks for batch n --> what each row counted since batch n-1
//! ```
//!
//! A connection is charged to one row at a time, with whatever its socket carried before: its
//! handshake, the head of its request. It stays charged when its play is over, until it is charged
//! to another row or closed, so that the last words count, too. Rows count up and are never set
//! back; a batch is the difference to the one before, and is kept until the next one is asked for.
//!
//! What a send carried is known when it is answered, which may be after its connection was closed:
//! the row of such a send is kept aside.
//!
//! Lives on: its shard. Crosses by: mailbox, as batches.
//! Limits: [`ROWS_MAX`]; what finds no row is counted together, by protocol. A row without a
//! connection is given back once it is told. [`LATE_MAX`] sends of closed connections are awaited.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::shard::Shard;
use crate::control::{Event, Protocol, Role, Usage, UsageBatch, UsageRow};
use crate::ids::StreamName;
use crate::reactor::Token;
use crate::table;

/// Rows of one shard at most, besides those of what found none.
const ROWS_MAX: usize = 8_192;
/// Rows of one batch at most.
const BATCH_ROWS_MAX: usize = 512;
/// Sends of closed connections that are awaited at most.
const LATE_MAX: usize = 4_096;
/// The first rows are those of what found none, in the order of the protocols.
const OTHERS: usize = Protocol::ALL.len();
/// How often, and for how long each time, a shard that ends waits for room to tell what is left:
/// its connections, which all end at once, have that told, too.
const LAST_WAITS_MAX: u32 = 400;
const LAST_WAIT: Duration = Duration::from_millis(5);
/// A connection that is charged to nobody.
const NOBODY: u32 = u32::MAX;
/// Bytes of one row, its name and its places, about.
const ROW_BYTES: u64 = 320;
/// Bytes of all rows of one shard, and of the batch that is kept.
pub(crate) const USAGE_BYTES: u64 = (ROWS_MAX as u64 + BATCH_ROWS_MAX as u64) * ROW_BYTES;

/// The rows of a shard. See the module.
#[derive(Debug)]
pub(super) struct UsageTable {
    rows: Vec<Option<Row>>,
    free: Vec<u32>,
    at: HashMap<(StreamName, Protocol), u32>,
    /// By slot of a connection.
    charged: Vec<Charge>,
    /// Of closed connections: the row, and how many sends are awaited.
    late: HashMap<Token, (u32, usize)>,
    number: u64,
    last: Option<UsageBatch>,
    /// The row where the next batch goes on.
    next: usize,
}

/// What a connection is charged to.
#[derive(Clone, Copy, Debug)]
struct Charge {
    /// Its row.
    at: u32,
    /// What comes is what it publishes.
    publishes: bool,
}

impl Charge {
    const NONE: Self = Self { at: NOBODY, publishes: false };
}

#[derive(Debug)]
struct Row {
    stream: Option<StreamName>,
    protocol: Protocol,
    used: Usage,
    told: Usage,
    /// Bytes that were published since the batch before.
    published: u64,
    playing: u32,
    publishing: u32,
    /// Time was counted until then.
    since: Instant,
    /// Connections that are charged to it, their late sends, and views.
    holders: u32,
}

impl Row {
    const fn new(stream: Option<StreamName>, protocol: Protocol, since: Instant) -> Self {
        let nothing = Usage { bytes_in: 0, bytes_out: 0, play_us: 0, publish_us: 0 };
        let (used, told) = (nothing, nothing);
        let (published, playing, publishing, holders) = (0, 0, 0, 0);
        Self { stream, protocol, used, told, published, playing, publishing, since, holders }
    }

    /// Counts the time until `now`.
    fn settle(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since).as_micros() as u64;
        // What is less than a microsecond counts the next time.
        self.since += Duration::from_micros(passed);
        self.used.play_us += passed * u64::from(self.playing);
        self.used.publish_us += passed * u64::from(self.publishing);
    }

    const fn sessions(&mut self, role: Role) -> &mut u32 {
        match role {
            Role::Publish => &mut self.publishing,
            Role::Play => &mut self.playing,
        }
    }
}

impl UsageTable {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            rows: Protocol::ALL.map(|protocol| Some(Row::new(None, protocol, now))).into(),
            free: Vec::new(),
            at: HashMap::new(),
            charged: Vec::new(),
            late: HashMap::new(),
            number: 0,
            last: None,
            next: 0,
        }
    }

    /// Charges what the connection in `slot` sends and receives from now on, and `before` if it is
    /// charged to nobody yet: what it received and sent by now.
    pub(super) fn charge(
        &mut self,
        slot: u32,
        (stream, protocol): (&StreamName, Protocol),
        (received, sent): (u64, u64),
        now: Instant,
    ) {
        let held = self.charged.get(slot as usize).map_or(NOBODY, |charge| charge.at);
        if let Some(row) = self.row(held)
            && row.stream.as_ref() == Some(stream)
            && row.protocol == protocol
        {
            return;
        }
        let at = self.hold(stream, protocol, now);
        table::reach(&mut self.charged, slot as usize, Charge::NONE);
        self.charged[slot as usize] = Charge { at, publishes: false };
        if held == NOBODY
            && let Some(row) = self.row(at)
        {
            row.used.bytes_in += received;
            row.used.bytes_out += sent;
        }
        self.let_go(held);
    }

    /// True if the connection in `slot` is charged to somebody.
    pub(super) fn is_charged(&self, slot: u32) -> bool {
        self.charged.get(slot as usize).is_some_and(|charge| charge.at != NOBODY)
    }

    /// The connection of `token` is gone; `sends` of it that are on their way are charged all the
    /// same.
    pub(super) fn discharge(&mut self, token: Token, sends: usize) {
        let Some(charge) = self.charged.get_mut(token.slot as usize) else { return };
        let Charge { at, .. } = std::mem::replace(charge, Charge::NONE);
        if sends > 0 && at != NOBODY && self.late.len() < LATE_MAX {
            self.late.insert(token, (at, sends));
        } else {
            self.let_go(at);
        }
    }

    /// A send of a connection that is closed was answered.
    pub(super) fn sent_late(&mut self, token: Token, bytes: u64) {
        // Nobody pays for a look-up while nothing is awaited.
        if self.late.is_empty() {
            return;
        }
        let Some((at, awaited)) = self.late.get_mut(&token) else { return };
        *awaited -= 1;
        let (at, is_last) = (*at, *awaited == 0);
        if let Some(row) = self.row(at) {
            row.used.bytes_out += bytes;
        }
        if is_last {
            self.late.remove(&token);
            self.let_go(at);
        }
    }

    pub(super) fn received(&mut self, slot: u32, bytes: u64) {
        let Some(&Charge { at, publishes }) = self.charged.get(slot as usize) else { return };
        if let Some(row) = self.row(at) {
            row.used.bytes_in += bytes;
            row.published += if publishes { bytes } else { 0 };
        }
    }

    pub(super) fn sent(&mut self, slot: u32, bytes: u64) {
        if let Some(row) = self.row_of(slot) {
            row.used.bytes_out += bytes;
        }
    }

    /// A session of the connection in `slot` begins.
    pub(super) fn begin(&mut self, slot: u32, role: Role, now: Instant) {
        if let Some(row) = self.row_of(slot) {
            row.settle(now);
            *row.sessions(role) += 1;
        }
        self.publishes(slot, role == Role::Publish);
    }

    /// A session of the connection in `slot` is over.
    pub(super) fn end(&mut self, slot: u32, role: Role, now: Instant) {
        if let Some(row) = self.row_of(slot) {
            row.settle(now);
            let sessions = row.sessions(role);
            debug_assert!(*sessions > 0, "a session is over once");
            *sessions = sessions.saturating_sub(1);
        }
        self.publishes(slot, false);
    }

    /// A viewer of HLS begins to view: the row that it holds.
    pub(super) fn begin_view(&mut self, stream: &StreamName, now: Instant) -> u32 {
        let at = self.hold(stream, Protocol::Hls, now);
        if let Some(row) = self.row(at) {
            row.settle(now);
            row.playing += 1;
        }
        at
    }

    /// The view that holds this row is over.
    pub(super) fn end_view(&mut self, at: u32, now: Instant) {
        if let Some(row) = self.row(at) {
            row.settle(now);
            row.playing -= 1;
        }
        self.let_go(at);
    }

    /// The batch of this number: the next one, or the last one again.
    pub(super) fn batch(&mut self, asked: &UsageBatch, now: Instant) -> Option<UsageBatch> {
        if asked.number == self.number {
            return self.last.clone();
        }
        if asked.number != self.number + 1 {
            return None;
        }
        self.number = asked.number;
        let mut told = Vec::new();
        while self.next < self.rows.len() && told.len() < BATCH_ROWS_MAX {
            let at = self.next;
            self.next += 1;
            let Some(row) = &mut self.rows[at] else { continue };
            row.settle(now);
            let used = row.used.since(row.told);
            if !used.is_nothing() {
                row.told = row.used;
                let publish_bytes_in = std::mem::take(&mut row.published);
                let (stream, protocol) = (row.stream.clone(), row.protocol);
                told.push(UsageRow { stream, protocol, used, publish_bytes_in });
            } else if row.holders == 0 && at >= OTHERS {
                self.give_back(at);
            }
        }
        let more = self.next < self.rows.len();
        if !more {
            self.next = 0;
        }
        let batch = UsageBatch { rows: Arc::from(told), more, ..asked.clone() };
        self.last = Some(batch.clone());
        Some(batch)
    }

    fn give_back(&mut self, at: usize) {
        let Some(Row { stream: Some(stream), protocol, .. }) = self.rows[at].take() else { return };
        self.at.remove(&(stream, protocol));
        self.free.push(at as u32);
    }

    /// The row of a stream and a protocol, for one holder more.
    fn hold(&mut self, stream: &StreamName, protocol: Protocol, now: Instant) -> u32 {
        let key = (stream.clone(), protocol);
        let at = match self.at.get(&key) {
            Some(&at) => at,
            None if self.at.len() >= ROWS_MAX => protocol as u32,
            None => {
                let row = Some(Row::new(Some(stream.clone()), protocol, now));
                let at = match self.free.pop() {
                    Some(at) => {
                        self.rows[at as usize] = row;
                        at
                    }
                    None => {
                        self.rows.push(row);
                        u32::try_from(self.rows.len() - 1).expect("ROWS_MAX is under 32 bits")
                    }
                };
                self.at.insert(key, at);
                at
            }
        };
        if let Some(row) = self.row(at) {
            row.holders += 1;
        }
        at
    }

    fn let_go(&mut self, at: u32) {
        if let Some(row) = self.row(at) {
            row.holders -= 1;
        }
    }

    fn row(&mut self, at: u32) -> Option<&mut Row> {
        self.rows.get_mut(at as usize)?.as_mut()
    }

    fn row_of(&mut self, slot: u32) -> Option<&mut Row> {
        let Charge { at, .. } = *self.charged.get(slot as usize)?;
        self.row(at)
    }

    fn publishes(&mut self, slot: u32, publishes: bool) {
        if let Some(charge) = self.charged.get_mut(slot as usize) {
            charge.publishes = publishes;
        }
    }
}

impl Shard {
    /// The control plane asks for a batch; with a full mailbox there is no answer, and it asks
    /// again.
    pub(super) fn tell_usage(&mut self, number: u64) {
        let asked = self.empty_batch(number);
        let Some(batch) = self.usage.batch(&asked, self.now) else { return };
        self.send_usage(batch);
    }

    /// The thread ends: what was used is told while there is somebody to hear it.
    pub(super) fn tell_last_usage(&mut self) {
        let mut waits = LAST_WAITS_MAX;
        if let Some(last) = self.usage.last.clone() {
            self.insist(last, &mut waits);
        }
        loop {
            let asked = self.empty_batch(self.usage.number + 1);
            let Some(batch) = self.usage.batch(&asked, self.now) else { return };
            let more = batch.more;
            self.insist(batch, &mut waits);
            if !more {
                return;
            }
        }
    }

    /// Tells a batch that nobody will ask for again, and waits for room if it must.
    fn insist(&mut self, batch: UsageBatch, waits: &mut u32) {
        let mut event = Event::Usage(Box::new(batch));
        while let Err(refused) = self.control.send(event) {
            if *waits == 0 {
                self.counters.events_lost += 1;
                return;
            }
            (*waits, event) = (*waits - 1, refused);
            self.reactor.submit_and_wait(Some(LAST_WAIT));
            self.reap();
        }
    }

    fn empty_batch(&self, number: u64) -> UsageBatch {
        let (shard, at_ms) = (self.id, self.unix_ms());
        UsageBatch { shard, number, at_ms, rows: Arc::from([]), more: false }
    }

    fn send_usage(&mut self, batch: UsageBatch) {
        if self.control.send(Event::Usage(Box::new(batch))).is_err() {
            self.counters.mailbox_full += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ShardId;

    const SECOND: Duration = Duration::from_secs(1);

    #[expect(clippy::disallowed_methods, reason = "a test needs some origin of time")]
    fn origin() -> Instant {
        Instant::now()
    }

    fn name(text: &str) -> StreamName {
        StreamName::parse(text).unwrap()
    }

    fn ask(table: &mut UsageTable, number: u64, now: Instant) -> Option<UsageBatch> {
        let asked =
            UsageBatch { shard: ShardId(0), number, at_ms: 0, rows: Arc::from([]), more: false };
        table.batch(&asked, now)
    }

    /// The rows in words: stream, bytes in, bytes out.
    fn told(batch: &UsageBatch) -> Vec<String> {
        let row = |UsageRow { stream, used, .. }: &UsageRow| {
            let stream = stream.as_ref().map_or("-", StreamName::as_str);
            format!("{stream} {} {}", used.bytes_in, used.bytes_out)
        };
        batch.rows.iter().map(row).collect()
    }

    #[test]
    fn each_use_is_in_one_batch_however_often_that_is_asked_for() {
        let now = origin();
        let mut table = UsageTable::new(now);
        table.received(7, 5);
        table.charge(7, (&name("a"), Protocol::Rtmp), (1_000, 2_000), now);
        table.received(7, 10);
        table.sent(7, 20);
        // Nobody asks for a number out of turn.
        assert!(ask(&mut table, 2, now).is_none() && ask(&mut table, 0, now).is_none());
        let first = ask(&mut table, 1, now).unwrap();
        assert_eq!(told(&first), ["a 1010 2020"]);
        table.sent(7, 3);
        let again = ask(&mut table, 1, now).unwrap();
        assert_eq!(told(&again), told(&first), "what came since is not in it");
        assert_eq!(told(&ask(&mut table, 2, now).unwrap()), ["a 0 3"]);
        assert!(ask(&mut table, 1, now).is_none(), "nobody asks for what was heard");
        assert!(told(&ask(&mut table, 3, now).unwrap()).is_empty());
    }

    #[test]
    fn a_connection_is_charged_to_one_stream_at_a_time_and_its_past_once() {
        let now = origin();
        let mut table = UsageTable::new(now);
        table.charge(0, (&name("a"), Protocol::Hls), (100, 0), now);
        table.charge(0, (&name("a"), Protocol::Hls), (500, 500), now);
        table.sent(0, 1);
        table.charge(0, (&name("b"), Protocol::Hls), (900, 900), now);
        table.sent(0, 2);
        // Sends that were under way when it was closed are answered later, another is not.
        let token = Token::new(0, 3);
        table.discharge(token, 2);
        table.sent(0, 1_000);
        table.sent_late(token, 3);
        table.sent_late(token, 1);
        table.sent_late(token, 1_000);
        let batch = ask(&mut table, 1, now).unwrap();
        assert_eq!(told(&batch), ["a 100 1", "b 0 6"]);
        // Both are told and held by nobody: their rows are free.
        assert!(ask(&mut table, 2, now).unwrap().rows.is_empty());
        assert_eq!((table.at.len(), table.free.len()), (0, 2));
        table.charge(1, (&name("c"), Protocol::Rtmp), (0, 0), now);
        assert_eq!(table.rows.len(), OTHERS + 2);
    }

    #[test]
    fn what_players_send_is_not_what_is_published() {
        let now = origin();
        let mut table = UsageTable::new(now);
        for slot in 0..2 {
            table.charge(slot, (&name("a"), Protocol::Rtmp), (1_000, 0), now);
        }
        table.begin(0, Role::Publish, now);
        table.begin(1, Role::Play, now);
        table.received(0, 20);
        table.received(1, 300);
        let row = |batch: UsageBatch| {
            let row = &batch.rows[0];
            (row.used.bytes_in, row.publish_bytes_in)
        };
        assert_eq!(row(ask(&mut table, 1, now).unwrap()), (2_320, 20));
        table.received(0, 4);
        table.end(0, Role::Publish, now);
        table.received(0, 50);
        assert_eq!(row(ask(&mut table, 2, now).unwrap()), (54, 4), "it publishes no more");
        // Who comes next in this place is another one.
        table.begin(0, Role::Publish, now);
        table.end(0, Role::Publish, now);
        table.discharge(Token::new(0, 0), 0);
        table.charge(0, (&name("a"), Protocol::Rtmp), (0, 0), now);
        table.received(0, 7);
        assert_eq!(row(ask(&mut table, 3, now).unwrap()), (7, 0));
    }

    #[test]
    fn time_is_that_of_all_sessions_to_the_microsecond() {
        let now = origin();
        let mut table = UsageTable::new(now);
        for slot in 0..3 {
            table.charge(slot, (&name("a"), Protocol::Rtmp), (0, 0), now);
        }
        table.begin(0, Role::Publish, now);
        table.begin(1, Role::Play, now);
        table.begin(2, Role::Play, now + SECOND);
        let nearly = now + 3 * SECOND - Duration::from_nanos(1);
        let used = |batch: UsageBatch| {
            batch.rows.iter().map(|r| r.used).fold(Usage::default(), Usage::and)
        };
        let first = used(ask(&mut table, 1, nearly).unwrap());
        assert_eq!((first.publish_us, first.play_us), (2_999_999, 2_999_999 + 1_999_999));
        table.end(1, Role::Play, now + 3 * SECOND);
        let second = used(ask(&mut table, 2, now + 5 * SECOND).unwrap());
        assert_eq!(second.publish_us, 2_000_001);
        assert_eq!(second.play_us, 1 + 1 + 2_000_000, "one is over, and one goes on");
        let held = table.begin_view(&name("a"), now + 5 * SECOND);
        table.end_view(held, now + 6 * SECOND);
        let third = ask(&mut table, 3, now + 6 * SECOND).unwrap();
        let hls = third.rows.iter().find(|row| row.protocol == Protocol::Hls).unwrap();
        assert_eq!(hls.used, Usage { play_us: 1_000_000, ..Usage::default() });
    }

    #[test]
    fn rows_are_bounded_and_what_finds_none_is_counted_together() {
        let now = origin();
        let mut table = UsageTable::new(now);
        let streams = ROWS_MAX as u32 + 10;
        for slot in 0..streams {
            table.charge(slot, (&name(&format!("s{slot}")), Protocol::Rtmp), (1, 0), now);
            table.begin(slot, Role::Play, now);
        }
        let (mut rows, mut number) = (Vec::new(), 0);
        loop {
            number += 1;
            let batch = ask(&mut table, number, now).unwrap();
            assert!(batch.rows.len() <= BATCH_ROWS_MAX);
            rows.extend(batch.rows.iter().cloned());
            if !batch.more {
                break;
            }
        }
        assert_eq!(rows.len(), ROWS_MAX + 1);
        assert_eq!(rows.iter().map(|row| row.used.bytes_in).sum::<u64>(), u64::from(streams));
        let others = rows.iter().find(|row| row.stream.is_none()).unwrap();
        assert_eq!((others.used.bytes_in, others.protocol), (10, Protocol::Rtmp));
        for slot in 0..streams {
            table.end(slot, Role::Play, now);
            table.discharge(Token::new(slot, 0), 0);
        }
        loop {
            number += 1;
            if !ask(&mut table, number, now).unwrap().more {
                break;
            }
        }
        assert_eq!(table.at.len(), 0);
        assert!(table.rows[..OTHERS].iter().all(Option::is_some), "those are never given back");
    }
}
