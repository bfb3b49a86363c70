//! The table of memory: each term with its unit, its count, and who refuses or evicts at the limit.

use std::fmt;

use dataplane::Node;
use dataplane::config::{PORT_RECEIVE_BYTES, PORT_SEND_BYTES};
use dataplane::session::srt::CALLS_MAX;

use super::super::field::human_bytes;
use super::super::host::Host;
use super::super::settings::Settings;
use super::bytes::{
    API_BYTES, API_TLS_BYTES, CALL_BYTES, CHANGE_FACTOR, CLOSED, COMMAND_BYTES, CONNECTION_BYTES,
    ENCODER_BYTES, ENDED_BYTES, INPUT_BYTES, LINE_BYTES, LISTED_BYTES, LOG_LINES_MAX, PAGE_BYTES,
    PAGE_STATE_BYTES, PROCESS_BYTES, RATE_BYTES, READER_BYTES, SEGMENT_BYTES, SERVER_BYTES,
    SESSION_BYTES, SHARD_BYTES, SOCKET_BYTES, SRT_BYTES, STREAM_BYTES, TLS_SHARD_BYTES,
    TLS_STATE_BYTES, TRANSPORT_BYTES, announced_bytes, attached, datagram_bytes, event_bytes,
    hooks_bytes, inputs_max, ports, question_bytes, quota_bytes, recording_bytes, segments_bytes,
    superior_bytes, usage_bytes, verdict_bytes, view_bytes,
};
use crate::api::{READERS_MAX, import_bytes};
use crate::bridge::WAITING_MAX;
use crate::penalties::{ROW_BYTES, ROWS_MAX};
use crate::store::{CACHE_BYTES, QUEUED_BYTES_MAX, UNDO_BYTES_MAX};
use crate::usage::REPORT_BYTES;
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
    terms.extend(api_terms(settings));
    terms.extend(application_terms(settings));
    terms.extend(srt_terms(settings, shards));
    if settings.has_tls() {
        terms.push(term("TLS", TLS_STATE_BYTES, connections, "handshakes are refused"));
        terms.push(term("TLS sends", TLS_SHARD_BYTES, shards, "sends wait for the next slice"));
    }
    terms
}

/// What callers of the API take.
fn api_terms(settings: &Settings) -> Vec<Term> {
    let (term, mut terms) = (terms_of(Side::Process), Vec::new());
    let control = &settings.listeners.control;
    let callers = u64::from(control.connections_max);
    let control_tls = settings.listeners.control_tls.enabled;
    if control.enabled || control_tls {
        terms.push(term("API", API_BYTES, callers, "a quiet one goes for a new one"));
        terms.push(term("event readers", READER_BYTES, READERS_MAX as u64, "they hear 503"));
        let import = import_bytes(settings.streams.import_bytes_max);
        terms.push(term("imports", import, 1, "the next one waits: import_bytes_max"));
    }
    if control_tls {
        terms.push(term("API TLS", API_TLS_BYTES, callers, "a quiet one goes for a new one"));
    }
    terms
}

/// What those take who are asked about peers, who are told of publications, who tell of them, and
/// who record them.
fn application_terms(settings: &Settings) -> Vec<Term> {
    let (term, mut terms) = (terms_of(Side::Process), Vec::new());
    let [servers, encoders] = attached(settings);
    if servers + encoders > 0 {
        terms.push(term("attached servers", SERVER_BYTES, servers, "further ones hear 503"));
        terms.push(term("attached encoders", ENCODER_BYTES, encoders, "further ones hear 503"));
    }
    let [questions, remembered] = question_bytes(settings);
    if questions > 0 {
        terms.push(term("questions", questions, 1, "who asks further is refused"));
        terms.push(term("remembered", remembered, 1, "the oldest go: cache_entries_max"));
    }
    let announced = announced_bytes(settings);
    if announced > 0 {
        terms.push(term("announcements", announced, 1, "the oldest ends are not told"));
    }
    let recordings = recording_bytes(settings);
    if recordings > 0 {
        terms.push(term("recordings", recordings, 1, "streams wait, and the oldest files go"));
    }
    let superior = superior_bytes(settings);
    if superior > 0 {
        terms.push(term("coordinator", superior, 1, "questions wait, then publishers are refused"));
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
    pub(in crate::config) fn new(
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
