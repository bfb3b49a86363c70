//! Memory: the table of terms that add up to the ceiling.
//!
//! Each term is a unit, a count and who refuses or evicts when the count is reached. The process'
//! terms together stay within `limits.memory_max`, because the pages get what the others leave.
//! The kernel's side is shown beside it: it is memory of the machine, not of the process.

use std::fmt;

use dataplane::Node;
use dataplane::config::{HlsMode, Limits, PORT_RECEIVE_BYTES, PORT_SEND_BYTES};
use dataplane::control::{Command, InputStatus, SrtStatus};
use dataplane::reactor::DATAGRAM_BUFFER_BYTES;
use dataplane::session::srt::{CALLS_MAX, Server};
use dataplane::session::udp::{Receiver, Sender};

use super::field::human_bytes;
use super::host::Host;
use super::settings::Settings;
use crate::api::{EVENTS_AT_ONCE, READERS_MAX, import_bytes};
use crate::bridge::WAITING_MAX;
use crate::coordinator::attached::{LINK_MAX, PUBLICATIONS_MAX};
use crate::coordinator::client::link_max;
use crate::events::UNKEPT_FACTOR;
use crate::hooks::{KEEPER_BYTES, REQUESTS_SHARE};
use crate::logging::LINES_MAX;
use crate::penalties::{ROW_BYTES, ROWS_MAX, Warden};
use crate::quotas::{METER_BYTES, meters_max};
use crate::registry::BUFFER_BYTES_MIN;
use crate::security::LINES_KEPT_MAX;
use crate::store::{CACHE_BYTES, QUEUED_BYTES_MAX, UNDO_BYTES_MAX};
use crate::usage::{LEDGER_HOURS_MAX, LEDGER_ROW_BYTES, REPORT_BYTES, TOTAL_BYTES, totals_max};
use crate::viewing::CLOSED_MAX;

/// Whose memory a term is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The process'.
    Process,
    /// The kernel's, for our sockets.
    Kernel,
}

/// One term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Whose memory it is.
    pub side: Side,
    /// Its name.
    pub pool: &'static str,
    /// Bytes of one.
    pub unit_bytes: u64,
    /// How many at most.
    pub count: u64,
    /// Who refuses or evicts at the limit.
    pub at_limit: &'static str,
}

impl Term {
    /// Bytes in all.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.unit_bytes.saturating_mul(self.count)
    }
}

/// All terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryTable {
    /// The terms, those of the process first.
    pub terms: Vec<Term>,
    /// The ceiling that the process' terms stay within.
    pub memory_max: u64,
}

