//! What each thing of the process, and of the kernel for it, takes of memory.

use dataplane::Node;
use dataplane::config::{HlsMode, Limits};
use dataplane::control::{Command, InputStatus, SrtStatus};
use dataplane::reactor::DATAGRAM_BUFFER_BYTES;
use dataplane::session::srt::{CALLS_MAX, Server};
use dataplane::session::udp::{Receiver, Sender};

use super::super::callback::CallbackSection;
use super::super::settings::Settings;
use crate::api::{EVENTS_AT_ONCE, READERS_MAX, import_bytes};
use crate::auth::WAITING_BYTES_MAX;
use crate::bridge::WAITING_MAX;
use crate::coordinator::LEDGER_BYTES_MAX;
use crate::coordinator::attached::{LINK_MAX, PUBLICATIONS_MAX};
use crate::coordinator::client::link_max;
use crate::events::UNKEPT_FACTOR;
use crate::hooks::{KEEPER_BYTES, REQUESTS_SHARE};
use crate::logging::LINES_MAX;
use crate::penalties::{ROW_BYTES, ROWS_MAX, Warden};
use crate::quotas::{METER_BYTES, meters_max};
use crate::record::{ACTIVE_BYTES, FILE_BYTES, WAITING_BYTES};
use crate::registry::BUFFER_BYTES_MIN;
use crate::security::LINES_KEPT_MAX;
use crate::store::{CACHE_BYTES, QUEUED_BYTES_MAX, UNDO_BYTES_MAX};
use crate::usage::{LEDGER_HOURS_MAX, LEDGER_ROW_BYTES, REPORT_BYTES, TOTAL_BYTES, totals_max};
use crate::viewing::CLOSED_MAX;

/// Code, the control plane, and what the allocator holds back.
pub(super) const PROCESS_BYTES: u64 = 12 << 20;
/// One line of the log, the longest that a session makes.
pub(super) const LINE_BYTES: u64 = 512;
/// Lines that wait to be written to either log.
pub(super) const LOG_LINES_MAX: u64 = (LINES_MAX + LINES_KEPT_MAX) as u64;
/// Buckets of those who connect and of those who call the API, and who is refused for a while.
pub(super) const RATE_BYTES: u64 = Node::rate_bytes() + Warden::BUCKET_BYTES;
/// One command that waits for room in a shard's mailbox.
pub(super) const COMMAND_BYTES: u64 = size_of::<Command>() as u64;
/// Stack, rings and words of one shard.
pub(super) const SHARD_BYTES: u64 = 4 << 20;
/// Slot arrays and indexes of one stream with two packaged logs.
pub(super) const STREAM_BYTES: u64 = 64 << 10;
/// The list of one stream's segments, two windows of it, and the slots of the log that holds them.
pub(super) const SEGMENTS_BYTES: u64 = 80 << 10;
/// What one stream that is published as a transport stream has of its packets as they came: slot
/// arrays and indexes of their log, the counters of all PIDs, tables, and what the stream lists.
pub(super) const TRANSPORT_BYTES: u64 = 32 << 10;
/// The shard's state of one connection: slot, cursor, subscription, timer.
pub(super) const CONNECTION_BYTES: u64 = 512;
/// The record of one session: the state of its protocol, the names of its stream and software, and
/// the first bytes of its buffers.
pub(super) const SESSION_BYTES: u64 = 2 << 10;
/// One session in the answers to the two who may ask for a list at one time: as the shards tell it,
/// and as text.
pub(super) const LISTED_BYTES: u64 = 1_536;
/// The record of one connection of SRT, and what is told of it in those answers.
pub(super) const SRT_BYTES: u64 = Server::BYTES as u64 + 2 * (size_of::<SrtStatus>() as u64 + 32);
const _: () = assert!(Sender::BYTES as u64 <= SESSION_BYTES, "a push in datagrams is a session");
/// The record of one input that comes in datagrams, and what is told of it in those answers.
pub(super) const INPUT_BYTES: u64 =
    Receiver::BYTES as u64 + 2 * size_of::<InputStatus>() as u64 + 1_024;
