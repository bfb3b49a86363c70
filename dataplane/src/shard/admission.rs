//! Admission: a shard without room refuses new players before those who play suffer.
//!
//! ```text
//!   play allowed -> players_max -> log found -> egress_bps_max -> room of the core -> plays
//!                       |                             |                 |
//!                       +----------- refused: full ---+-----------------+
//! ```
//!
//! Publishers, and viewers of HLS who view already, are never refused here. A shard that is full
//! says so to the others, who then keep fresh connections for themselves and take its own.

use std::time::{Duration, Instant};

use super::asked::ViewerAsked;
use super::cost::Work;
use super::headroom::{Headroom, Place, Rate, Span};
use super::shard::Shard;
use crate::config::{Admission, LimitId};
use crate::control::{CoreUse, HeadroomStatus, QuotaPlace};
use crate::ids::StreamName;
use crate::metrics::NoRoom;
use crate::reactor::thread_cpu_time;
use crate::segment::uri::Asset;
use crate::session::{Refusal, Use};

/// Bytes of a segment that one send takes, about.
const SEGMENT_SEND_BYTES: f64 = 384.0 * 1_024.0;

/// What the counters said when they were looked at last. Lives on: its shard.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    at: Instant,
    spent: Duration,
    sends: u64,
    bytes: u64,
    encrypted: u64,
    requests: u64,
    received: u64,
    opened: u64,
    fetches: u64,
    fetched: u64,
    /// When the core was looked at, and what the thread had run by then.
    core: (Instant, Duration),
    /// Bits a second that this shard has told the node it owes.
    owed_bps: u64,
}

impl Seen {
    pub(super) fn new(now: Instant) -> Self {
        let spent = thread_cpu_time();
        Self {
            at: now,
            spent,
            sends: 0,
            bytes: 0,
            encrypted: 0,
            requests: 0,
            received: 0,
            opened: 0,
            fetches: 0,
            fetched: 0,
            core: (now, spent),
            owed_bps: 0,
        }
    }
}

impl Shard {
    /// Learns what the work since the last look cost, and what is owed from now on.
    pub(super) fn measure(&mut self) {
        let span = self.span();
        self.headroom.observe(&span);
        self.weigh_players();
        let owed = self.headroom.owed_bps();
        self.shared.caps.correct_owed(std::mem::replace(&mut self.seen.owed_bps, owed), owed);
        self.tell_full();
    }

    /// The work since the last look.
    fn span(&mut self) -> Span {
        let Self { seen, counters, now, .. } = self;
        let spent = thread_cpu_time();
        let since = |before: &mut u64, count: u64| {
            count.saturating_sub(std::mem::replace(before, count)) as f64
        };
        let seconds = now.saturating_duration_since(seen.at).as_secs_f64();
        let fetches = counters.playlists_served
            + counters.segments_served
            + counters.segment_ranges_served
            + counters.hls_not_modified;
        let (fetches, fetched) = (
            since(&mut seen.fetches, fetches),
            since(&mut seen.fetched, counters.segment_bytes_served),
        );
        let work = Work {
            seconds,
            sends: since(&mut seen.sends, counters.sends),
            bytes: since(&mut seen.bytes, counters.bytes_sent),
            encrypted: since(&mut seen.encrypted, counters.tls_bytes_encrypted),
            requests: since(&mut seen.requests, counters.http_requests),
            received: since(&mut seen.received, counters.bytes_received),
            opened: since(&mut seen.opened, counters.connections_accepted),
        };
        let span = Span {
            work,
            spent: (spent - seen.spent).as_secs_f64(),
            asked: fetch(fetches, fetched),
        };
        (seen.at, seen.spent) = (*now, spent);
        span
    }

