//! Keeping: penalties survive a restart, as one row of the store.
//!
//! ```text
//!   Book --changed--> Keeper, at most each KEEP_EVERY and at the end --snapshot--> store
//!     ^                                                                              |
//!     +------------------ those that are not over, before anybody comes -------------+
//! ```
//!
//! What is kept are penalties in force, each with how many there were before it, and those that are
//! over and not forgotten, because the next one is longer by them. Guesses that have begun none are
//! forgotten by a restart. A process that is killed loses what changed since it was written.
//!
//! Shape: `{"v":1,"penalties":[["192.0.2.1/32",BEGAN_MS,UNTIL_MS,STRIKES,GUESSES,REFUSED,"why"]],
//! "over":[...]}`; of those that are over, until when they are remembered.
//! Limits: [`KEPT_BYTES_MAX`], which the rows of a full book fit in; nothing is written while
//! nothing begins or ends.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dataplane::config::AddrRange;
use dataplane::rates::{address_of, prefix_of};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::book::{Book, Row};
use super::rules::Access;
use super::warden::Warden;
use crate::config::parse_range;
use crate::store::{Store, StoreError, Table, VALUE_BYTES_MAX, Write};

/// What changed is written this long after it, with all that changes meanwhile.
const KEEP_EVERY: Duration = Duration::from_secs(10);
/// What is kept is waited for so long before anybody comes.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Bytes of what is kept at most.
const KEPT_BYTES_MAX: usize = VALUE_BYTES_MAX;
/// Bytes of why a penalty began at most.
const REASON_BYTES_MAX: usize = 32;
const KEY: &[u8] = b"penalties";
const VERSION: u32 = 1;

/// What is kept of one row: whose, when it began and ends in milliseconds since 1970, how many
/// there were with it, guesses, refusals, and what the last guess was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept(String, u64, u64, u32, u64, u64, Cow<'static, str>);

/// What is kept of a book.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Snapshot {
    v: u32,
    penalties: Vec<Kept>,
    #[serde(default)]
    over: Vec<Kept>,
}

impl Snapshot {
    pub(super) fn of(book: &Book, now: Instant) -> Self {
        let penalties = book.penalties().map(|row| Kept::of(row, now)).collect();
        let over = book.over().map(|row| Kept::of(row, now)).collect();
        Self { v: VERSION, penalties, over }
    }

    /// Each row, and whether its penalty was over already; those in force come first.
    pub(super) fn rows(self) -> impl Iterator<Item = (Kept, bool)> {
        let penalties = self.penalties.into_iter().map(|kept| (kept, false));
        penalties.chain(self.over.into_iter().map(|kept| (kept, true)))
    }
}

impl Kept {
    fn of((whose, row, until): (&AddrRange, &Row, Instant), now: Instant) -> Self {
        let wall = SystemTime::now();
        Self(
            whose.to_string(),
            millis(wall - now.saturating_duration_since(row.began)),
            millis(wall + until.saturating_duration_since(now)),
            row.strikes,
            row.guesses,
            row.refused,
            row.reason.clone(),
        )
    }

    /// The range and the row, and how much longer it lasts; `None` if it is forgotten, of somebody
    /// whom `access` binds no more, or makes no sense.
    pub(super) fn restored(
        self,
        is_over: bool,
        access: &Access,
        now: Instant,
    ) -> Option<(AddrRange, Row, Duration)> {
        let Self(whose, began, until, strikes, guesses, refused, reason) = self;
        let whose = parse_range(&whose)?;
        let wall = millis(SystemTime::now());
        let rules = &access.penalties;
        let left = |until: u64| until.checked_sub(wall).filter(|&left| left > 0);
        let in_force = left(until).filter(|_| !is_over);
        // One that ended meanwhile is remembered since then.
        let longest = u64::try_from(rules.longest.as_millis()).unwrap_or(u64::MAX);
        let forgotten = if is_over { until } else { until.saturating_add(longest) };
        let lasts = Duration::from_millis(in_force.or_else(|| left(forgotten))?);
        // The clock may have been put back meanwhile.
        let lasts = lasts.min(rules.longest.max(rules.first));
        let ago = Duration::from_millis(wall.saturating_sub(began));
        let began = now.checked_sub(ago).unwrap_or(now);
        let is_one = whose == address_of(whose.addr) || whose == prefix_of(whose.addr);
        let is_bound = is_one && !access.frees(&whose);
        let legal = is_bound && reason.len() <= REASON_BYTES_MAX && strikes > 0;
        let row = Row::penalised(began, (strikes, guesses, refused), reason);
        let row = if in_force.is_some() { row } else { row.over() };
        legal.then_some((whose, row, lasts))
    }
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Keeps the penalties of a warden in a store. Lives on: the control thread and tasks of it.
#[derive(Clone, Debug)]
pub struct Keeper {
    warden: Warden,
    store: Store,
    /// Held while the store reads or writes: whoever comes next looks at what became of that. True
    /// once what the last run has kept was read.
    turn: Arc<Mutex<bool>>,
}

impl Keeper {
    /// One that has read nothing yet.
    #[must_use]
    pub fn new(warden: Warden, store: Store) -> Self {
        Self { warden, store, turn: Arc::default() }
    }

