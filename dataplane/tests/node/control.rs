//! The control plane of a case: answers questions, collects snapshots, gives orders.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Instant;

use dataplane::Node;
use dataplane::config::LimitId;
use dataplane::control::{
    AuthorizeRequest, Command, Detail, Event, Grant, SessionStatus, ShardSnapshot, StreamStatus,
    Verdict,
};
use dataplane::ids::{SessionId, ShardId};
use dataplane::metrics::ShardCounters;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::peer::TIME_BOUND;

const NODE: Token = Token(0);
const ORDERS: Token = Token(1);

/// Judges a question; `None` leaves it without an answer.
pub(crate) type Judge = Box<dyn FnMut(&AuthorizeRequest) -> Option<Verdict> + Send>;

enum Order {
    Command(ShardId, Command),
    Snapshot(Sender<Vec<ShardSnapshot>>),
    Judge(Judge, Sender<()>),
    /// Says so, and reads nothing until the other end is dropped.
    Hold(Sender<()>, Receiver<()>),
    /// Drops what is told of sessions from now on.
    SkipSessions(Sender<()>),
    /// Waits for the end of all shards.
    Join(Sender<()>),
    Stop,
}

/// Both shards at about one moment.
#[derive(Debug)]
pub(crate) struct Totals {
    pub(crate) shards: Vec<ShardSnapshot>,
}

impl Totals {
    /// The sum of one counter or gauge.
    pub(crate) fn sum(&self, of: impl Fn(&ShardCounters) -> u64) -> u64 {
        self.shards.iter().map(|shard| of(&shard.counters)).sum()
    }

    pub(crate) fn limit(&self, limit: LimitId) -> u64 {
        self.sum(|counters| counters.limits[limit as usize])
    }

    pub(crate) fn sessions(&self) -> impl Iterator<Item = &SessionStatus> {
        self.shards.iter().flat_map(|shard| &shard.sessions)
    }

    pub(crate) fn stream(&self, name: &str) -> Option<&StreamStatus> {
        self.shards.iter().flat_map(|shard| &shard.streams).find(|s| s.name.as_str() == name)
    }

    /// The shard and number of the session whose peer has this address.
    pub(crate) fn session_of(&self, peer: std::net::SocketAddr) -> Option<(ShardId, SessionId)> {
        self.sessions().find(|s| s.peer == peer).map(|s| (s.shard, s.id))
    }

    /// Pages in use over all pools.
    pub(crate) fn pages_used(&self) -> u64 {
        self.shards.iter().flat_map(|shard| &shard.pools).map(|pool| pool.used).sum()
    }
}

/// While it is there, nothing is read of what shards tell.
pub(crate) struct Held {
    begun: Receiver<()>,
    _held: Sender<()>,
}

impl Held {
    /// Waits until all orders before it are carried out.
    pub(crate) fn begun(&self) {
        self.begun.recv_timeout(TIME_BOUND).expect("the control thread obeys");
    }
}

/// The control thread of a case.
pub(crate) struct Control {
    orders: Sender<Order>,
    waker: Waker,
    events: Receiver<(ShardId, Event)>,
    thread: Option<JoinHandle<()>>,
    shards: usize,
}

impl Control {
    pub(crate) fn start(node: Node) -> Self {
        let poll = Poll::new().unwrap();
        let waker = Waker::new(poll.registry(), ORDERS).unwrap();
        poll.registry()
            .register(&mut SourceFd(&node.events_fd()), NODE, Interest::READABLE)
            .unwrap();
        let (orders, taken) = channel();
        let (told, events) = channel();
        let shards = node.shards();
        let thread = std::thread::Builder::new()
            .name("control".into())
            .spawn(move || serve(node, poll, &taken, &told))
            .unwrap();
        Self { orders, waker, events, thread: Some(thread), shards }
    }

    /// Judges every question that comes after this call by `judge`.
    pub(crate) fn judge(&self, judge: Judge) {
        let (reply, taken) = channel();
        self.order(Order::Judge(judge, reply));
        taken.recv_timeout(TIME_BOUND).expect("the control thread takes the judge");
    }

    pub(crate) fn send(&self, shard: ShardId, command: Command) {
        self.order(Order::Command(shard, command));
    }

    /// Gives every shard a command.
    pub(crate) fn send_all(&self, command: impl Fn() -> Command) {
        for shard in 0..self.shards {
            self.send(ShardId(shard as u16), command());
        }
    }

    /// The state of all shards, with streams and sessions.
    pub(crate) fn snapshot(&self) -> Totals {
        self.ask_snapshot()()
    }

    /// Asks for it at once; what is returned waits for the answers.
    pub(crate) fn ask_snapshot(&self) -> impl FnOnce() -> Totals + use<> {
        let (reply, answer) = channel();
        self.order(Order::Snapshot(reply));
        move || Totals { shards: answer.recv_timeout(TIME_BOUND).expect("shards answer") }
    }

    /// Asks again and again until `is` holds.
    pub(crate) fn until(&self, what: &str, is: impl Fn(&Totals) -> bool) -> Totals {
        let late = Instant::now() + TIME_BOUND;
        loop {
            let totals = self.snapshot();
            if is(&totals) {
                return totals;
            }
            assert!(Instant::now() < late, "never: {what}\n{:#?}", totals.shards);
            std::thread::yield_now();
        }
    }