/// Code, the control plane, and what the allocator holds back.
const PROCESS_BYTES: u64 = 12 << 20;
/// One line of the log, the longest that a session makes.
const LINE_BYTES: u64 = 512;
/// Lines that wait to be written to either log.
const LOG_LINES_MAX: u64 = (LINES_MAX + LINES_KEPT_MAX) as u64;
/// Buckets of those who connect and of those who call the API, and who is refused for a while.
const RATE_BYTES: u64 = Node::rate_bytes() + Warden::BUCKET_BYTES;
/// One command that waits for room in a shard's mailbox.
const COMMAND_BYTES: u64 = size_of::<Command>() as u64;
/// Stack, rings and words of one shard.
const SHARD_BYTES: u64 = 4 << 20;
/// Slot arrays and indexes of one stream with two packaged logs.
const STREAM_BYTES: u64 = 64 << 10;
/// The list of one stream's segments, two windows of it, and the slots of the log that holds them.
const SEGMENTS_BYTES: u64 = 80 << 10;
/// What one stream that is published as a transport stream has of its packets as they came: slot
/// arrays and indexes of their log, the counters of all PIDs, tables, and what the stream lists.
const TRANSPORT_BYTES: u64 = 32 << 10;
/// The shard's state of one connection: slot, cursor, subscription, timer.
const CONNECTION_BYTES: u64 = 512;
/// The record of one session: the state of its protocol, the names of its stream and software, and
/// the first bytes of its buffers.
const SESSION_BYTES: u64 = 2 << 10;
/// One session in the answers to the two who may ask for a list at one time: as the shards tell it,
/// and as text.
const LISTED_BYTES: u64 = 1_536;
/// The record of one connection of SRT, and what is told of it in those answers.
const SRT_BYTES: u64 = Server::BYTES as u64 + 2 * (size_of::<SrtStatus>() as u64 + 32);
const _: () = assert!(Sender::BYTES as u64 <= SESSION_BYTES, "a push in datagrams is a session");
/// The record of one input that comes in datagrams, and what is told of it in those answers.
const INPUT_BYTES: u64 = Receiver::BYTES as u64 + 2 * size_of::<InputStatus>() as u64 + 1_024;
/// What was allowed to one viewer.
const VERDICT_BYTES: u64 = 384;
/// The record of one session that ended.
const ENDED_BYTES: u64 = 1 << 10;
/// The record of one viewer of HLS, and what is told of it.
const VIEW_BYTES: u64 = 512;
/// Keys and state of one TLS connection in rustls, at worst while it shakes hands.
const TLS_STATE_BYTES: u64 = 8 << 10;
/// Ciphertext of one slice of sends, and scratch, of one shard.
const TLS_SHARD_BYTES: u64 = (1 << 20) + (512 << 10);
/// Buffers of one shard for datagrams, where SRT is spoken.
const DATAGRAM_BUFFERS: u16 = 256;
/// Those of inputs and pushes, which may be declared while the node runs: the memory of one is
/// taken when it is used first.
const INPUT_DATAGRAM_BUFFERS: u16 = 32;
/// Headers and ciphertext of one slice of datagrams of one shard.
const DATAGRAM_ARENA_BYTES: u64 = 512 << 10;
/// One call of an SRT peer that a socket remembers, in its tables.
const CALL_BYTES: u64 = 384;
/// One segment, which the kernel may take beyond a buffer's bound.
const SEGMENT_BYTES: u64 = 68 << 10;
/// The kernel's own record of one TCP socket, its file and its inode.
const SOCKET_BYTES: u64 = 4 << 10;
/// One connection of the API: its task, and what is read and written of it.
const API_BYTES: u64 = 32 << 10;
/// Keys of one of them inside TLS, and a record in each direction.
const API_TLS_BYTES: u64 = 48 << 10;
/// One client of events: the piece on its way and the next one, each of the most events that are
/// told at one time.
const READER_BYTES: u64 = 2 * EVENTS_AT_ONCE as u64 * 1_024;
/// One encoder that is attached: the messages that wait for it, and the buffers of its socket.
const ENCODER_BYTES: u64 = (LINK_MAX * MESSAGE_BYTES) as u64 + (64 << 10);
/// One server that is attached: the same, and what is published to it.
const SERVER_BYTES: u64 = ENCODER_BYTES + (PUBLICATIONS_MAX * PUBLICATION_BYTES) as u64;
/// One publication of a server, with the letters of its address and its policy.
const PUBLICATION_BYTES: usize = 1_280;
/// One publication of this node with its key and the letters of its number, or a question about it.
const OWN_BYTES: u64 = 1_024;
/// One message that waits, with its letters.
const MESSAGE_BYTES: usize = 640;
/// The unit in which pages are mapped.
const PAGE_BYTES: u64 = 64 << 10;
/// What a pool remembers of the pages in one unit: some are large, some are eight small ones.
const PAGE_STATE_BYTES: u64 = 16;
/// Bytes that a full socket leaves of one TLS connection when room is scarce, and their buffer.
const TLS_KEPT_BYTES: u64 = 20 << 10;
/// Buffers have one byte of so many of the memory, unless they are told.
const BUFFERS_SHARE: u64 = 8;
/// So have the tables of live streams.
const STREAMS_SHARE: u64 = 4;
/// What is declared, what waits for hooks, and what is kept of those who were let in, have one byte
/// each of so many of the memory, unless they are told.
pub(super) const CONTROL_SHARE: u64 = 64;
/// The body of an import has one of so many: it takes many times as much, of which what may be
/// declared fits.
pub(super) const IMPORT_SHARE: u64 = 256;
/// What becomes of a connection that needs a buffer when none is left.
const CLOSED: &str = "who asks for more than is left is closed: buffer_bytes_max";
/// A change of all that is declared is made beside it.
const CHANGE_FACTOR: u64 = 2;