    /// Goes on with what the last run has kept, before anybody comes. A slow disk keeps nobody from
    /// coming: what it gives later goes on then.
    pub async fn resume(&self) {
        let read = self.load(Instant::now());
        if tokio::time::timeout(FIRST_WAIT, read).await.is_err() {
            tracing::warn!("the disk is slow: penalties of the last run go on later");
        }
    }

    /// Goes on with what was not read yet, and keeps what changes from now on.
    pub async fn start(&self) {
        self.load(Instant::now()).await;
        tokio::spawn(self.clone().run());
    }

    /// Goes on with the penalties of the last run that are not over. What cannot be read is told,
    /// and none of it goes on.
    async fn load(&self, now: Instant) {
        let mut is_read = self.turn.lock().await;
        if *is_read {
            return;
        }
        let kept = match self.store.get(Table::Meta, KEY.to_vec()).await {
            Ok(kept) => kept.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(reason = %error, "cannot read the penalties of the last run");
                return;
            }
        };
        *is_read = true;
        if kept.is_empty() {
            return;
        }
        match serde_json::from_slice::<Snapshot>(&kept) {
            Ok(kept) if kept.v == VERSION => {
                let (all, going_on) = (kept.penalties.len(), self.warden.restore(kept, now));
                tracing::info!(going_on, over = all - going_on, "penalties of the last run");
            }
            Ok(Snapshot { v, .. }) => {
                tracing::warn!(v, "penalties of the last run are of another version: none goes on");
            }
            Err(error) => {
                tracing::warn!(reason = %error, "penalties of the last run make no sense");
            }
        }
    }

    /// Writes down what changed, again and again.
    async fn run(self) {
        loop {
            tokio::time::sleep(KEEP_EVERY).await;
            let _ = self.keep(Instant::now()).await;
        }
    }

    /// Writes down what changed by `deadline`, because nobody will later.
    pub async fn close(&self, deadline: Instant) {
        match tokio::time::timeout_at(deadline.into(), self.keep(Instant::now())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(reason = %error, "penalties of the last seconds are lost");
            }
            Err(_) => {
                tracing::error!("the disk is too slow: penalties of the last seconds are lost");
            }
        }
    }

    /// Writes down what changed since the last time: all that is in force is on the disk then.
    ///
    /// Errors: the store does not take it, and it is tried again the next time.
    async fn keep(&self, now: Instant) -> Result<(), StoreError> {
        // What is under way may fail yet, and is to be written again then.
        let _turn = self.turn.lock().await;
        let Some(snapshot) = self.warden.changed(now) else { return Ok(()) };
        let value = encoded(&snapshot);
        let write = Write { table: Table::Meta, key: KEY.to_vec(), value: Some(value) };
        let kept = self.store.commit(vec![write]).await;
        if let Err(error) = &kept {
            // A disk that failed is told by the store, once.
            tracing::debug!(reason = %error, "cannot write penalties yet");
            self.warden.change();
        }
        kept
    }
}

