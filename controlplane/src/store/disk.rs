//! Disk: a file in memory whose power can be cut, with a cache that loses and tears writes.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Result};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use redb::StorageBackend;

use super::Store;
use super::database::Database;

/// A disk gives room to files in blocks of this size.
const BLOCK: usize = 4_096;
/// A write is torn at the borders of sectors, or anywhere.
const SECTOR: usize = 512;

/// A disk that backends share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    /// What the last sync made durable.
    durable: Vec<u8>,
    /// What readers see.
    cached: Vec<u8>,
    /// What was written since.
    pending: Vec<Op>,
    /// Operations until now.
    done: u64,
    /// Operations from this one on fail.
    fails_from: Option<u64>,
    /// So many of them, by this seed; all if unset.
    outage: Option<(u64, u64)>,
    /// Blocks that have room on the disk: those that were written.
    blocks: BTreeSet<usize>,
    /// So many more have room; any if unset.
    blocks_free: Option<usize>,
    /// A sync waits while this is set.
    held: bool,
    /// A sync waits.
    waits: bool,
}

impl State {
    /// How many of these bytes have room; their blocks have it from now on.
    fn give_room(&mut self, at: usize, len: usize) -> usize {
        for block in at / BLOCK..(at + len).div_ceil(BLOCK) {
            match &mut self.blocks_free {
                _ if self.blocks.contains(&block) => {}
                Some(0) => return (block * BLOCK).saturating_sub(at),
                Some(free) => *free -= 1,
                None => {}
            }
            self.blocks.insert(block);
        }
        len
    }

    /// What is beyond the end has no room any more.
    fn cut(&mut self, len: usize) {
        let gone = self.blocks.split_off(&len.div_ceil(BLOCK));
        if let Some(free) = &mut self.blocks_free {
            *free += gone.len();
        }
    }

