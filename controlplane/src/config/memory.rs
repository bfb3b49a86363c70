//! Memory: the table of terms that add up to the ceiling.
//!
//! Each term is a unit, a count and who refuses or evicts when the count is reached. The process'
//! terms together stay within `limits.memory_max`, because the pages get what the others leave.
//! The kernel's side is shown beside it: it is memory of the machine, not of the process.

use std::fmt;

use dataplane::config::{HlsMode, Limits};

use super::field::human_bytes;
use super::host::Host;
use super::settings::Settings;

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

/// Code, tables of the process and the control plane.
const PROCESS_BYTES: u64 = 32 << 20;
/// Stack, mailboxes, timer wheel and rings of one shard.
const SHARD_BYTES: u64 = 8 << 20;
/// Slot arrays and indexes of one stream with two packaged logs.
const STREAM_BYTES: u64 = 64 << 10;
/// The list of one stream's segments, two windows of it, and the slots of the log that holds them.
const SEGMENTS_BYTES: u64 = 80 << 10;
/// Slot, session and cursor of one connection, and the verdict of its viewer.
const CONNECTION_BYTES: u64 = 4 << 10;
/// Keys and state of one TLS connection in rustls, at worst while it shakes hands.
const TLS_STATE_BYTES: u64 = 8 << 10;
/// Ciphertext that a full socket left of one connection.
const TLS_KEPT_BYTES: u64 = 68 << 10;
/// Ciphertext of one slice of sends, and scratch, of one shard.
const TLS_SHARD_BYTES: u64 = (1 << 20) + (512 << 10);
/// The unit in which pages are mapped.
const PAGE_BYTES: u64 = 64 << 10;

/// Bytes that one connection takes at worst besides pages.
const fn connection_bytes(settings: &Settings) -> u64 {
    let limits = &settings.limits;
    CONNECTION_BYTES + limits.reply_bytes_max + input_bytes(limits) + tls_bytes(settings)
}

/// Bytes that one connection takes at worst for TLS, if there is any.
const fn tls_bytes(settings: &Settings) -> u64 {
    if settings.has_tls() {
        TLS_STATE_BYTES + TLS_KEPT_BYTES + settings.limits.tls_pending_bytes_max
    } else {
        0
    }
}

/// A connection holds one unfinished command, or one request with its successors, or the bytes
/// that wait while it is parked, but only one of them at a time.
const fn input_bytes(limits: &Limits) -> u64 {
    let request = limits.http_head_bytes_max + limits.http_pipeline_bytes_max;
    let mut most = limits.rtmp_command_bytes_max;
    if request > most {
        most = request;
    }
    if limits.parked_bytes_max > most {
        most = limits.parked_bytes_max;
    }
    most
}

/// Bytes that are taken before the first connection and the first page.
const fn base_bytes(settings: &Settings, shards: u64) -> u64 {
    let ring = settings.reactor.recv_buffers as u64 * settings.reactor.recv_buffer_bytes as u64;
    let stream = STREAM_BYTES + segments_bytes(settings);
    let tls = if settings.has_tls() { TLS_SHARD_BYTES } else { 0 };
    PROCESS_BYTES + shards * (SHARD_BYTES + ring + tls) + settings.limits.streams_max * stream
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
    memory_max.saturating_sub(taken) / PAGE_BYTES * PAGE_BYTES
}

impl MemoryTable {
    pub(super) fn new(
        settings: &Settings,
        host: &Host,
        shards: u64,
        memory_max: u64,
        page_bytes: u64,
    ) -> Self {
        let Settings { limits, reactor, egress, .. } = settings;
        let process = |pool, unit_bytes, count, at_limit| Term {
            side: Side::Process,
            pool,
            unit_bytes,
            count,
            at_limit,
        };
        let kernel = |pool, unit_bytes, count, at_limit| Term {
            side: Side::Kernel,
            ..process(pool, unit_bytes, count, at_limit)
        };
        let connections = limits.connections_max;
        let ring_buffers = shards * u64::from(reactor.recv_buffers);
        let mut terms = vec![
            process(
                "pages",
                PAGE_BYTES,
                page_bytes / PAGE_BYTES,
                "idle formats are dropped, windows shrink, then publishers are refused",
            ),
            process(
                "receive buffers",
                u64::from(reactor.recv_buffer_bytes),
                ring_buffers,
                "peers wait in TCP",
            ),
            process("connections", CONNECTION_BYTES, connections, "refused at accept"),
            process("replies", limits.reply_bytes_max, connections, "the connection is closed"),
            process("requests", input_bytes(limits), connections, "the connection is closed"),
            process("streams", STREAM_BYTES, limits.streams_max, "publishers are refused"),
            process(
                "segments",
                segments_bytes(settings),
                limits.streams_max,
                "the oldest segments go",
            ),
            process("shards", SHARD_BYTES, shards, "fixed"),
            process("process", PROCESS_BYTES, 1, "fixed"),
            kernel(
                "send buffers",
                // The kernel doubles SO_SNDBUF for its own bookkeeping.
                u64::from(egress.send_buffer_bytes) * 2,
                connections,
                "players jump to a keyframe, then are closed",
            ),
            kernel(
                "receive windows",
                host.tcp_receive_bytes,
                limits.streams_max,
                "publishers wait in TCP",
            ),
        ];
        if settings.has_tls() {
            let refused = "handshakes are refused, the connection is closed";
            let waits = "sends wait for the next slice";
            terms.push(process("TLS", tls_bytes(settings), connections, refused));
            terms.push(process("TLS sends", TLS_SHARD_BYTES, shards, waits));
        }
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