/// Bytes that one connection takes at worst besides pages and its share of the buffers.
const fn connection_bytes(settings: &Settings) -> u64 {
    let tls = if settings.has_tls() { TLS_STATE_BYTES } else { 0 };
    let srt = if settings.listeners.srt.enabled { SRT_BYTES } else { 0 };
    CONNECTION_BYTES + SESSION_BYTES + LISTED_BYTES + verdict_bytes(settings) + tls + srt
}

/// Bytes of one viewer's verdict, if there are viewers.
const fn verdict_bytes(settings: &Settings) -> u64 {
    if matches!(settings.stream.hls.mode, HlsMode::Off) { 0 } else { VERDICT_BYTES }
}

/// Bytes of one viewer that has a session, if there are viewers: whether they have may change while
/// the server runs.
const fn view_bytes(settings: &Settings) -> u64 {
    match settings.stream.hls.mode {
        HlsMode::Off => 0,
        HlsMode::OnDemand | HlsMode::Always => VIEW_BYTES + Node::view_bytes(),
    }
}

/// Bytes of all connections' buffers, where nobody has told how many.
pub(super) fn buffers_fitting(settings: &Settings, memory_max: u64) -> u64 {
    let kept = if settings.has_tls() { TLS_KEPT_BYTES } else { 0 };
    let wanted = Limits::default().buffer_bytes_max + kept * settings.limits.connections_max;
    wanted.min(memory_max / BUFFERS_SHARE)
}

/// Live streams, where nobody has told how many: their tables take a share of the memory at most.
pub(super) fn streams_fitting(settings: &Settings, memory_max: u64) -> u64 {
    settings.limits.streams_max.min(memory_max / STREAMS_SHARE / stream_bytes(settings))
}

/// Bytes of what waits for hooks, of the requests that tell them, and of what is written of it.
const fn hooks_bytes(settings: &Settings) -> [u64; 2] {
    let waiting = settings.events.hooks_bytes_max;
    [waiting, waiting / REQUESTS_SHARE + KEEPER_BYTES]
}

/// Bytes of the events that are kept: each is there as itself and as text, and those that hooks
/// have not kept yet have more room.
const fn event_bytes(settings: &Settings) -> u64 {
    2 * UNKEPT_FACTOR * settings.events.ring.bytes
}

/// Bytes of what was used and of what shards remember of it: streams and tenants have rows, and
/// totals of their days and months.
const fn usage_bytes(settings: &Settings, shards: u64) -> u64 {
    let rows = settings.usage.rows_max(settings.limits.streams_max);
    2 * rows * LEDGER_HOURS_MAX as u64 * LEDGER_ROW_BYTES
        + totals_max(rows) as u64 * TOTAL_BYTES
        + Node::usage_bytes(shards)
}

/// Bytes of the meters of streams and of tenants with quotas, and of what shards know of them.
const fn quota_bytes(settings: &Settings, shards: u64) -> u64 {
    let meters = meters_max(settings.limits.streams_max) as u64;
    meters * (2 * METER_BYTES + shards * Node::QUOTA_BYTES)
}

/// Bytes of the API's connections, of those inside TLS besides, and of the import under way.
const fn api_bytes(settings: &Settings) -> [u64; 3] {
    let (control, tls) = (&settings.listeners.control, settings.listeners.control_tls.enabled);
    let connections = control.connections_max as u64;
    let any = control.enabled || tls;
    [
        if any { API_BYTES * connections + READER_BYTES * READERS_MAX as u64 } else { 0 },
        if tls { API_TLS_BYTES * connections } else { 0 },
        if any { import_bytes(settings.streams.import_bytes_max) } else { 0 },
    ]
}

/// Servers and encoders that may be attached: none without a secret that they prove themselves by.
const fn attached(settings: &Settings) -> [u64; 2] {
    let section = &settings.coordinator;
    match section.control_secret.0.is_empty() {
        true => [0, 0],
        // Servers have two roles.
        false => [2 * section.servers_max as u64, section.encoders_max as u64],
    }
}

/// Publications that a coordinator elsewhere knows of, and messages that wait for it.
fn superior_bytes(settings: &Settings) -> u64 {
    let messages = link_max(settings.limits.streams_max) as u64;
    match settings.coordinator.client.is_on() {
        true => messages.saturating_mul(OWN_BYTES + MESSAGE_BYTES as u64) + (64 << 10),
        false => 0,
    }
}

