//! The shared protocol of logs under loom: commit, cut, retire, epochs and wake-ups.
//!
//! The rings, epochs, limbo and wakes are the real ones; only the pages are loom cells, so that any
//! read that is not ordered before the reuse of its page is reported.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p grandstand-dataplane --test loom_log --release
//! ```
#![cfg(loom)]

use std::collections::VecDeque;
use std::sync::Arc;

use dataplane::ids::ShardId;
use dataplane::log::{Epochs, Limbo, PageRing};
use dataplane::shard::wake::Wakes;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;

const HOME: ShardId = ShardId(0);
const READER: ShardId = ShardId(1);
/// Slots of the ring.
const PAGES: usize = 2;
/// A page more than the ring has slots.
const SPARE: usize = PAGES;

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(check);
}

/// A log of one unit per page, whose content is its position.
struct Rig {
    ring: PageRing,
    epochs: Epochs,
    wakes: Wakes,
    pages: [UnsafeCell<u64>; PAGES + 1],
}

// SAFETY: loom reports every access to a cell that is not ordered with the others.
unsafe impl Sync for Rig {}

impl Rig {
    fn new(shards: usize) -> Self {
        Self {
            ring: PageRing::new(PAGES, 0),
            epochs: Epochs::new(shards),
            wakes: Wakes::new(shards, 1),
            pages: std::array::from_fn(|_| UnsafeCell::new(u64::MAX)),
        }
    }

    fn append(&self, position: u64, page: usize) {
        // SAFETY: loom checks that nobody else has access now.
        self.pages[page].with_mut(|content| unsafe { *content = position });
        self.ring.install(position, u32::try_from(page).expect("a small number"));
        self.ring.commit(position + 1);
    }

    /// Reads everything that can be read, all addresses first, as sends do.
    fn turn_of_the_reader(&self) {
        let committed = self.ring.committed();
        let held: Vec<_> = (self.ring.tail()..committed)
            .filter_map(|position| Some((position, self.ring.page(position).ok()?)))
            .collect();
        for (position, page) in held {
            // SAFETY: loom checks that nobody writes now.
            let content = self.pages[page as usize].with(|content| unsafe { *content });
            assert_eq!(content, position, "a page of another time");
        }
    }
}

/// The writing shard. It remembers what it wrote and loads nothing: loom tries fewer orders around
/// a store that its own thread has just loaded.
struct Home {
    limbo: Limbo<usize>,
    free: Vec<usize>,
    /// The pages of the window, oldest first.
    window: VecDeque<usize>,
    next: u64,
}

impl Home {
    /// The ring is full.
    fn new(rig: &Rig) -> Self {
        (0..PAGES).for_each(|page| rig.append(page as u64, page));
        Self {
            limbo: Limbo::with_capacity(PAGES),
            free: Vec::with_capacity(PAGES),
            window: (0..PAGES).collect(),
            next: PAGES as u64,
        }
    }

    /// Cuts the oldest unit of a full ring off and appends the next, if a page comes free.
    fn turn(&mut self, rig: &Rig) -> bool {
        if self.window.len() == PAGES {
            let page = self.window.pop_front().expect("the ring is full");
            rig.ring.cut(self.next + 1 - PAGES as u64);
            self.limbo.retire(page);
        }
        self.limbo.collect(&rig.epochs, |page| self.free.push(page));
        let Some(page) = self.free.pop() else { return false };
        rig.append(self.next, page);
        self.window.push_back(page);
        self.next += 1;
        true
    }
}

#[test]
fn a_page_is_not_reused_while_an_awake_shard_may_read_it() {
    model(|| {
        let rig = Arc::new(Rig::new(2));
        rig.epochs.enter(READER);
        let mut home = Home::new(&rig);
        let writer = thread::spawn({
            let rig = Arc::clone(&rig);
            move || (0..2).for_each(|_| _ = home.turn(&rig))
        });
        rig.turn_of_the_reader();
        rig.epochs.advance(READER);
        rig.turn_of_the_reader();
        writer.join().expect("the writer is done");
    });
}

