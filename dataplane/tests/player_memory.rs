//! What a player takes of the process's memory, everything included: the state of its shard (slot,
//! cursor, subscription, timer) and the record of its session, each within its own bound.

#![allow(clippy::unwrap_used, reason = "a case that cannot go on has failed")]
#![allow(clippy::disallowed_types, reason = "peers are independent of the code under test")]
#![allow(clippy::disallowed_methods, reason = "a session needs some origin of time")]

mod counting;
mod node;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use counting::{ARMED, Counting, HELD, WITH_CONTROL};
use dataplane::config::{Config, Terms};
use dataplane::reactor::BackendChoice;
use dataplane::session::{Command, Event, Session, http, rtmp};
use dataplane::slab::{Pool, Region, RegionConfig};
use node::{FlvPlayer, Player, Publisher, RtmpPlayer, Script, Server};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Between these numbers of players the slope is taken.
const FEW: usize = 1_000;
const MANY: usize = 4_000;
/// What a shard may hold of one player.
const SHARD_STATE_BYTES_MAX: i64 = 512;
/// What the session of a player may hold.
const SESSION_RECORD_BYTES_MAX: i64 = 512;
/// Sessions whose records are weighed.
const RECORDS: usize = 64;
/// A short word as the allocator holds it. On a shard, sessions share theirs.
const WORD_BYTES: i64 = 32;

/// One after the other, because the counts are the process's.
#[test]
fn players_take_what_is_planned() {
    dataplane::reactor::raise_nofile().unwrap();
    for choice in [BackendChoice::IoUring, BackendChoice::Epoll] {
        // The names of its stream, of its software and of where it connected.
        weigh::<RtmpPlayer>("RTMP", node::config(choice), record(rtmp_player) - 3 * WORD_BYTES);
        weigh::<FlvPlayer>("HTTP-FLV", node::config(choice), record(flv_player) - 2 * WORD_BYTES);
    }
}

/// A player of either protocol.
trait Start: Player {
    fn start(server: &Server) -> Self;
}

impl Start for RtmpPlayer {
    fn start(server: &Server) -> Self {
        Self::start(server.rtmp, "cam")
    }
}

impl Start for FlvPlayer {
    fn start(server: &Server) -> Self {
        Self::start(server.http, "cam")
    }
}

fn weigh<P: Start>(name: &str, mut config: Config, record: i64) {
    config.shards.truncate(1);
    let server = Server::start(config);
    // What the control plane keeps of them is its own.
    server.control.skip_sessions();
    let mut publisher = Publisher::start(server.rtmp, "cam");
    publisher.send_frames(2);
    let mut players = Vec::new();
    // Windows are filled and tables have their size before the count begins.
    join::<P>(&server, &mut publisher, &mut players, FEW);
    server.control.until("everything is sent", |totals| totals.sum(|c| c.pages_retired) == 0);
    // A snapshot would count: it is freed by whoever asked for it.
    HELD.store(0, Ordering::SeqCst);
    WITH_CONTROL.store(true, Ordering::SeqCst);
    ARMED.store(true, Ordering::SeqCst);
    join::<P>(&server, &mut publisher, &mut players, MANY);
    ARMED.store(false, Ordering::SeqCst);
    WITH_CONTROL.store(false, Ordering::SeqCst);
    let each = HELD.load(Ordering::SeqCst) / (MANY - FEW) as i64;
    let state = each - record;
    println!("{name}: {each} bytes a player, {record} of them the session's, {state} the shard's");
    assert!((100..=SHARD_STATE_BYTES_MAX).contains(&state), "{name}: {state} of {each} bytes");
    assert!((100..=SESSION_RECORD_BYTES_MAX).contains(&record), "{name}: {record} bytes");
}

/// Players come until there are `count`, and all of them have the newest frame.
fn join<P: Start>(server: &Server, publisher: &mut Publisher, players: &mut Vec<P>, count: usize) {
    while players.len() < count {
        players.push(P::start(server));
    }
    let newest = publisher.send_frames(2) - 1;
    for player in players {
        player.items_to_video(newest);
    }
}

/// Bytes of one session that plays, its words not shared with any other.
fn record(play: fn(&Arc<Terms>, &Pool) -> Session) -> i64 {
    // The allocator counts on threads of that name.
    let thread = std::thread::Builder::new().name("shard-record".to_owned());
    let weighed = thread.spawn(move || {
        let (shards, large_pages_per_shard, small_pages_per_shard) = (1, 4, 4);
        let config =
            RegionConfig { shards, large_pages_per_shard, small_pages_per_shard, poison: false };
        let pool = Region::map(&config).unwrap().1.remove(0);
        let terms = Arc::new(Terms::default());
        let mut sessions = Vec::with_capacity(RECORDS);
        HELD.store(0, Ordering::SeqCst);
        ARMED.store(true, Ordering::SeqCst);
        sessions.extend((0..RECORDS).map(|_| play(&terms, &pool)));
        ARMED.store(false, Ordering::SeqCst);
        let each = HELD.load(Ordering::SeqCst) / RECORDS as i64;
        sessions.iter_mut().for_each(|session| session.close(&pool));
        each
    });
    weighed.unwrap().join().unwrap()
}

fn rtmp_player(terms: &Arc<Terms>, pool: &Pool) -> Session {
    let session = Session::Rtmp(Box::new(rtmp::Server::new(Instant::now(), terms, [7; 32])));
    let mut script = Script::default();
    script.hello();
    script.connect();
    script.create_stream();
    script.play("cam");
    playing(session, &script.out, pool)
}

fn flv_player(terms: &Arc<Terms>, pool: &Pool) -> Session {
    let session = Session::Http(Box::new(http::Server::new(Instant::now(), terms)));
    playing(session, b"GET /cam.flv HTTP/1.1\r\nHost: localhost\r\n\r\n", pool)
}

/// The session, once it said all this and was allowed to play.
fn playing(mut session: Session, bytes: &[u8], pool: &Pool) -> Session {
    let mut at = 0;
    while at < bytes.len() {
        at += session.handle_bytes(Instant::now(), &bytes[at..], pool).unwrap();
        while let Some(event) = session.poll_event() {
            if matches!(event, Event::Authorize { .. }) {
                session.handle_command(Instant::now(), Command::PlayStarted).unwrap();
            }
        }
        session.poll_transmit(&mut Vec::new());
    }
    assert!(matches!(session.state_name(), "playing" | "streaming"), "{}", session.state_name());
    session
}