/// Buffers of each shard for datagrams.
pub(super) const fn datagram_buffers(settings: &Settings) -> u16 {
    if settings.listeners.srt.enabled { DATAGRAM_BUFFERS } else { INPUT_DATAGRAM_BUFFERS }
}

/// Bytes that one shard takes for datagrams: their buffers, and what is sent of one slice.
const fn datagram_bytes(settings: &Settings) -> u64 {
    // A push may be declared while the node runs.
    datagram_buffers(settings) as u64 * DATAGRAM_BUFFER_BYTES as u64 + DATAGRAM_ARENA_BYTES
}

/// Inputs that come in datagrams at most: as many of the smallest receive buffer as fit.
const fn inputs_max(settings: &Settings) -> u64 {
    settings.limits.input_buffer_bytes_max / BUFFER_BYTES_MIN as u64
}

/// Sockets of datagrams of all shards.
fn ports(settings: &Settings, shards: u64) -> u64 {
    shards * settings.listeners.srt.configs().count() as u64
}

/// Bytes of the calls that all sockets of datagrams remember.
fn calls_bytes(settings: &Settings, shards: u64) -> u64 {
    CALL_BYTES * CALLS_MAX as u64 * ports(settings, shards)
}

/// Bytes that are taken before the first connection and the first page.
fn base_bytes(settings: &Settings, shards: u64) -> u64 {
    let ring = settings.reactor.recv_buffers as u64 * settings.reactor.recv_buffer_bytes as u64;
    let tls = if settings.has_tls() { TLS_SHARD_BYTES } else { 0 };
    let [api, api_tls, import] = api_bytes(settings);
    let [hooks, requests] = hooks_bytes(settings);
    let [servers, encoders] = attached(settings);
    PROCESS_BYTES
        + settings.auth.claims_bytes_max
        + settings.streams.declared_bytes_max * CHANGE_FACTOR
        + hooks
        + requests
        + (QUEUED_BYTES_MAX + UNDO_BYTES_MAX) as u64
        + api
        + api_tls
        + import
        + SERVER_BYTES * servers
        + ENCODER_BYTES * encoders
        + superior_bytes(settings)
        + LINE_BYTES * LOG_LINES_MAX
        + RATE_BYTES
        + ROW_BYTES * ROWS_MAX as u64
        + COMMAND_BYTES * WAITING_MAX as u64
        + event_bytes(settings)
        + ENDED_BYTES * CLOSED_MAX as u64
        + CACHE_BYTES as u64
        + usage_bytes(settings, shards)
        + quota_bytes(settings, shards)
        + REPORT_BYTES
        + Node::mailbox_bytes(shards)
        + calls_bytes(settings, shards)
        + shards * (SHARD_BYTES + ring + tls + datagram_bytes(settings))
        + INPUT_BYTES * inputs_max(settings)
        + settings.limits.buffer_bytes_max
        + settings.limits.streams_max * stream_bytes(settings)
        + settings.limits.hls_viewers_max * view_bytes(settings)
}

/// Bytes that one live stream takes besides pages.
const fn stream_bytes(settings: &Settings) -> u64 {
    STREAM_BYTES + segments_bytes(settings) + TRANSPORT_BYTES
}

/// Bytes that segments take of one stream besides pages.
const fn segments_bytes(settings: &Settings) -> u64 {
    if matches!(settings.stream.hls.mode, HlsMode::Off) { 0 } else { SEGMENTS_BYTES }
}

/// The most connections that leave a quarter of the memory to pages.
pub(super) fn connections_affordable(settings: &Settings, shards: u64, memory_max: u64) -> u64 {
    let rest = memory_max.saturating_sub(base_bytes(settings, shards));
    (rest / 4 * 3) / connection_bytes(settings).max(1)
}

/// Bytes that `memory_max` leaves to pages.
pub(super) fn page_bytes(settings: &Settings, shards: u64, memory_max: u64) -> u64 {
    let connections = settings.limits.connections_max;
    let taken = base_bytes(settings, shards)
        .saturating_add(connections.saturating_mul(connection_bytes(settings)));
    memory_max.saturating_sub(taken) / (PAGE_BYTES + PAGE_STATE_BYTES) * PAGE_BYTES
}

/// What makes terms of a side, of its name, unit, count and limit.
fn terms_of(side: Side) -> impl Fn(&'static str, u64, u64, &'static str) -> Term {
    move |pool, unit_bytes, count, at_limit| Term { side, pool, unit_bytes, count, at_limit }
}