#[test]
fn a_slot_of_a_later_lap_is_refused() {
    model(|| {
        let rig = Arc::new(Rig::new(2));
        rig.epochs.enter(READER);
        let home = Home::new(&rig);
        let writer = thread::spawn({
            let rig = Arc::clone(&rig);
            move || {
                // The cut page waits for its epoch; another one is at hand.
                rig.ring.cut(1);
                rig.append(home.next, SPARE);
            }
        });
        rig.turn_of_the_reader();
        writer.join().expect("the writer is done");
    });
}

#[test]
fn a_page_is_not_reused_under_a_shard_that_just_woke() {
    model(|| {
        let rig = Arc::new(Rig::new(2));
        let mut home = Home::new(&rig);
        let reader = thread::spawn({
            let rig = Arc::clone(&rig);
            move || {
                for _ in 0..2 {
                    rig.epochs.enter(READER);
                    rig.turn_of_the_reader();
                    rig.epochs.sleep(READER);
                }
            }
        });
        (0..2).for_each(|_| _ = home.turn(&rig));
        reader.join().expect("the reader is done");
        home.turn(&rig);
        assert!(home.next > PAGES as u64 && home.limbo.is_empty(), "sleepers delay nothing");
    });
}

/// What a waiting shard waits for; like an eventfd, it remembers that it was rung.
struct Bell {
    rung: Mutex<bool>,
    ring: Condvar,
}

impl Bell {
    fn new() -> Self {
        Self { rung: Mutex::new(false), ring: Condvar::new() }
    }

    fn notify(&self) {
        *self.rung.lock().expect("nobody panics with it") = true;
        self.ring.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().expect("nobody panics with it");
        while !*rung {
            rung = self.ring.wait(rung).expect("nobody panics with it");
        }
        *rung = false;
    }
}

/// Waits like a shard does until `done`, then returns how often it was about to sleep.
fn follow(rig: &Rig, bell: &Bell, pending: impl Fn() -> bool, done: impl Fn() -> bool) -> usize {
    let mut sleeps = 0;
    rig.epochs.enter(READER);
    loop {
        let mut dirty = 0;
        rig.wakes.drain(READER, |_| dirty += 1);
        if dirty > 0 {
            rig.turn_of_the_reader();
        }
        if done() {
            return sleeps;
        }
        sleeps += 1;
        if rig.wakes.prepare_sleep(READER, &pending) {
            rig.epochs.sleep(READER);
            bell.wait();
            rig.epochs.enter(READER);
            rig.wakes.woke(READER);
        } else {
            rig.epochs.advance(READER);
        }
    }
}

#[test]
fn a_publication_always_reaches_the_sleeper() {
    model(|| {
        let rig = Arc::new(Rig::new(2));
        let (bell, rung) = (Arc::new(Bell::new()), Arc::new(AtomicUsize::new(0)));
        let writer = thread::spawn({
            let (rig, bell, rung) = (Arc::clone(&rig), Arc::clone(&bell), Arc::clone(&rung));
            move || {
                for page in 0..PAGES {
                    rig.append(page as u64, page);
                    if rig.wakes.mark(READER, 0) {
                        rung.fetch_add(1, Ordering::Relaxed);
                        bell.notify();
                    }
                }
            }
        });
        let all = || rig.ring.committed() == PAGES as u64;
        let sleeps = follow(&rig, &bell, || false, all);
        writer.join().expect("it is done");
        assert!(rung.load(Ordering::Relaxed) <= sleeps, "a sleep is woken once");
    });
}

#[test]
fn two_homes_wake_one_sleeper() {
    model(|| {
        let rig = Arc::new(Rig::new(2));
        let bell = Arc::new(Bell::new());
        let published = Arc::new(AtomicUsize::new(0));
        let homes: Vec<_> = (0..2)
            .map(|_| {
                let (rig, bell) = (Arc::clone(&rig), Arc::clone(&bell));
                let published = Arc::clone(&published);
                thread::spawn(move || {
                    published.fetch_add(1, Ordering::Release);
                    if rig.wakes.mark(READER, 0) {
                        bell.notify();
                    }
                })
            })
            .collect();
        follow(&rig, &bell, || false, || published.load(Ordering::Acquire) == 2);
        homes.into_iter().for_each(|home| home.join().expect("each is done"));
    });
}

