//! Drives a session as a shard does, by operations taken from the fuzzer's bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dataplane::control::Intent;
use dataplane::session::{Command, Event, Refusal, Session};
use dataplane::slab::{PageClass, Pool, Region, RegionConfig};

/// Replies that wait for the peer never exceed this much more than the limit of one session.
const TRANSMIT_BYTES_MAX: usize = 1 << 20;

struct Shard {
    session: Session,
    pool: Pool,
    now: Instant,
    parked: Option<Ask>,
    over: bool,
}

#[derive(Clone, Copy)]
enum Ask {
    Connect,
    Publish,
    Play,
    Directory,
    Challenge,
}

/// Runs `hello`, then the operations in `data`, then closes and checks that no page is missing.
pub fn run(session: Session, now: Instant, hello: &[u8], data: &[u8]) {
    let config = RegionConfig {
        shards: 1,
        large_pages_per_shard: 4,
        small_pages_per_shard: 16,
        poison: false,
    };
    let (_region, mut pools) = Region::map(&config).expect("a small region is mapped");
    let pool = pools.pop().expect("one shard has one pool");
    let mut shard = Shard { session, pool, now, parked: None, over: false };
    shard.receive(hello);
    let mut input = data;
    while let Some((&operation, rest)) = input.split_first() {
        if shard.over {
            break;
        }
        input = rest;
        match operation {
            0..=9 => shard.answer(operation),
            10..=15 => shard.wait(u64::from(operation - 9)),
            _ => {
                let (piece, rest) = rest.split_at(rest.len().min(usize::from(operation) * 4));
                input = rest;
                shard.receive(piece);
            }
        }
    }
    shard.session.close(&shard.pool);
    for class in [PageClass::Large, PageClass::Small] {
        assert_eq!(shard.pool.usage(class).in_use, 0, "pages are missing");
    }
}

impl Shard {
    fn receive(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && !self.over && self.session.wants_bytes() {
            match self.session.handle_bytes(self.now, bytes, &self.pool) {
                Ok(taken) => {
                    assert!(taken <= bytes.len());
                    bytes = &bytes[taken..];
                    let drained = self.drain();
                    assert!(taken > 0 || drained || !self.session.wants_bytes(), "no progress");
                }
                Err(_) => self.fail(),
            }
        }
    }

    fn answer(&mut self, operation: u8) {
        let command = match (self.parked.take(), operation) {
            (Some(Ask::Connect), 0..=5) => Command::ConnectAllowed,
            (Some(Ask::Publish), 0..=5) => Command::PublishStarted,
            (Some(Ask::Play), 0) if self.session.idles() => Command::PlayIdle,
            (Some(Ask::Play), 0..=5) => Command::PlayStarted,
            (Some(Ask::Directory), _) => Command::Directory(Arc::from(&b"{}"[..])),
            (Some(Ask::Challenge), 0) => Command::Challenge(Some(Arc::from(&b"t.k"[..]))),
            (Some(Ask::Challenge), _) => Command::Challenge(None),
            (Some(_), 7) => Command::Elsewhere(Arc::from("rtmp://h/live/cam")),
            (Some(_), 6) => Command::Refused(Refusal::NotFound),
            (Some(_), _) => Command::Refused(Refusal::Busy),
            (None, 0) => Command::Shutdown { reason: "drain" },
            (None, 1) => Command::StreamEnded,
            (None, 3) if self.session.idles() => Command::PlayIdle,
            (None, 4) => Command::PlayStarted,
            (None, 2) if self.session.reconnects() => Command::Reconnect,
            (None, _) => return,
        };
        if self.session.handle_command(self.now, command).is_err() {
            self.fail();
        }
        self.drain();
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        if self.session.poll_timeout().is_some_and(|at| at <= self.now)
            && self.session.handle_timeout(self.now).is_err()
        {
            self.fail();
        }
        self.drain();
    }

    fn fail(&mut self) {
        self.drain();
        self.over = true;
    }

    fn drain(&mut self) -> bool {
        let mut out = Vec::new();
        let mut drained = self.session.poll_transmit(&mut out);
        assert!(out.len() <= TRANSMIT_BYTES_MAX, "{} bytes of replies", out.len());
        while let Some(event) = self.session.poll_event() {
            drained = true;
            match event {
                Event::Authorize { intent: Intent::Connect, .. } => {
                    self.parked = Some(Ask::Connect);
                }
                Event::Authorize { intent: Intent::Publish, .. } => {
                    self.parked = Some(Ask::Publish);
                }
                Event::Authorize { .. } => self.parked = Some(Ask::Play),
                Event::Directory => self.parked = Some(Ask::Directory),
                Event::Challenge { .. } => self.parked = Some(Ask::Challenge),
                Event::Media(unit) => self.pool.release(unit.payload),
                Event::Close { .. } => self.over = true,
                _ => {}
            }
        }
        drained
    }
}