/// One answer of an application that is remembered.
pub(super) const REMEMBERED_BYTES: u64 = 300;
/// What was allowed to one viewer.
pub(super) const VERDICT_BYTES: u64 = 384;
/// The record of one session that ended.
pub(super) const ENDED_BYTES: u64 = 1 << 10;
/// The record of one viewer of HLS, and what is told of it.
pub(super) const VIEW_BYTES: u64 = 512;
/// Keys and state of one TLS connection in rustls, at worst while it shakes hands.
pub(super) const TLS_STATE_BYTES: u64 = 8 << 10;
/// Ciphertext of one slice of sends, and scratch, of one shard.
pub(super) const TLS_SHARD_BYTES: u64 = (1 << 20) + (512 << 10);
/// Buffers of one shard for datagrams, where SRT is spoken.
pub(super) const DATAGRAM_BUFFERS: u16 = 256;
/// Those of inputs and pushes, which may be declared while the node runs: the memory of one is
/// taken when it is used first.
pub(super) const INPUT_DATAGRAM_BUFFERS: u16 = 32;
/// Headers and ciphertext of one slice of datagrams of one shard.
pub(super) const DATAGRAM_ARENA_BYTES: u64 = 512 << 10;
/// One call of an SRT peer that a socket remembers, in its tables.
pub(super) const CALL_BYTES: u64 = 384;
/// One segment, which the kernel may take beyond a buffer's bound.
pub(super) const SEGMENT_BYTES: u64 = 68 << 10;
/// The kernel's own record of one TCP socket, its file and its inode.
pub(super) const SOCKET_BYTES: u64 = 4 << 10;
/// One connection of the API: its task, and what is read and written of it.
pub(super) const API_BYTES: u64 = 32 << 10;
/// Keys of one of them inside TLS, and a record in each direction.
pub(super) const API_TLS_BYTES: u64 = 48 << 10;
/// One client of events: the piece on its way and the next one, each of the most events that are
/// told at one time.
pub(super) const READER_BYTES: u64 = 2 * EVENTS_AT_ONCE as u64 * 1_024;
/// One encoder that is attached: the messages that wait for it, and the buffers of its socket.
pub(super) const ENCODER_BYTES: u64 = (LINK_MAX * MESSAGE_BYTES) as u64 + (64 << 10);
/// One server that is attached: the same, and what is published to it.
pub(super) const SERVER_BYTES: u64 = ENCODER_BYTES + (PUBLICATIONS_MAX * PUBLICATION_BYTES) as u64;
/// One publication of a server, with the letters of its address and its policy.
pub(super) const PUBLICATION_BYTES: usize = 1_280;
/// One publication of this node with its key and the letters of its number, or a question about it.
pub(super) const OWN_BYTES: u64 = 1_024;
/// One message that waits, with its letters.
pub(super) const MESSAGE_BYTES: usize = 640;
/// The unit in which pages are mapped.
pub(super) const PAGE_BYTES: u64 = 64 << 10;
/// What a pool remembers of the pages in one unit: some are large, some are eight small ones.
pub(super) const PAGE_STATE_BYTES: u64 = 16;
/// Bytes that a full socket leaves of one TLS connection when room is scarce, and their buffer.
pub(super) const TLS_KEPT_BYTES: u64 = 20 << 10;
/// Buffers have one byte of so many of the memory, unless they are told.
pub(super) const BUFFERS_SHARE: u64 = 8;
/// So have the tables of live streams.
pub(super) const STREAMS_SHARE: u64 = 4;
/// What is declared, what waits for hooks, and what is kept of those who were let in, have one byte
/// each of so many of the memory, unless they are told.
pub(in crate::config) const CONTROL_SHARE: u64 = 64;
/// The body of an import has one of so many: it takes many times as much, of which what may be
/// declared fits.
pub(in crate::config) const IMPORT_SHARE: u64 = 256;
/// What becomes of a connection that needs a buffer when none is left.
pub(super) const CLOSED: &str = "who asks for more than is left is closed: buffer_bytes_max";
/// A change of all that is declared is made beside it.
pub(super) const CHANGE_FACTOR: u64 = 2;

/// Bytes that one connection takes at worst besides pages and its share of the buffers.
pub(super) const fn connection_bytes(settings: &Settings) -> u64 {
    let tls = if settings.has_tls() { TLS_STATE_BYTES } else { 0 };
    let srt = if settings.listeners.srt.enabled { SRT_BYTES } else { 0 };
    CONNECTION_BYTES + SESSION_BYTES + LISTED_BYTES + verdict_bytes(settings) + tls + srt
}