fn encoded(snapshot: &Snapshot) -> Vec<u8> {
    let value = serde_json::to_vec(snapshot).expect("it is plain text");
    assert!(value.len() <= KEPT_BYTES_MAX, "a full book fits");
    value
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use dataplane::rates::Penalties;

    use super::super::book::ROWS_MAX;
    use super::super::warden::Refused;
    use super::*;
    use crate::store::Disk;

    const SECOND: Duration = Duration::from_secs(1);

    /// A node of which whoever guesses twice is refused, and its store.
    fn node(store: &Store) -> (Keeper, Arc<Penalties>) {
        let table = Arc::<Penalties>::default();
        let warden = Warden::new(Arc::clone(&table));
        let mut access = Access::default();
        access.penalties.guesses_max = 2;
        access.penalties.prefix_guesses_max = 512;
        warden.set_access(access);
        (Keeper::new(warden, store.clone()), table)
    }

    fn in_force(penalties: Vec<Kept>) -> Snapshot {
        Snapshot { v: VERSION, penalties, over: Vec::new() }
    }

    fn guess(keeper: &Keeper, peer: &str, numbers: std::ops::Range<u32>, now: Instant) {
        for guess in numbers {
            let (peer, guess) = (peer.parse().unwrap(), Some(guess));
            let (listener, proto, reason) = ("rtmp", "rtmp", "forbidden");
            let refused = Refused { peer, listener, proto, stream: None, reason, guess };
            keeper.warden.refused(&refused, now);
        }
    }

    #[tokio::test]
    async fn a_penalty_goes_on_in_the_next_run_as_it_was() {
        let (disk, now) = (Disk::default(), Instant::now());
        let store = disk.store();
        let (keeper, _) = node(&store);
        assert_eq!(keeper.keep(now).await, Ok(()));
        assert_eq!(store.get(Table::Meta, KEY.to_vec()).await, Ok(None), "nothing has begun");
        guess(&keeper, "192.0.2.1", 0..2, now);
        guess(&keeper, "2001:db8::1", 0..2, now);
        guess(&keeper, "192.0.2.9", 0..1, now);
        // The second one of that address, which lasts twice as long.
        keeper.warden.tick(now + 61 * SECOND);
        let began = now + 61 * SECOND;
        guess(&keeper, "192.0.2.1", 2..4, began);
        assert_eq!(keeper.keep(began).await, Ok(()));
        let before = keeper.warden.penalties(began);
        assert_eq!(before.len(), 1, "that of IPv6 is over");

        let (next, table) = node(&store);
        next.load(began).await;
        let [after] = &next.warden.penalties(began)[..] else { panic!("one goes on") };
        assert_eq!((after.strikes, after.guesses, &*after.reason), (2, 4, "forbidden"));
        assert_eq!(after.whose, before[0].whose);
        let of = |peer: &str| peer.parse::<IpAddr>().unwrap();
        let left = table.left(of("192.0.2.1"), began).unwrap();
        assert!(left <= 120 * SECOND && left > 50 * SECOND, "{left:?}");
        assert_eq!([of("192.0.2.9"), of("2001:db8::1")].map(|of| table.left(of, began)), [None; 2]);
        // It ends as one that began here, and the next one is longer still.
        let end = began + left + SECOND;
        next.warden.tick(end);
        assert!(next.warden.penalties(end).is_empty());
        guess(&next, "192.0.2.1", 10..12, end);
        assert_eq!(next.warden.penalties(end)[0].strikes, 3);
        // One that is lifted is over in the run after, too.
        assert_eq!(next.keep(end).await, Ok(()));
        assert!(next.warden.lift(&after.whose, end));
        assert_eq!(next.keep(end).await, Ok(()));
        let (last, _) = node(&store);
        last.load(end).await;
        assert!(last.warden.penalties(end).is_empty());
    }

    #[tokio::test]
    async fn refusals_write_nothing_and_a_disk_that_fails_is_tried_again() {
        let (disk, now) = (Disk::default(), Instant::now());
        let store = disk.store();
        let (keeper, _) = node(&store);
        guess(&keeper, "192.0.2.1", 0..2, now);
        assert_eq!(keeper.keep(now).await, Ok(()));
        let (commits, ..) = store.counters();
        for _ in 0..1_000 {
            guess(&keeper, "192.0.2.1", 0..2, now);
            assert!(!keeper.warden.admits("192.0.2.1".parse().unwrap(), "control", now));
            assert_eq!(keeper.keep(now).await, Ok(()));
        }
        assert_eq!(store.counters().0, commits);
        disk.fail_after(0);
        guess(&keeper, "192.0.2.2", 0..2, now);
        assert!(keeper.keep(now).await.is_err());
        disk.repair_for(&store);
        assert_eq!(keeper.keep(now).await, Ok(()));
        let (next, _) = node(&store);
        next.load(now).await;
        assert_eq!(next.warden.penalties(now).len(), 2);
    }

    #[tokio::test]
    async fn the_end_waits_for_what_is_under_way_and_looks_again() {
        for fails in [false, true] {
            let (disk, now) = (Disk::default(), Instant::now());
            let store = disk.store();
            let (keeper, _) = node(&store);
            guess(&keeper, "192.0.2.1", 0..2, now);
            let held = disk.hold();
            let first = keeper.clone();
            let first = tokio::spawn(async move { first.keep(now).await });
            tokio::task::yield_now().await;
            held.wait();
            guess(&keeper, "192.0.2.2", 0..2, now);
            let mut last = std::pin::pin!(keeper.keep(now));
            let early = tokio::time::timeout(Duration::ZERO, &mut last).await;
            assert!(early.is_err(), "it is not on the disk yet: {early:?}");
            if fails {
                disk.fail_after(0);
            }
            drop(held);
            for kept in [first.await.unwrap(), last.await] {
                assert_eq!(kept.is_err(), fails, "{kept:?}");
            }
            if fails {
                disk.repair_for(&store);
                keeper.close(Instant::now() + 30 * SECOND).await;
            }
            let (next, _) = node(&store);
            next.load(now).await;
            assert_eq!(next.warden.penalties(now).len(), 2);
        }
    }

    #[tokio::test]
    async fn what_has_passed_of_a_penalty_is_not_begun_anew() {
        let (store, now) = (Disk::default().store(), Instant::now());
        let (keeper, table) = node(&store);
        let wall = millis(SystemTime::now());
        let (began, until) = (wall - 30_000, wall + 30_000);
        let kept = Kept("192.0.2.1/32".into(), began, until, 1, 2, 3, "forbidden".into());
        assert_eq!(keeper.warden.restore(in_force(vec![kept]), now), 1);
        let left = table.left("192.0.2.1".parse().unwrap(), now).unwrap();
        assert!(left <= 30 * SECOND, "{left:?}");
        // Nor by another restart.
        keeper.warden.change();
        assert_eq!(keeper.keep(now).await, Ok(()));
        let (next, table) = node(&store);
        next.load(now).await;
        let left_then = table.left("192.0.2.1".parse().unwrap(), now).unwrap();
        assert!(left_then <= left + SECOND, "{left_then:?}");
    }

    #[tokio::test]
    async fn who_begins_again_after_a_restart_is_no_stranger() {
        let (store, now) = (Disk::default().store(), Instant::now());
        let (keeper, _) = node(&store);
        guess(&keeper, "192.0.2.1", 0..2, now);
        let over = now + 61 * SECOND;
        keeper.warden.tick(over);
        assert_eq!(keeper.keep(over).await, Ok(()));
        let (next, table) = node(&store);
        next.load(over).await;
        let strikes = |guesser: &str| {
            assert_eq!(table.left(guesser.parse().unwrap(), over), None);
            guess(&next, guesser, 10..12, over);
            let penalties = next.warden.penalties(over);
            penalties.iter().find(|it| it.whose.contains(guesser.parse().unwrap())).unwrap().strikes
        };
        assert_eq!(strikes("192.0.2.1"), 2);
        // Some end while nothing runs, and some are forgotten meanwhile.
        let wall = millis(SystemTime::now());
        let longest = 3_600_000;
        let kept = |whose: &str, until| Kept(whose.into(), 1, until, 3, 4, 5, "forbidden".into());
        let ended = kept("192.0.2.2/32", wall - 1_000);
        let forgotten = kept("192.0.2.3/32", wall - longest - 1);
        let penalties = vec![ended, forgotten];
        let over_before = vec![kept("192.0.2.4/32", wall + longest), kept("192.0.2.5/32", wall)];
        let snapshot = Snapshot { v: VERSION, penalties, over: over_before };
        assert_eq!(next.warden.restore(snapshot, over), 0);
        let told = ["192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5"].map(strikes);
        assert_eq!(told, [4, 1, 4, 1]);
    }

    #[tokio::test]
    async fn a_range_goes_on_as_long_as_any_of_it_is_bound() {
        let (store, now) = (Disk::default().store(), Instant::now());
        let range = |text: &str| parse_range(text).unwrap();
        for (whose, exempt, proxies, goes_on) in [
            ("203.0.113.0/24", "203.0.113.0/30", "203.0.113.0/28", true),
            ("203.0.113.0/24", "203.0.113.0/24", "10.0.0.1/32", false),
            ("203.0.113.0/24", "10.0.0.0/8", "203.0.0.0/16", false),
            ("203.0.113.7/32", "203.0.113.8/32", "10.0.0.1/32", true),
            ("203.0.113.7/32", "203.0.113.0/24", "10.0.0.1/32", false),
            ("2001:db8:0:1::/64", "2001:db8:0:1::1/128", "0.0.0.0/0", true),
            ("2001:db8:0:1::/64", "10.0.0.0/8", "2001:db8::/32", false),
            ("2001:db8::/56", "2001:db8::/64", "10.0.0.1/32", true),
            ("2001:db8::/56", "::/0", "10.0.0.1/32", false),
        ] {
            let (keeper, table) = node(&store);
            let (exempt, proxies) = (vec![range(exempt)], vec![range(proxies)]);
            keeper.warden.set_access(Access { exempt, proxies, ..Access::default() });
            let row = Row::penalised(now, (1, 3, 4), "forbidden".into());
            let whose = range(whose);
            let kept = Kept::of((&whose, &row, now + 60 * SECOND), now);
            let restored = keeper.warden.restore(in_force(vec![kept]), now);
            assert_eq!(restored, usize::from(goes_on), "{whose}");
            assert_eq!(table.left_of(&whose, now).is_some(), goes_on, "{whose}");
        }
    }

    #[tokio::test]
    async fn what_makes_no_sense_goes_on_for_nobody_and_keeps_nobody_from_starting() {
        let (disk, now) = (Disk::default(), Instant::now());
        let store = disk.store();
        let far = u64::MAX / 2;
        let row = |range: &str, until: u64, strikes: u32, why: &str| {
            serde_json::json!([range, 1, until, strikes, 3, 4, why]).to_string()
        };
        let rows = [
            row("192.0.2.1/32", far, 1, "forbidden"),
            row("192.0.2.1/32", far, 9, "twice"),
            row("192.0.2.2/32", 5, 1, "over"),
            row("nobody", far, 1, "no range"),
            row("192.0.2.3/32", far, 1, &"x".repeat(REASON_BYTES_MAX + 1)),
            row("192.0.2.4/32", far, 0, "none"),
            row("127.0.0.1/32", far, 1, "exempt"),
            row("10.0.0.0/8", far, 1, "no address and no prefix"),
        ]
        .join(",");
        let whole = format!("{{\"v\":1,\"penalties\":[{rows}]}}");
        for (text, going_on) in [
            (whole.as_str(), 1),
            (&whole.replace("\"v\":1", "\"v\":2"), 0),
            (&whole[..whole.len() - 3], 0),
            ("\u{0}", 0),
            ("{\"v\":1,\"penalties\":[[]]}", 0),
        ] {
            let value = Some(text.as_bytes().to_vec());
            let write = Write { table: Table::Meta, key: KEY.to_vec(), value };
            store.commit(vec![write]).await.unwrap();
            let (keeper, table) = node(&store);
            keeper.load(now).await;
            assert_eq!(keeper.warden.penalties(now).len(), going_on, "{text}");
            let left = table.left("192.0.2.1".parse().unwrap(), now);
            let longest = Access::default().penalties.longest;
            assert_eq!(left, (going_on > 0).then_some(longest), "not for ever: {text}");
        }
    }

    #[test]
    fn a_full_book_fits_in_what_is_kept() {
        let now = Instant::now();
        let row = Row::penalised(now, (u32::MAX, u64::MAX, u64::MAX), "x".repeat(32).into());
        let whose = AddrRange { addr: Ipv6Addr::from([0xfedc; 8]).into(), bits: 128 };
        let kept = (0..ROWS_MAX).map(|_| Kept::of((&whose, &row, now), now)).collect();
        let bytes = encoded(&in_force(kept)).len();
        assert!(bytes <= KEPT_BYTES_MAX / 4 * 3, "{bytes}");
    }
}
