//! Crash: the power is cut at every operation on the file, and what is found afterwards is right.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::database::Database;
use super::disk::{Disk, Loss, scramble};
use super::mending::{Condition, Mending, PROOF_BYTES_MIN, WAIT_MAX};
use super::order::{Table, Write};
use super::undo::{UNDO_BYTES_MAX, Undo};

/// Commits of the script.
const COMMITS: usize = 6;
/// Rows that every commit replaces.
const ROWS: usize = 5;

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// The `n`-th commit: some rows replaced, one made, one deleted, one that needs pages of its own.
fn commit(n: usize) -> Vec<Write> {
    let put = |key: String, value: Vec<u8>| Write {
        table: Table::Streams,
        key: key.into_bytes(),
        value: Some(value),
    };
    let mut writes: Vec<_> =
        (0..ROWS).map(|row| put(format!("row {row}"), vec![n as u8; 50 + 30 * n])).collect();
    writes.push(put(format!("made {n}"), vec![n as u8; 9_000]));
    if let Some(before) = n.checked_sub(2) {
        let key = format!("made {before}").into_bytes();
        writes.push(Write { table: Table::Streams, key, value: None });
    }
    writes
}

/// What is stored after the first `commits`.
fn state(commits: usize) -> Rows {
    let mut rows = Rows::new();
    for Write { key, value, .. } in (0..commits).flat_map(commit) {
        match value {
            Some(value) => drop(rows.insert(key, value)),
            None => drop(rows.remove(&key)),
        }
    }
    rows
}

/// Opens the tables and commits on until the disk fails; how many commits were acknowledged.
fn play(disk: &Disk, from: usize) -> usize {
    let Ok(database) = Database::open(disk.backend()) else { return from };
    (from..COMMITS)
        .find(|&n| database.commit(&[commit(n)], &mut Undo::within(UNDO_BYTES_MAX)).is_err())
        .unwrap_or(COMMITS)
}

/// How many commits are stored whole, which are those acknowledged or one more.
fn found(disk: &Disk, acknowledged: usize, what: &str) -> usize {
    let database = match Database::open(disk.backend()) {
        Ok(database) => database,
        Err(error) => panic!("{what}: {error:?}"),
    };
    let rows: Rows = database.scan(Table::Streams, b"", 1_000).unwrap().into_iter().collect();
    let whole = (acknowledged..=COMMITS.min(acknowledged + 1)).find(|&n| rows == state(n));
    whole.unwrap_or_else(|| panic!("{what}: {acknowledged} acknowledged, found {:?}", rows.keys()))
}

#[test]
fn nothing_acknowledged_is_lost_wherever_the_power_is_cut() {
    // A store gets its name when it is whole: what is cut before leaves no store.
    let empty = Disk::default();
    drop(Database::open(empty.backend()).unwrap());
    let whole = empty.after_crash(Loss::All);
    assert_eq!(play(&whole, 0), COMMITS);
    let operations = whole.done();
    let losses = [Loss::All, Loss::None, Loss::Some(1), Loss::Some(2), Loss::Some(3)];
    let mut cuts = 0;
    for at in 0..operations {
        let disk = empty.after_crash(Loss::All);
        disk.fail_after(at);
        let acknowledged = play(&disk, 0);
        for loss in losses {
            let seeded = match loss {
                Loss::Some(seed) => Loss::Some(scramble(seed ^ (at << 8))),
                loss => loss,
            };
            let what = format!("cut at {at}, {seeded:?}");
            let crashed = disk.after_crash(seeded);
            // The power goes again while the file is being mended.
            let again = crashed.after_crash(Loss::All);
            again.fail_after(scramble(at) % 40);
            let more = play(&again, found(&crashed.after_crash(Loss::All), acknowledged, &what));
            let what = format!("{what}, and again");
            found(&again.after_crash(seeded), more, &what);
            cuts += 1;
        }
    }
    assert!(operations > 80 && cuts == operations * 5, "{operations} operations, {cuts} cuts");
}

/// What is stored now.
fn rows(mending: &mut Mending, now: Instant) -> Rows {
    mending.scan((Table::Streams, b"", 1_000), now).unwrap().into_iter().collect()
}

/// A store on `disk` that is mended by hand.
fn mending(disk: &Disk) -> (Mending, Arc<Condition>) {
    let (again, condition) = (disk.clone(), Arc::new(Condition::default()));
    let database = Database::open(disk.backend()).unwrap();
    let open = Box::new(move || Database::open(again.opened_again()));
    (Mending::new(database, open, Arc::clone(&condition)), condition)
}

