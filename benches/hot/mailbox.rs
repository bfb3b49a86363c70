//! Between two threads: how fast letters pass, and how long it takes to wake a shard that sleeps.

mod cores;

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::JoinHandle;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::ids::ShardId;
use dataplane::reactor::{BackendChoice, Reactor, ReactorConfig, Waker};
use dataplane::shard::mailbox::{Inboxes, MailboxLimits, Outboxes, mesh};
use dataplane::shard::wake::Wakes;

use cores::pin;

const ASKER: ShardId = ShardId(0);
const ANSWERER: ShardId = ShardId(1);
const LIMITS: MailboxLimits = MailboxLimits { letters_max: 256, answers_max: 64 };
/// The letter that ends the other thread.
const END: u64 = u64::MAX;
/// Letters of one run of the case that does not wait for each.
const BURST: u64 = 10_000;

/// One of two shards, without sessions and logs.
struct Shard {
    id: ShardId,
    peer: ShardId,
    reactor: Reactor,
    peer_waker: Option<Waker>,
    outbox: Outboxes<u64>,
    inbox: Inboxes<u64>,
    wakes: Arc<Wakes>,
}

impl Shard {
    fn send(&mut self, letter: u64) -> bool {
        if self.outbox.send(self.peer, letter).is_err() {
            return false;
        }
        if self.wakes.alert(self.peer)
            && let Some(waker) = &self.peer_waker
        {
            self.reactor.wake_peer(waker);
        }
        true
    }

    /// The next letter; sleeps as a shard does until there is one.
    fn recv(&mut self) -> u64 {
        loop {
            if let Some((_, letter)) = self.inbox.recv() {
                return letter;
            }
            let inbox = &self.inbox;
            if self.wakes.prepare_sleep(self.id, || !inbox.is_empty()) {
                self.reactor.submit_and_wait(None);
                self.wakes.woke(self.id);
            } else {
                self.reactor.submit();
            }
            while self.reactor.next_completion().is_some() {}
        }
    }
}

/// The asking shard on this thread, and one that echoes on another.
fn pair(choice: BackendChoice) -> (Shard, JoinHandle<()>) {
    let wakes = Arc::new(Wakes::new(2, 64));
    let mut ends = mesh::<u64>(2, LIMITS);
    let (outbox, inbox) = ends.remove(1);
    let reactor = move || {
        let config = ReactorConfig { choice, ..ReactorConfig::default() };
        Reactor::new(&config).expect("the backend is there").0
    };
    let (tell, told) = sync_channel(1);
    let (give, given) = sync_channel::<Waker>(1);
    let of_echo = Arc::clone(&wakes);
    let echo = std::thread::spawn(move || {
        pin(1);
        let reactor = reactor();
        tell.send(reactor.waker()).expect("the other shard waits for it");
        let peer_waker = given.recv().ok();
        let (id, peer) = (ANSWERER, ASKER);
        let mut shard = Shard { id, peer, reactor, peer_waker, outbox, inbox, wakes: of_echo };
        loop {
            let letter = shard.recv();
            if letter == END {
                return;
            }
            assert!(shard.send(letter), "the asker reads its answers");
        }
    });
    pin(0);
    let reactor = reactor();
    give.send(reactor.waker()).expect("the other shard waits for it");
    let peer_waker = told.recv().ok();
    let (outbox, inbox) = ends.remove(0);
    (Shard { id: ASKER, peer: ANSWERER, reactor, peer_waker, outbox, inbox, wakes }, echo)
}

fn mailbox(criterion: &mut Criterion) {
    for (name, choice) in [("io_uring", BackendChoice::IoUring), ("epoll", BackendChoice::Epoll)] {
        let (mut shard, echo) = pair(choice);
        let mut group = criterion.benchmark_group("mailbox");
        group.bench_function(format!("{name}/wake_and_back"), |bencher| {
            bencher.iter(|| {
                assert!(shard.send(7), "one letter at a time");
                assert_eq!(shard.recv(), 7);
            });
        });
        group.throughput(Throughput::Elements(BURST));
        group.bench_function(format!("{name}/burst"), |bencher| {
            bencher.iter(|| burst(&mut shard));
        });
        group.finish();
        assert!(shard.send(END), "nothing else is on its way");
        shard.reactor.submit();
        echo.join().expect("the echo ends in peace");
    }
}

/// As many letters as fit are on their way all the time.
fn burst(shard: &mut Shard) {
    let (mut sent, mut received) = (0, 0);
    while received < BURST {
        // An answer has no reserved slot here, so half of the ring is left for those.
        while sent < BURST && sent - received < LIMITS.letters_max as u64 / 2 {
            assert!(shard.send(sent), "half of the ring is free");
            sent += 1;
        }
        assert_eq!(shard.recv(), received);
        received += 1;
    }
}

criterion_group!(letters, mailbox);
criterion_main!(letters);