fn process_terms(settings: &Settings, shards: u64, page_bytes: u64) -> Vec<Term> {
    let Settings { limits, reactor, .. } = settings;
    let term = terms_of(Side::Process);
    let connections = limits.connections_max;
    let buffers = shards * u64::from(reactor.recv_buffers);
    let relief = "idle formats are dropped, windows shrink, then publishers are refused";
    let ([hooks, requests], declared) =
        (hooks_bytes(settings), settings.streams.declared_bytes_max);
    let (verdicts, segments) = (verdict_bytes(settings), segments_bytes(settings));
    let mut terms = vec![
        term("pages", PAGE_BYTES, page_bytes / PAGE_BYTES, relief),
        term("page states", PAGE_STATE_BYTES, page_bytes / PAGE_BYTES, "fixed"),
        term("receive buffers", reactor.recv_buffer_bytes.into(), buffers, "peers wait in TCP"),
        term("buffers", limits.buffer_bytes_max, 1, CLOSED),
        term("connections", CONNECTION_BYTES, connections, "refused at accept"),
        term("sessions", SESSION_BYTES, connections, "refused at accept"),
        term("verdicts", verdicts, connections, "the oldest is asked for again"),
        term("viewers", view_bytes(settings), limits.hls_viewers_max, "new viewers hear 503"),
        term("listing", LISTED_BYTES, connections, "the next one waits"),
        term("streams", STREAM_BYTES, limits.streams_max, "publishers are refused"),
        term("transport streams", TRANSPORT_BYTES, limits.streams_max, "publishers are refused"),
        term("declared", declared, CHANGE_FACTOR, "changes hear 507: declared_bytes_max"),
        term("segments", segments, limits.streams_max, "the oldest segments go"),
        term("mailboxes", Node::mailbox_bytes(shards), 1, "a full one is a refusal"),
        term("commands", COMMAND_BYTES, WAITING_MAX as u64, "dropped: no answer in time"),
        term("claims", settings.auth.claims_bytes_max, 1, "ends are told without a query"),
        term("events", event_bytes(settings), 1, "the oldest go: ring_bytes_max"),
        term("hooks", hooks, 1, "the fullest gives up: hooks_bytes_max"),
        term("hook requests", requests, 1, "the next ones wait"),
        term("ended sessions", ENDED_BYTES, CLOSED_MAX as u64, "the oldest go"),
        term("store", CACHE_BYTES as u64, 1, "read again from the file"),
        term("store queue", QUEUED_BYTES_MAX as u64, 1, "changes hear 503, events wait"),
        term("store undo", UNDO_BYTES_MAX as u64, 1, "the rest goes to the file"),
        term("usage", usage_bytes(settings, shards), 1, "later streams are counted together"),
        term("quotas", quota_bytes(settings, shards), 1, "later streams and tenants have none"),
        term("usage reports", REPORT_BYTES, 1, "the next one waits"),
        term("log lines", LINE_BYTES, LOG_LINES_MAX, "dropped and counted"),
        term("rates", RATE_BYTES, 1, "buckets are shared"),
        term("penalties", ROW_BYTES, ROWS_MAX as u64, "who guessed least is forgotten"),
        term("shards", SHARD_BYTES, shards, "fixed"),
        term("datagrams", datagram_bytes(settings), shards, "lost; SRT sends them again"),
        term("inputs", INPUT_BYTES, inputs_max(settings), "not opened: input_buffer_bytes_max"),
        term("process", PROCESS_BYTES, 1, "fixed"),
    ];
    let control = &settings.listeners.control;
    let callers = u64::from(control.connections_max);
    let control_tls = settings.listeners.control_tls.enabled;
    if control.enabled || control_tls {
        terms.push(term("API", API_BYTES, callers, "a quiet one goes for a new one"));
        terms.push(term("event readers", READER_BYTES, READERS_MAX as u64, "they hear 503"));
        let import = import_bytes(settings.streams.import_bytes_max);
        terms.push(term("imports", import, 1, "the next one waits: import_bytes_max"));
    }
    let [servers, encoders] = attached(settings);
    if servers + encoders > 0 {
        terms.push(term("attached servers", SERVER_BYTES, servers, "further ones hear 503"));
        terms.push(term("attached encoders", ENCODER_BYTES, encoders, "further ones hear 503"));
    }
    let superior = superior_bytes(settings);
    if superior > 0 {
        terms.push(term("coordinator", superior, 1, "questions wait, then publishers are refused"));
    }
    terms.extend(srt_terms(settings, shards));
    if control_tls {
        terms.push(term("API TLS", API_TLS_BYTES, callers, "a quiet one goes for a new one"));
    }
    if settings.has_tls() {
        terms.push(term("TLS", TLS_STATE_BYTES, connections, "handshakes are refused"));
        terms.push(term("TLS sends", TLS_SHARD_BYTES, shards, "sends wait for the next slice"));
    }
    terms
}