/// Commits all, each until it is acknowledged, on a disk of which `failing` operations from the
/// one `at` on fail; how many commits failed.
/// What is taken back has `undo_bytes_max` of memory.
fn outlast(disk: &Disk, (at, failing, seed): (u64, u64, u64), undo_bytes_max: usize) -> usize {
    let what = format!("{failing} fail from {at} on, {seed}, {undo_bytes_max} bytes");
    let (mut mending, condition) = mending(disk);
    mending.undo_bytes_max = undo_bytes_max;
    let mut now = Instant::now();
    disk.fail_for(at, failing, seed);
    let mut failures = 0;
    for n in 0..COMMITS {
        while mending.commit(&[commit(n)], now).is_err() {
            failures += 1;
            assert!(condition.failure().is_some(), "{what}");
            assert!(mending.get(Table::Streams, b"row 0", now).is_err(), "{what}: it is closed");
            let mut tries = 0;
            while let Some(due) = mending.due() {
                assert!(due > now && tries <= failing, "{what}: {tries} tries");
                now = due;
                mending.mend(now);
                tries += 1;
            }
            assert_eq!(condition.failure(), None, "{what}");
            assert!(rows(&mut mending, now) == state(n), "{what}: commit {n} was not taken back");
        }
        assert!(rows(&mut mending, now) == state(n + 1), "{what}: commit {n}");
    }
    drop(mending);
    found(&disk.after_crash(Loss::All), COMMITS, &what);
    failures
}

#[test]
fn a_disk_that_fails_for_a_while_loses_nothing_and_keeps_nothing_that_was_refused() {
    let empty = Disk::default();
    drop(Database::open(empty.backend()).unwrap());
    let whole = empty.after_crash(Loss::All);
    assert_eq!(play(&whole, 0), COMMITS);
    let (mut failures, mut runs) = (0, 0);
    for at in 0..whole.done() {
        for failing in [1, 2, 7, 60] {
            // All of it in memory, or some of it and the rest in the file.
            for undo_bytes_max in [UNDO_BYTES_MAX, 300] {
                let disk = empty.after_crash(Loss::All);
                let outage = (at, failing, scramble(at ^ (failing << 16)));
                failures += outlast(&disk, outage, undo_bytes_max);
                runs += 1;
            }
        }
    }
    assert!(runs > 600 && failures > runs / 2, "{failures} failures in {runs} runs");
}

/// A commit of one row with so many bytes.
fn sized(bytes: usize) -> [Vec<Write>; 1] {
    let (table, key) = (Table::Streams, b"sized".to_vec());
    [vec![Write { table, key, value: Some(vec![7; bytes]) }]]
}

/// Tries until 5 minutes are over; the waits, which all end with a store that does not work.
fn tried_in_vain((mending, condition): &mut (Mending, Arc<Condition>), now: &mut Instant) -> usize {
    let (end, mut tries) = (*now + 20 * WAIT_MAX, 0);
    while *now < end {
        let due = mending.due().expect("a full disk works");
        assert!(due > *now && due <= *now + WAIT_MAX);
        assert!(condition.failure().is_some_and(|reason| reason.contains("no storage space")));
        *now = due;
        mending.mend(*now);
        tries += 1;
    }
    tries
}

#[test]
fn a_full_disk_is_failed_until_it_has_room_though_small_commits_fit() {
    for bytes in [PROOF_BYTES_MIN / 4, 4 * PROOF_BYTES_MIN] {
        let disk = Disk::default();
        let mut now = Instant::now();
        let mut store = mending(&disk);
        store.0.commit(&sized(20), now).unwrap();
        // One page for each thing that a small commit changes, and few more.
        disk.fill(12);
        store.0.commit(&sized(21), now).unwrap();
        assert!(store.0.commit(&sized(bytes), now).is_err());
        let tries = tried_in_vain(&mut store, &mut now);
        assert!((20..40).contains(&tries), "{tries} tries in 5 minutes");
        assert_eq!(store.1.failures(), 1, "it was told once");
        let small = Database::open(disk.opened_again()).unwrap();
        small.commit(&sized(21), &mut Undo::within(UNDO_BYTES_MAX)).expect("it fits");
        drop(small);
        // Room for what was refused, and for what goes with it.
        disk.fill(8 * bytes.max(PROOF_BYTES_MIN) / 4_096);
        now = store.0.due().unwrap();
        store.0.mend(now);
        assert_eq!(store.1.failure(), None);
        store.0.commit(&sized(bytes), now).unwrap();
    }
}

#[test]
fn a_store_that_fails_again_at_once_is_opened_less_and_less() {
    let disk = Disk::default();
    let (mut mending, condition) = mending(&disk);
    let mut now = Instant::now();
    // The store works for a while before its disk fails again.
    let mut wait = |works: Duration| {
        disk.fail_after(0);
        assert!(mending.commit(&sized(1), now).is_err());
        disk.repair();
        let due = mending.due().unwrap();
        let wait = due - now;
        mending.mend(due);
        assert_eq!(condition.failure(), None);
        now = due + works;
        mending.commit(&sized(1), now).unwrap();
        wait
    };
    let first = wait(Duration::ZERO);
    assert_eq!([wait(Duration::ZERO), wait(Duration::ZERO)], [2 * first, 4 * first]);
    for _ in 0..9 {
        wait(Duration::ZERO);
    }
    assert_eq!(wait(WAIT_MAX), WAIT_MAX);
    assert_eq!(wait(Duration::ZERO), first);
}