    /// Waits for an event of any shard; those before it are skipped.
    pub(crate) fn event(&self, what: &str, is: impl Fn(&Event) -> bool) -> (ShardId, Event) {
        loop {
            let event = self.events.recv_timeout(TIME_BOUND);
            let event = event.unwrap_or_else(|error| panic!("no event {what}: {error}"));
            if is(&event.1) {
                return event;
            }
        }
    }

    /// The events of all shards up to the first that `is` one.
    pub(crate) fn events_until(&self, is: impl Fn(&Event) -> bool) -> Vec<Event> {
        let mut told = Vec::new();
        loop {
            let (_, event) = self.events.recv_timeout(TIME_BOUND).expect("more events come");
            let last = is(&event);
            told.push(event);
            if last {
                return told;
            }
        }
    }

    /// Keeps the mailboxes of all shards unread until what it returns is dropped.
    pub(crate) fn hold(&self) -> Held {
        let (begins, begun) = channel();
        let (held, until) = channel();
        self.order(Order::Hold(begins, until));
        Held { begun, _held: held }
    }

    /// What is told of sessions from now on is dropped where it arrives, and takes no memory.
    pub(crate) fn skip_sessions(&self) {
        let (reply, answer) = channel();
        self.order(Order::SkipSessions(reply));
        answer.recv_timeout(TIME_BOUND).expect("the control thread obeys");
    }

    /// Forgets the events that nobody asked for, and the memory that they take.
    pub(crate) fn forget_events(&self) {
        while self.events.try_recv().is_ok() {}
    }

    pub(crate) fn stream_started(&self, name: &str) {
        self.event(
            "stream started",
            |event| matches!(event, Event::StreamStarted(start) if start.stream.as_str() == name),
        );
    }

    pub(crate) fn stream_ended(&self, name: &str) {
        self.event(
            "stream ended",
            |event| matches!(event, Event::StreamEnded { stream, .. } if stream.as_str() == name),
        );
    }

    /// Waits until every shard's thread has ended.
    pub(crate) fn joined(&mut self) {
        let (reply, answer) = channel();
        self.order(Order::Join(reply));
        answer.recv_timeout(TIME_BOUND).expect("shards end");
        self.thread.take().unwrap().join().unwrap();
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("the control thread lives");
        self.waker.wake().unwrap();
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            drop(self.orders.send(Order::Stop));
            drop(self.waker.wake());
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the control thread panicked");
        }
    }
}

/// Snapshots that are being collected.
struct Asked {
    id: u64,
    reply: Sender<Vec<ShardSnapshot>>,
    got: Vec<ShardSnapshot>,
}

fn serve(
    mut node: Node,
    mut poll: Poll,
    orders: &Receiver<Order>,
    told: &Sender<(ShardId, Event)>,
) {
    let mut events = Events::with_capacity(8);
    let mut judge: Judge =
        Box::new(|request| Some(Verdict::Allow(Grant::to(request.stream.clone()))));
    let mut asked: Vec<Asked> = Vec::new();
    let mut next_id = 0;
    let mut skips_sessions = false;
    loop {
        while let Some((shard, event)) = node.next_event() {
            match event {
                Event::Authorize { ticket, request } => {
                    if let Some(verdict) = judge(&request) {
                        node.send(shard, Command::Verdict { ticket, verdict }).unwrap();
                    }
                }
                Event::Snapshot(snapshot) => take_snapshot(&mut asked, *snapshot, node.shards()),
                Event::Session(_) if skips_sessions => {}
                other => drop(told.send((shard, other))),
            }
        }
        for order in orders.try_iter() {
            match order {
                Order::Command(shard, command) => node.send(shard, command).unwrap(),
                Order::Judge(new, reply) => {
                    judge = new;
                    reply.send(()).expect("the case waits");
                }
                Order::Snapshot(reply) => {
                    next_id += 1;
                    asked.push(Asked { id: next_id, reply, got: Vec::new() });
                    for shard in 0..node.shards() {
                        let command = Command::Snapshot { id: next_id, detail: Detail::ALL };
                        node.send(ShardId(shard as u16), command).unwrap();
                    }
                }
                Order::SkipSessions(reply) => {
                    skips_sessions = true;
                    reply.send(()).expect("the case waits");
                }
                Order::Hold(begins, until) => {
                    _ = begins.send(());
                    // Nothing is ever sent: it waits for the end of the sender.
                    _ = until.recv();
                }
                Order::Join(reply) => {
                    node.join();
                    reply.send(()).expect("the case waits");
                    return;
                }
                Order::Stop => return,
            }
        }
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => panic!("{error}"),
            _ => {}
        }
    }
}

fn take_snapshot(asked: &mut Vec<Asked>, snapshot: ShardSnapshot, shards: usize) {
    let Some(at) = asked.iter().position(|asked| asked.id == snapshot.id) else { return };
    asked[at].got.push(snapshot);
    if asked[at].got.len() == shards {
        let Asked { reply, mut got, .. } = asked.swap_remove(at);
        got.sort_by_key(|snapshot| snapshot.shard);
        drop(reply.send(got));
    }
}