/// Bytes of one viewer's verdict, if there are viewers.
pub(super) const fn verdict_bytes(settings: &Settings) -> u64 {
    if matches!(settings.stream.hls.mode, HlsMode::Off) { 0 } else { VERDICT_BYTES }
}

/// Bytes of one viewer that has a session, if there are viewers: whether they have may change while
/// the server runs.
pub(super) const fn view_bytes(settings: &Settings) -> u64 {
    match settings.stream.hls.mode {
        HlsMode::Off => 0,
        HlsMode::OnDemand | HlsMode::Always => VIEW_BYTES + Node::view_bytes(),
    }
}

/// Bytes of all connections' buffers, where nobody has told how many.
pub(in crate::config) fn buffers_fitting(settings: &Settings, memory_max: u64) -> u64 {
    let kept = if settings.has_tls() { TLS_KEPT_BYTES } else { 0 };
    let wanted = Limits::default().buffer_bytes_max + kept * settings.limits.connections_max;
    wanted.min(memory_max / BUFFERS_SHARE)
}

/// Live streams, where nobody has told how many: their tables take a share of the memory at most.
pub(in crate::config) fn streams_fitting(settings: &Settings, memory_max: u64) -> u64 {
    settings.limits.streams_max.min(memory_max / STREAMS_SHARE / stream_bytes(settings))
}

/// Bytes of what waits for hooks, of the requests that tell them, and of what is written of it.
pub(super) const fn hooks_bytes(settings: &Settings) -> [u64; 2] {
    let waiting = settings.events.hooks_bytes_max;
    [waiting, waiting / REQUESTS_SHARE + KEEPER_BYTES]
}

/// Bytes of the events that are kept: each is there as itself and as text, and those that hooks
/// have not kept yet have more room.
pub(super) const fn event_bytes(settings: &Settings) -> u64 {
    2 * UNKEPT_FACTOR * settings.events.ring.bytes
}

/// Bytes of what was used and of what shards remember of it: streams and tenants have rows, and
/// totals of their days and months.
pub(super) const fn usage_bytes(settings: &Settings, shards: u64) -> u64 {
    let rows = settings.usage.rows_max(settings.limits.streams_max);
    2 * rows * LEDGER_HOURS_MAX as u64 * LEDGER_ROW_BYTES
        + totals_max(rows) as u64 * TOTAL_BYTES
        + Node::usage_bytes(shards)
}

/// Bytes of the meters of streams and of tenants with quotas, and of what shards know of them.
pub(super) const fn quota_bytes(settings: &Settings, shards: u64) -> u64 {
    let meters = meters_max(settings.limits.streams_max) as u64;
    meters * (2 * METER_BYTES + shards * Node::QUOTA_BYTES)
}

/// Bytes of recordings under way, of what is known of files, and of streams that wait, if there are
/// recordings.
pub(super) const fn recording_bytes(settings: &Settings) -> u64 {
    let section = &settings.recording;
    if !section.is_on() {
        return 0;
    }
    let waiting = settings.limits.streams_max * WAITING_BYTES;
    section.active_max as u64 * ACTIVE_BYTES + section.files_max as u64 * FILE_BYTES + waiting
}