fn srt_terms(settings: &Settings, shards: u64) -> Vec<Term> {
    if !settings.listeners.srt.enabled {
        return Vec::new();
    }
    let term = terms_of(Side::Process);
    let calls = CALLS_MAX as u64 * ports(settings, shards);
    vec![
        term("SRT sessions", SRT_BYTES, settings.limits.connections_max, "refused with a code"),
        term("SRT calls", CALL_BYTES, calls, "callers hear that there is no room"),
    ]
}

/// What sockets may hold: the kernel doubles what it is asked for, and looks before it takes a
/// segment, not after.
fn kernel_terms(settings: &Settings, host: &Host, shards: u64) -> Vec<Term> {
    let Settings { limits, egress, session, .. } = settings;
    let term = terms_of(Side::Kernel);
    let room = |bytes: u32| 2 * u64::from(bytes) + SEGMENT_BYTES;
    let publish = if host.receive_buffer_max >= session.publish_receive_bytes.into() {
        room(session.publish_receive_bytes)
    } else {
        host.tcp_receive_bytes
    };
    let slow = "players jump to a keyframe, then are closed";
    let mut terms = vec![
        term("send buffers", room(egress.send_buffer_bytes), limits.connections_max, slow),
        term(
            "receive windows",
            room(session.receive_buffer_bytes),
            limits.connections_max,
            "peers wait in TCP",
        ),
        term("publishers", publish, limits.streams_max, "publishers wait in TCP"),
        term("sockets", SOCKET_BYTES, limits.connections_max, "refused at accept"),
    ];
    let inputs = 2 * limits.input_buffer_bytes_max + SEGMENT_BYTES * inputs_max(settings);
    terms.push(term("inputs", inputs, 1, "datagrams are lost, then inputs are not opened"));
    let ports = ports(settings, shards);
    if ports > 0 {
        let lost = "datagrams are lost, and sent again";
        terms.push(term("SRT receives", room(PORT_RECEIVE_BYTES), ports, lost));
        terms.push(term("SRT sends", room(PORT_SEND_BYTES), ports, lost));
    }
    terms
}

impl MemoryTable {
    pub(super) fn new(
        settings: &Settings,
        host: &Host,
        shards: u64,
        memory_max: u64,
        page_bytes: u64,
    ) -> Self {
        let terms = process_terms(settings, shards, page_bytes)
            .into_iter()
            .chain(kernel_terms(settings, host, shards))
            .collect();
        Self { terms, memory_max }
    }

    /// Bytes of all terms of one side.
    #[must_use]
    pub fn total(&self, side: Side) -> u64 {
        let terms = self.terms.iter().filter(|term| term.side == side);
        terms.fold(0, |sum, term| sum.saturating_add(term.total()))
    }
}

impl fmt::Display for MemoryTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<16} {:>10} {:>8} {:>11}  at the limit", "pool", "unit", "count", "total")?;
        for side in [Side::Process, Side::Kernel] {
            for term in self.terms.iter().filter(|term| term.side == side) {
                writeln!(
                    f,
                    "{:<16} {:>10} {:>8} {:>11}  {}",
                    term.pool,
                    human_bytes(term.unit_bytes),
                    term.count,
                    human_bytes(term.total()),
                    term.at_limit
                )?;
            }
            let total = human_bytes(self.total(side));
            match side {
                Side::Process => {
                    let max = human_bytes(self.memory_max);
                    writeln!(f, "{:<36} {total:>11}  of limits.memory_max {max}", "process")?;
                }
                Side::Kernel => {
                    writeln!(f, "{:<36} {total:>11}  at worst, beside it", "kernel")?;
                }
            }
        }
        Ok(())
    }
}