#[test]
fn a_letter_always_reaches_the_sleeper() {
    model(|| {
        let rig = Arc::new(Rig::new(2));
        let bell = Arc::new(Bell::new());
        let letter = Arc::new(AtomicBool::new(false));
        let sender = thread::spawn({
            let (rig, bell, letter) = (Arc::clone(&rig), Arc::clone(&bell), Arc::clone(&letter));
            move || {
                letter.store(true, Ordering::Release);
                if rig.wakes.alert(READER) {
                    bell.notify();
                }
            }
        });
        let arrived = || letter.load(Ordering::Acquire);
        follow(&rig, &bell, arrived, arrived);
        sender.join().expect("it is done");
    });
}

#[test]
fn a_sleeper_that_follows_never_meets_a_reused_page() {
    model(|| {
        let rig = Arc::new(Rig::new(2));
        let bell = Arc::new(Bell::new());
        rig.epochs.enter(HOME);
        let mut home = Home::new(&rig);
        let writer = thread::spawn({
            let (rig, bell) = (Arc::clone(&rig), Arc::clone(&bell));
            move || {
                while !home.turn(&rig) {
                    rig.epochs.advance(HOME);
                    thread::yield_now();
                }
                if rig.wakes.mark(READER, 0) {
                    bell.notify();
                }
            }
        });
        follow(&rig, &bell, || false, || rig.ring.committed() == PAGES as u64 + 1);
        writer.join().expect("the writer is done");
    });
}

/// A log of one unit that is sealed, and the one that goes on from it on another shard.
struct Seam {
    first: Rig,
    next: Rig,
    sealed: AtomicBool,
    bell: Bell,
    /// The letter with the writer of the next log.
    letter: Bell,
}

impl Seam {
    fn new() -> Self {
        let next = Rig { ring: PageRing::beginning_at(1, PAGES, 0), ..Rig::new(2) };
        let (bell, letter) = (Bell::new(), Bell::new());
        Self { first: Rig::new(2), next, sealed: AtomicBool::new(false), bell, letter }
    }

    fn mark(&self) {
        if self.first.wakes.mark(READER, 0) {
            self.bell.notify();
        }
    }

    /// Reads on from `at`, as a cursor does; returns where it is then.
    fn read_on(&self, mut at: u64) -> u64 {
        loop {
            // In this order, as a seal that is seen comes with all that was committed before it.
            let sealed = self.sealed.load(Ordering::Acquire);
            let log = if sealed && at == 1 { &self.next } else { &self.first };
            if log.ring.committed() <= at {
                return at;
            }
            let page = log.ring.page(at).expect("nothing is cut off");
            // SAFETY: loom checks that nobody writes now.
            let content = log.pages[page as usize].with(|content| unsafe { *content });
            assert_eq!(content, at, "the next byte of the stream");
            at += 1;
        }
    }
}

#[test]
fn a_reader_goes_on_from_a_sealed_log_without_a_gap() {
    model(|| {
        let seam = Arc::new(Seam::new());
        let old_home = thread::spawn({
            let seam = Arc::clone(&seam);
            move || {
                seam.first.append(0, 0);
                seam.sealed.store(true, Ordering::Release);
                seam.letter.notify();
                seam.mark();
            }
        });
        let new_home = thread::spawn({
            let seam = Arc::clone(&seam);
            move || {
                seam.letter.wait();
                seam.next.append(1, 0);
                seam.mark();
            }
        });
        let mut at = 0;
        while at < 2 {
            let mut dirty = 0;
            seam.first.wakes.drain(READER, |_| dirty += 1);
            if dirty > 0 {
                at = seam.read_on(at);
            } else if seam.first.wakes.prepare_sleep(READER, || false) {
                seam.bell.wait();
                seam.first.wakes.woke(READER);
            }
        }
        [old_home, new_home].into_iter().for_each(|home| home.join().expect("it is done"));
    });
}