/// Bytes of the API's connections, of those inside TLS besides, and of the import under way.
pub(super) const fn api_bytes(settings: &Settings) -> [u64; 3] {
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
pub(super) const fn attached(settings: &Settings) -> [u64; 2] {
    let section = &settings.coordinator;
    match section.control_secret.0.is_empty() {
        true => [0, 0],
        // Servers have two roles.
        false => [2 * section.servers_max as u64, section.encoders_max as u64],
    }
}

/// Publications that a coordinator elsewhere knows of, and messages that wait for it.
pub(super) fn superior_bytes(settings: &Settings) -> u64 {
    let messages = link_max(settings.limits.streams_max) as u64;
    match settings.coordinator.client.is_on() {
        true => messages.saturating_mul(OWN_BYTES + MESSAGE_BYTES as u64) + (64 << 10),
        false => 0,
    }
}

/// Bytes of those who wait for an answer from elsewhere, and of the answers that are remembered, if
/// there is anybody to be asked.
pub(super) fn question_bytes(settings: &Settings) -> [u64; 2] {
    let Settings { auth, coordinator, .. } = settings;
    let CallbackSection { url, on_connect, on_publish, on_play, .. } = &auth.callback;
    let is_anybody = [url, on_connect, on_publish, on_play].into_iter().any(Option::is_some)
        || auth.jwt.jwks_url.is_some()
        || coordinator.key_verification.url.is_some()
        || coordinator.client.is_on();
    let remembered = REMEMBERED_BYTES * u64::from(auth.callback.cache_entries_max);
    if is_anybody { [WAITING_BYTES_MAX as u64, remembered] } else { [0, 0] }
}

/// Bytes of what the application is to be told of publications, if it is told.
pub(super) const fn announced_bytes(settings: &Settings) -> u64 {
    if settings.coordinator.event_callback.url.is_some() { LEDGER_BYTES_MAX as u64 } else { 0 }
}

/// Buffers of each shard for datagrams.
pub(in crate::config) const fn datagram_buffers(settings: &Settings) -> u16 {
    if settings.listeners.srt.enabled { DATAGRAM_BUFFERS } else { INPUT_DATAGRAM_BUFFERS }
}

/// Bytes that one shard takes for datagrams: their buffers, and what is sent of one slice.
pub(super) const fn datagram_bytes(settings: &Settings) -> u64 {
    // A push may be declared while the node runs.
    datagram_buffers(settings) as u64 * DATAGRAM_BUFFER_BYTES as u64 + DATAGRAM_ARENA_BYTES
}

/// Inputs that come in datagrams at most: as many of the smallest receive buffer as fit.
pub(super) const fn inputs_max(settings: &Settings) -> u64 {
    settings.limits.input_buffer_bytes_max / BUFFER_BYTES_MIN as u64
}

/// Sockets of datagrams of all shards.
pub(super) fn ports(settings: &Settings, shards: u64) -> u64 {
    shards * settings.listeners.srt.configs().count() as u64
}

/// Bytes of the calls that all sockets of datagrams remember.
pub(super) fn calls_bytes(settings: &Settings, shards: u64) -> u64 {
    CALL_BYTES * CALLS_MAX as u64 * ports(settings, shards)
}

/// Bytes that are taken before the first connection and the first page.
pub(super) fn base_bytes(settings: &Settings, shards: u64) -> u64 {
    let ring = settings.reactor.recv_buffers as u64 * settings.reactor.recv_buffer_bytes as u64;
    let tls = if settings.has_tls() { TLS_SHARD_BYTES } else { 0 };
    let [api, api_tls, import] = api_bytes(settings);
    let [hooks, requests] = hooks_bytes(settings);
    let [servers, encoders] = attached(settings);
    let [questions, remembered] = question_bytes(settings);
    PROCESS_BYTES
        + settings.auth.claims_bytes_max
        + questions
        + remembered
        + announced_bytes(settings)
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
        + recording_bytes(settings)
        + Node::mailbox_bytes(shards)
        + calls_bytes(settings, shards)
        + shards * (SHARD_BYTES + ring + tls + datagram_bytes(settings))
        + INPUT_BYTES * inputs_max(settings)
        + settings.limits.buffer_bytes_max
        + settings.limits.streams_max * stream_bytes(settings)
        + settings.limits.hls_viewers_max * view_bytes(settings)
}

/// Bytes that one live stream takes besides pages.
pub(super) const fn stream_bytes(settings: &Settings) -> u64 {
    STREAM_BYTES + segments_bytes(settings) + TRANSPORT_BYTES
}

/// Bytes that segments take of one stream besides pages.
pub(super) const fn segments_bytes(settings: &Settings) -> u64 {
    if matches!(settings.stream.hls.mode, HlsMode::Off) { 0 } else { SEGMENTS_BYTES }
}

/// The most connections that leave a quarter of the memory to pages.
pub(in crate::config) fn connections_affordable(
    settings: &Settings,
    shards: u64,
    memory_max: u64,
) -> u64 {
    let rest = memory_max.saturating_sub(base_bytes(settings, shards));
    (rest / 4 * 3) / connection_bytes(settings).max(1)
}

/// Bytes that `memory_max` leaves to pages.
pub(in crate::config) fn page_bytes(settings: &Settings, shards: u64, memory_max: u64) -> u64 {
    let connections = settings.limits.connections_max;
    let taken = base_bytes(settings, shards)
        .saturating_add(connections.saturating_mul(connection_bytes(settings)));
    memory_max.saturating_sub(taken) / (PAGE_BYTES + PAGE_STATE_BYTES) * PAGE_BYTES
}