    /// Adds up anew what the players of this shard are owed, stream by stream.
    fn weigh_players(&mut self) {
        let Self { readers, headroom, config, now, .. } = self;
        let (mut live, mut at_once, mut players) = (Work::default(), Work::default(), 0);
        headroom.bursts.clear();
        for reader in readers.iter_mut() {
            reader.weigh(*now);
            if reader.usage != Use::Live {
                continue;
            }
            // What the node plays to itself is work, too.
            let all = reader.served() as u64;
            let low_latency = reader.low_latency.len() as u64;
            let weight = |low| reader.rate.player(&config.egress, low);
            live = live.and(&weight(false).times(all.saturating_sub(low_latency) as f64));
            live = live.and(&weight(true).times(low_latency as f64));
            at_once = at_once.and(&weight(true).times(all as f64));
            players += all;
            if all > 0 {
                let burst = reader.burst_beyond(&config.egress);
                headroom.bursts.add(&reader.stream, burst * all as f64);
            }
        }
        headroom.set_live(live, at_once, players);
    }

    /// Shards that accept connections hear whether this one has room for players.
    pub(super) fn tell_full(&mut self) {
        let full = self.headroom.is_full(&self.config.egress);
        let measured = self.config.egress.admission == Admission::Measured;
        self.shared.load(self.id).set_full(full && measured);
    }

    /// The control plane tells what this shard's core did.
    pub(super) fn core_used(&mut self, used: CoreUse) {
        let spent = thread_cpu_time();
        let (at, before) = std::mem::replace(&mut self.seen.core, (self.now, spent));
        let passed = self.now.saturating_duration_since(at).as_secs_f64();
        if passed > 0.0 {
            let share = (spent - before).as_secs_f64() / passed;
            self.headroom.observe_core(used, share);
        }
    }

    /// The player in `slot` takes its place at a reader: one of its stream's quota, one of the
    /// node's players, and room on this shard.
    pub(super) fn take_place(
        &mut self,
        slot: u32,
        reader_slot: u32,
        low_latency: bool,
    ) -> Result<Option<QuotaPlace>, NoRoom> {
        let asked = self.connections.get(slot).and_then(|connection| connection.asked.as_ref());
        let counted = asked.filter(|asked| !asked.internal);
        let place = counted.map_or(Ok(None), |asked| self.quotas.enter(&asked.stream));
        let place = place.map_err(|_full| NoRoom::Quota)?;
        let room = self.shared.caps.enter_player(&self.config.limits);
        room.map_err(|_limit| NoRoom::Players)?;
        if let Err(reason) = self.admit_player(reader_slot, low_latency) {
            self.shared.caps.leave_player();
            return Err(reason);
        }
        Ok(place)
    }

    /// The player of a connection finds room, or the reason why there is none.
    fn admit_player(&mut self, reader_slot: u32, low_latency: bool) -> Result<(), NoRoom> {
        let Self { readers, config, now, .. } = self;
        let Some(reader) = readers.get_mut(reader_slot) else { return Ok(()) };
        reader.weigh(*now);
        let (place, bps) = (reader.place(&config.egress, low_latency), reader.rate.bps());
        self.find_room(&place, bps)?;
        self.headroom.add_player(&place);
        Ok(())
    }

    /// What a core without room, and a node that owes enough, say to one more.
    fn find_room(&mut self, place: &Place, bps: u64) -> Result<(), NoRoom> {
        let Self { headroom, config, shared, seen, .. } = self;
        if config.egress.admission == Admission::Measured
            && let Err(lack) = headroom.admits(place, &config.egress)
        {
            shared.load(self.id).set_full(true);
            return Err(lack);
        }
        shared.caps.owe(bps, &config.limits).map_err(|_| NoRoom::EgressBps)?;
        seen.owed_bps += bps;
        Ok(())
    }