    /// The kernel could not write what waits, and forgets that it is to be written.
    fn give_up(&mut self) {
        let Some((_, seed)) = self.outage else { return };
        for (index, op) in std::mem::take(&mut self.pending).into_iter().enumerate() {
            if scramble(seed ^ index as u64).is_multiple_of(2) {
                op.apply(&mut self.durable);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Op {
    fn apply(&self, file: &mut Vec<u8>) {
        match self {
            Self::Write(at, bytes) => {
                let end = at + bytes.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[*at..end].copy_from_slice(bytes);
            }
            Self::SetLen(len) => file.resize(*len, 0),
        }
    }
}

/// What becomes of the writes that no sync confirmed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// All are lost.
    All,
    /// None is lost.
    None,
    /// Each is kept, lost or torn, by this seed.
    Some(u64),
}

impl Disk {
    /// A store on this disk.
    pub(crate) fn store(&self) -> Store {
        let again = self.clone();
        let database = Database::open(self.backend()).unwrap();
        Store::start(database, Box::new(move || Database::open(again.opened_again()))).unwrap()
    }

    /// Nothing fails any more; returns when `store` works again.
    pub(crate) fn repair_for(&self, store: &Store) {
        self.repair();
        let deadline = Instant::now() + Duration::from_secs(30);
        while store.failure().is_some() {
            assert!(Instant::now() < deadline, "{:?}", store.failure());
            std::thread::yield_now();
        }
    }

    pub(super) fn backend(&self) -> Backend {
        Backend(self.clone())
    }

    /// Operations until now.
    pub(super) fn done(&self) -> u64 {
        self.0.0.lock().unwrap().done
    }

    /// The power is cut after `operations` more.
    pub(crate) fn fail_after(&self, operations: u64) {
        let mut state = self.0.0.lock().unwrap();
        state.fails_from = Some(state.done + operations);
    }

    /// After `operations` more, so many fail: a disk that is full, or whose cable is loose.
    ///
    /// Of what a failed sync was to make durable the kernel keeps a part, by `seed`, takes all for
    /// written, and never tries again.
    pub(super) fn fail_for(&self, operations: u64, failing: u64, seed: u64) {
        let mut state = self.0.0.lock().unwrap();
        state.fails_from = Some(state.done + operations);
        state.outage = Some((failing, seed));
    }

    /// Has room for so many blocks more.
    pub(super) fn fill(&self, blocks_free: usize) {
        self.0.0.lock().unwrap().blocks_free = Some(blocks_free);
    }

    /// Nothing fails any more, and there is room.
    pub(super) fn repair(&self) {
        let mut state = self.0.0.lock().unwrap();
        (state.fails_from, state.outage, state.blocks_free) = (None, None, None);
    }

    /// A backend that sees what the disk holds, and not what the cache believes of it.
    pub(super) fn opened_again(&self) -> Backend {
        let mut state = self.0.0.lock().unwrap();
        let mut file = state.durable.clone();
        for op in &state.pending {
            op.apply(&mut file);
        }
        state.cached = file;
        drop(state);
        self.backend()
    }

    /// The disk after a cut of the power.
    pub(super) fn after_crash(&self, loss: Loss) -> Self {
        let state = self.0.0.lock().unwrap();
        let mut file = state.durable.clone();
        for (index, op) in state.pending.iter().enumerate() {
            let fate = match loss {
                Loss::All => continue,
                Loss::None => 0,
                Loss::Some(seed) => scramble(seed ^ ((index as u64) << 32)),
            };
            match (fate % 4, op) {
                (0, op) => op.apply(&mut file),
                (1, _) | (_, Op::SetLen(_)) => {}
                (2, Op::Write(at, bytes)) => {
                    for (sector, part) in bytes.chunks(SECTOR).enumerate() {
                        if scramble(fate ^ sector as u64).is_multiple_of(2) {
                            Op::Write(at + sector * SECTOR, part.to_vec()).apply(&mut file);
                        }
                    }
                }
                (_, Op::Write(at, bytes)) => {
                    let kept = usize::try_from(fate / 4).unwrap() % (bytes.len() + 1);
                    Op::Write(*at, bytes[..kept].to_vec()).apply(&mut file);
                }
            }
        }
        let state = State { durable: file.clone(), cached: file, ..State::default() };
        Self(Arc::new((Mutex::new(state), Condvar::new())))
    }

    /// Lets the next sync wait until the returned value is dropped.
    pub(crate) fn hold(&self) -> Held {
        self.0.0.lock().unwrap().held = true;
        Held(self.clone())
    }
}

/// A sync is held up.
pub(crate) struct Held(Disk);

impl Held {
    /// Returns when a sync waits.
    pub(crate) fn wait(&self) {
        let (state, changed) = &*self.0.0;
        let state = state.lock().unwrap();
        let deadline = std::time::Duration::from_secs(30);
        let (_state, late) =
            changed.wait_timeout_while(state, deadline, |state| !state.waits).unwrap();
        assert!(!late.timed_out(), "nobody syncs");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.0.lock().unwrap().held = false;
        self.0.0.1.notify_all();
    }
}

/// One opened file of a [`Disk`].
#[derive(Debug)]
pub(super) struct Backend(Disk);

impl Backend {
    fn operate<T>(&self, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let mut state = self.0.0.0.lock().unwrap();
        let at = state.done;
        if state.fails_from.is_some_and(|from| at >= from) {
            match &mut state.outage {
                None => return Err(Error::other("the power is off")),
                Some((left, _)) if *left > 0 => {
                    *left -= 1;
                    return Err(Error::other("no space left"));
                }
                Some(_) => {}
            }
        }
        state.done += 1;
        act(&mut state)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64> {
        self.operate(|state| Ok(state.cached.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.operate(|state| {
            let at = usize::try_from(offset).unwrap();
            let bytes = state.cached.get(at..at + out.len());
            out.copy_from_slice(bytes.ok_or_else(|| Error::other("beyond the end"))?);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.operate(|state| {
            let len = usize::try_from(len).unwrap();
            state.cut(len);
            let op = Op::SetLen(len);
            op.apply(&mut state.cached);
            state.pending.push(op);
            Ok(())
        })
    }

    fn sync_data(&self) -> Result<()> {
        let (state, changed) = &*self.0.0;
        let mut state = state.lock().unwrap();
        while state.held {
            state.waits = true;
            changed.notify_all();
            state = changed.wait(state).unwrap();
        }
        state.waits = false;
        drop(state);
        let synced = self.operate(|state| {
            for op in std::mem::take(&mut state.pending) {
                op.apply(&mut state.durable);
            }
            Ok(())
        });
        if synced.is_err() {
            self.0.0.0.lock().unwrap().give_up();
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.operate(|state| {
            let at = usize::try_from(offset).unwrap();
            let room = state.give_room(at, data.len());
            let op = Op::Write(at, data[..room].to_vec());
            op.apply(&mut state.cached);
            state.pending.push(op);
            if room < data.len() { Err(Error::from(ErrorKind::StorageFull)) } else { Ok(()) }
        })
    }
}

/// A number that looks like any other: the finaliser of `SplitMix64`.
pub(super) const fn scramble(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