    /// True if a viewer may have what it asks for: a new one needs room, one that views goes on.
    ///
    /// Where viewers are told apart, it is its number that is known, and not the address that it
    /// may share with thousands. Of those who ask over one connection only the first is noted
    /// before its view begins, so that nobody drives others out of the table by asking for more
    /// numbers.
    pub(super) fn admit_viewer(&mut self, slot: u32, reader_slot: u32) -> Result<(), NoRoom> {
        let Self { connections, readers, shared, now, .. } = self;
        let Some(connection) = connections.get(slot) else { return Ok(()) };
        let whole = matches!(connection.session.asset(), Some(Asset::Multivariant | Asset::Media));
        let Some(reader) = readers.get_mut(reader_slot).filter(|_| whole) else { return Ok(()) };
        let asked = connection.asked.as_ref().and_then(|asked| asked.viewer.as_deref());
        let number = asked.and_then(ViewerAsked::number);
        let viewer = match number {
            Some(number) => shared.viewers.id_of_view(number),
            None => shared.viewers.id(&reader.stream, connection.peer.ip),
        };
        let view = asked.and_then(|asked| asked.view.viewer());
        let views = view.is_some_and(|view| shared.views.find(view).is_some());
        let (now, fresh) = (*now, !connection.viewer);
        if fresh {
            reader.weigh(now);
            let (stream, rate) = (reader.stream.clone(), reader.rate);
            let known = views || shared.viewers.is_known(viewer, now);
            self.begin_viewing(slot, known, (stream, rate))?;
        }
        if fresh || views || number.is_none() {
            self.shared.viewers.note(viewer, now);
        }
        Ok(())
    }

    fn begin_viewing(
        &mut self,
        slot: u32,
        known: bool,
        (stream, rate): (StreamName, Rate),
    ) -> Result<(), NoRoom> {
        if known {
            self.shared.caps.return_player();
            self.headroom.add_viewer(None);
        } else {
            let segment = self.config.stream.hls.segment.as_millis().max(1) as f64 / 1_000.0;
            // A playlist and a segment, again and again.
            let work = fetch(2.0 / segment, rate.bytes);
            // Viewers ask when they like, and no interval ends for them.
            let place = Place { stream, work, burst: 0.0, live: false };
            let entered = self.shared.caps.enter_player(&self.config.limits);
            entered.map_err(|_| NoRoom::Players)?;
            if let Err(reason) = self.find_room(&place, rate.bps()) {
                self.shared.caps.leave_player();
                return Err(reason);
            }
            self.headroom.add_viewer(Some(&place.work));
        }
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.viewer = true;
        }
        Ok(())
    }

    /// The connection of a viewer is closed.
    pub(super) fn viewer_left(&mut self) {
        self.shared.caps.leave_player();
        self.headroom.remove_viewer();
    }

    /// A new player hears that there is no room for it.
    pub(super) fn refuse_for_room(&mut self, slot: u32, reason: NoRoom) {
        match reason {
            NoRoom::Players => self.counters.limit(LimitId::PlayersMax),
            NoRoom::EgressBps => self.counters.limit(LimitId::EgressBpsMax),
            NoRoom::Cpu | NoRoom::Latency | NoRoom::Quota => {}
        }
        self.counters.no_room(reason);
        self.refuse(slot, Refusal::Full);
    }

    /// Who plays and what room is left, for people.
    pub(super) fn headroom_status(&self) -> HeadroomStatus {
        let headroom: &Headroom = &self.headroom;
        let [send, byte, request] = headroom.model.unit_costs();
        let full = self.shared.load(self.id).is_full();
        let (players_room, bound) = headroom.players_room(&self.config.egress);
        HeadroomStatus {
            players_room: if full { 0 } else { players_room },
            bound: if full { headroom.lacks() } else { bound },
            players: headroom.players + headroom.viewers,
            full,
            player_share: headroom.player_share(&self.config.egress),
            player_in_burst: headroom.player_in_burst(&self.config.egress),
            player_bps: headroom.player_bps(),
            owed_bps: headroom.owed_bps(),
            in_use: headroom.in_use(),
            in_burst: headroom.in_burst(&self.config.egress),
            others: headroom.others(),
            send_s: send,
            byte_s: byte,
            request_s: request,
            node: self.shared.caps.room(&self.config.limits),
        }
    }
}

/// The work of so many requests of HLS with so many bytes of segments.
fn fetch(requests: f64, bytes: f64) -> Work {
    let sends = requests + bytes / SEGMENT_SEND_BYTES;
    Work { sends, bytes, requests, ..Work::default() }
}
