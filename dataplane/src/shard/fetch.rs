//! Viewers of HLS: from a request for a playlist or a segment to its last byte.
//!
//! ```text
//!   request -> allowed? -> the reader of the log -> its window? -> answer -> bytes of the log
//!                 |              |                     |
//!                 v              v                     v
//!           control plane   home shard: log    wait for the first one, 503 when it takes too long
//! ```
//!
//! A shard has one reader for all viewers of a stream, which stays for `hls.idle` after the last
//! request; with it the home shard packages segments. A viewer is a request, and between two of
//! them only an idle connection.
//!
//! A segment is sent as a range of the log, like everything: no copy, no queue. If the log loses it
//! meanwhile, the viewer was too slow and the connection ends, because its length was promised.
//!
//! Limits: `hls_waiters_max`; [`SEGMENT_SEND_BYTES_MAX`].

use super::arrivals::may_guess;
use super::asked::{Asked, ViewerAsked};
use super::connection::{Connection, Establish, InFlight};
use super::ingress::fence;
use super::queues::Class;
use super::reader::{ReaderState, Readers};
use super::rechecks::About;
use super::shard::Shard;
use super::starters::Start;
use super::verdicts::{Leave, Term};
use super::view_table::{PlaceNumber, Seat};
use super::views::{Judged, View};
use crate::config::LimitId;
use crate::control::{Intent, Protocol};
use crate::ids::StreamName;
use crate::log::{Lapped, RangeList, SealReason};
use crate::segment::uri::Asset;
use crate::session::{Command, Credentials, LogKey, Refusal, Served, ServedAs, Use, Viewer};

/// Bytes of one send of a segment at most: each send wakes its peer, which costs more than the
/// bytes of a small one. They lie in seven pages at most, which leaves one part for the head.
const SEGMENT_SEND_BYTES_MAX: u64 = 384 << 10;

/// A range of a log on its way to a viewer. Packed, because every connection has room for one.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(4))]
pub(crate) struct Serving {
    /// The reader of the log.
    pub reader: u32,
    /// The next byte to send.
    pub at: u64,
    /// How many follow from there on; a log holds fewer than 32 bits tell.
    pub left: u32,
    /// The place of the view that they are for.
    pub view: Option<PlaceNumber>,
}

impl Serving {
    /// What of it one send takes.
    pub(super) fn plan(
        self,
        readers: &Readers,
        ranges: &mut RangeList,
    ) -> Result<InFlight, Lapped> {
        let logs = readers.get(self.reader).and_then(|reader| reader.logs()).ok_or(Lapped)?;
        let log = logs.at(self.at);
        let to = self.at + u64::from(self.left).min(SEGMENT_SEND_BYTES_MAX);
        let covered = log.ranges(self.at, to, ranges)?;
        let len = u32::try_from(covered).expect("a send is under 32 bits");
        Ok(InFlight { own: 0, head: 0, from: self.at, len, boundary: true, cut: false })
    }
}

impl Shard {
    /// A session asks for a piece of HLS.
    pub(super) fn fetch(
        &mut self,
        slot: u32,
        stream: StreamName,
        credentials: Credentials,
        viewer: Viewer,
    ) {
        let Some(connection) = self.connections.get(slot) else { return };
        let (asset, peer) = (connection.session.asset(), connection.peer.ip);
        let from = (peer, connection.listener);
        let permit = self.verdicts.permit(&stream, &credentials, from);
        let judged = self.judge_view(slot, (&stream, permit), asset, viewer);
        let deadline = self.now + self.config.session.authorize_deadline;
        let mut asked = Asked::new(Intent::Play, stream, None, credentials.key.digest(), deadline);
        let print = match viewer {
            Viewer::Of(token) => Some(self.shared.views.print(&asked.stream, token)),
            _ => None,
        };
        let (view, vouched, stale) = match judged {
            Judged::Refused => {
                self.put_question(slot, asked);
                self.refuse(slot, Refusal::Denied);
                return;
            }
            Judged::Known(view) => (view, true, false),
            Judged::Stale(seat) => (View::of(seat.id), true, true),
            Judged::Ask(view) => (view, false, false),
        };
        let (epoch, term, since) = (None, Term::default(), None);
        let may_guess = may_guess(Intent::Play, &credentials);
        if !vouched && view == View::NEW && self.is_penalised(slot, may_guess) {
            // Whatever is remembered of the same question: it was not he who asked.
            self.put_question(slot, asked);
            self.refuse(slot, Refusal::Denied);
            return;
        }
        let issued = (view == View::NEW).then(|| self.views.issue(self.id, self.wall));
        let mut viewer = Box::new(ViewerAsked { permit, view, print, epoch, term, since, issued });
        let allowed = if vouched {
            Some((asked.stream.clone(), stale))
        } else {
            self.remembered(&mut viewer)
        };
        let epoch = self.verdicts.epoch();
        let Some((stream, stale)) = allowed.filter(|_| !self.sends_away()) else {
            viewer.epoch = Some(epoch);
            viewer.since = self.since_by(view, permit);
            asked.viewer = Some(viewer);
            self.authorize(slot, credentials, asked);
            return;
        };
        let view = if stale { self.seat_by(view, permit) } else { None };
        viewer.since = if stale { self.since_by(viewer.view, permit) } else { None };
        asked.viewer = Some(viewer);
        if stale {
            let about = About { view, permit, stream: stream.clone(), epoch };
            self.recheck(slot, &asked, credentials, about);
        }
        asked.stream = stream;
        asked.allowed = true;
        self.put_question(slot, asked);
        self.view(slot);
    }

    /// What is remembered of the same question, and whether it is to be asked again: whoever is
    /// new waits for the answer then.
    fn remembered(&self, viewer: &mut ViewerAsked) -> Option<(StreamName, bool)> {
        let stale_max = self.config.stream.hls.verdict_stale;
        let found = self.verdicts.find(viewer.permit, stale_max, self.now)?;
        if found.stale && viewer.view == View::NEW {
            return None;
        }
        // A view that begins by it is asked about before long, and at its end at the latest.
        if found.leave.timed || found.stale {
            viewer.term = Term::soon(&self.config.stream.hls, found.leave.until, self.now);
        }
        Some((found.leave.stream.clone(), found.stale))
    }

    fn put_question(&mut self, slot: u32, asked: Asked) {
        if let Some(connection) = self.connections.get_mut(slot) {
            connection.asked = Some(Box::new(asked));
        }
    }

    /// A viewer was allowed: it is answered from a log that this shard reads, or its home is asked.
    pub(super) fn view(&mut self, slot: u32) {
        let Some(connection) = self.connections.get(slot) else { return };
        let Some(asked) = connection.asked.as_ref() else { return };
        let asset = connection.session.asset();
        let Some(reader) = self.readers.holding(&asked.stream, asset) else {
            let stream = asked.stream.clone();
            let wait = self.config.session.play_wait;
            self.ask_home(slot, stream, LogKey::SEGMENTS, Use::Segments, wait);
            return;
        };
        match self.readers.get_mut(reader).map(|reader| &mut reader.state) {
            Some(ReaderState::Asked(waiting)) => {
                if waiting.len() as u64 >= self.config.limits.get(LimitId::HlsWaitersMax) {
                    self.too_many_wait(slot);
                    return;
                }
                waiting.push(slot);
                self.wait_at_home(slot, self.config.session.play_wait);
            }
            _ => self.answer_viewer(slot, reader, true),
        }
    }

    /// Answers a viewer from a log, now or when its first window is there.
    ///
    /// A log that is closed answers nothing any more: then its home is asked, if it `may_ask`.
    pub(super) fn answer_viewer(&mut self, slot: u32, reader_slot: u32, may_ask: bool) {
        let now = self.now;
        let reader = self.readers.get_mut(reader_slot);
        let Some((reader, logs)) = reader.and_then(|reader| {
            let logs = reader.logs()?.clone();
            Some((reader, logs))
        }) else {
            self.refuse(slot, Refusal::NotFound);
            return;
        };
        reader.asked_at = now;
        let is_retired = reader.retired;
        if let Some(window) = logs.window() {
            if let Err(reason) = self.admit_viewer(slot, reader_slot) {
                self.refuse_for_room(slot, reason);
                return;
            }
            let tail = logs.tail();
            let is_there =
                self.connections.get(slot).is_some_and(|c| c.session.finds(&window, tail));
            let seat = match self.seat_viewer(slot, is_there) {
                Ok(seat) => seat,
                Err(refusal) => {
                    self.refuse(slot, refusal);
                    return;
                }
            };
            let Some(mut connection) = self.connections.take(slot) else { return };
            connection.session.share(&mut self.words);
            let answer =
                fence(&mut connection, |session| session.handle_window(now, &window, tail));
            self.connections.put(slot, connection);
            match answer {
                Ok(served) => self.answered_viewer(slot, (reader_slot, seat), served),
                Err(error) => {
                    self.settle(slot);
                    self.fail(slot, &error);
                }
            }
            return;
        }
        if logs.ended().is_none() && !is_retired {
            self.wait_for_window(slot, reader_slot);
            return;
        }
        self.readers.retire(reader_slot);
        self.drop_idle_viewers_of(reader_slot);
        if may_ask {
            self.view(slot);
        } else {
            self.refuse(slot, Refusal::NotFound);
        }
    }

    fn wait_for_window(&mut self, slot: u32, reader_slot: u32) {
        let Some(reader) = self.readers.get_mut(reader_slot) else { return };
        if reader.waiting.len() as u64 >= self.config.limits.get(LimitId::HlsWaitersMax) {
            self.too_many_wait(slot);
            return;
        }
        reader.waiting.push(slot);
        self.counters.hls_waits += 1;
        let deadline = self.now + self.config.stream.hls.first_playlist_wait;
        if let Some(asked) = self.connections.get_mut(slot).and_then(|c| c.asked.as_mut()) {
            asked.deadline = deadline;
        }
        self.rearm(slot);
    }

    fn too_many_wait(&mut self, slot: u32) {
        self.counters.limit(LimitId::HlsWaitersMax);
        self.refuse(slot, Refusal::Overloaded);
    }

    /// The session said what it has to say: the bytes of the log follow, if there are any.
    fn answered_viewer(
        &mut self,
        slot: u32,
        (reader_slot, seat): (u32, Option<Seat>),
        served: Served,
    ) {
        let Self { connections, readers, counters, shared, usage, now, .. } = self;
        let Some(connection) = connections.get_mut(slot) else { return };
        let said = connection.session.said_bytes() as u64;
        let bytes = served.body.end - served.body.start;
        let seat = seat.filter(|&seat| {
            let serves = !served.body.is_empty();
            shared.views.answer(seat, said + bytes, serves, *now)
        });
        match served.what {
            ServedAs::Playlist => counters.playlists_served += 1,
            ServedAs::Segment => counters.segments_served += 1,
            ServedAs::Part => counters.segment_ranges_served += 1,
            ServedAs::NotModified => counters.hls_not_modified += 1,
            ServedAs::NotFound | ServedAs::Unsatisfiable => {}
        }
        let asked = connection.asked.take();
        if let Some(asked) = &asked {
            let (stream, carried) = (&asked.stream, (connection.received, connection.sent));
            usage.charge(slot, (stream, Protocol::Hls), carried, *now);
        }
        // What was allowed for a while ends no connection.
        connection.leave_ends_s = 0;
        shared.caps.established(&mut connection.admission);
        counters.segment_bytes_served += bytes;
        if !served.body.is_empty() {
            let viewing = Establish::View(Serving {
                reader: reader_slot,
                at: served.body.start,
                left: u32::try_from(bytes).expect("a segment is under 32 bits"),
                view: seat.map(|seat| seat.number),
            });
            connection.establish(Some(viewing), counters);
            // What it accepted of the last answer says nothing about this one.
            connection.progress(*now);
            if let Some(reader) = readers.get_mut(reader_slot) {
                reader.serving += 1;
            }
        }
        if let Some(mut asked) = asked
            && let Some(viewer) = asked.viewer.take()
            && let Some(epoch) = viewer.epoch
        {
            asked.stream.share(&mut self.words);
            let leave = Leave::of(asked.stream, viewer.term);
            let time = viewer.term.remembered(self.config.stream.hls.verdict, self.now);
            self.verdicts.allow(viewer.permit, leave, epoch, (self.now, time));
        }
        // Before its head is seen as a reply, which would go before those of encoders.
        self.enqueue(slot, Class::Segments);
        self.settle(slot);
        self.feed_parked(slot);
        self.arm(slot);
    }

    /// Everything of the answer is sent: the next request may come.
    pub(super) fn viewed(&mut self, slot: u32) {
        self.stop_serving(slot);
        self.tell(slot, Command::Served);
        self.feed_parked(slot);
        self.arm(slot);
        self.close_answered(slot);
    }

    /// Takes the viewer from its reader.
    pub(super) fn stop_serving(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot) else { return };
        let Some(Establish::View(serving)) = connection.role else { return };
        connection.establish(None, &mut self.counters);
        if let Some(view) = serving.view {
            self.shared.views.answered(view, serving.left.into(), self.now);
        }
        let Some(reader) = self.readers.get_mut(serving.reader) else { return };
        reader.serving -= 1;
        reader.asked_at = self.now;
        if reader.retired {
            self.drop_idle_viewers_of(serving.reader);
        }
    }

    /// A window was shown, or the log ended: those who waited are answered.
    pub(super) fn window_moved(&mut self, reader_slot: u32) {
        let Some(reader) = self.readers.get_mut(reader_slot) else { return };
        let Some(logs) = reader.logs() else { return };
        let sealed = logs.ended();
        let waiting = if logs.window().is_some() || sealed.is_some() {
            std::mem::take(&mut reader.waiting)
        } else {
            Vec::new()
        };
        self.answer_viewers(waiting, reader_slot, true);
        // The list of a stream that ended is asked for until its home closes it.
        if matches!(sealed, Some(SealReason::Moved | SealReason::Idle)) {
            self.readers.retire(reader_slot);
        }
    }

    /// All who waited for one log have their turn; it stays until the last of them is answered.
    pub(super) fn answer_viewers(&mut self, waiting: Vec<u32>, reader_slot: u32, may_ask: bool) {
        if !waiting.is_empty() {
            self.let_start(waiting, Start::View { reader: reader_slot, may_ask });
        }
    }

    /// Gives back the logs that no viewer has asked for in a while.
    pub(super) fn drop_idle_viewers(&mut self) {
        for slot in self.readers.of_segments() {
            self.drop_idle_viewers_of(slot);
        }
    }

    pub(super) fn drop_idle_viewers_of(&mut self, reader_slot: u32) {
        let idle = self.config.stream.hls.idle;
        let Some(reader) = self.readers.get(reader_slot) else { return };
        let Some(logs) = reader.logs() else { return };
        let closed = logs.ended().is_some() && logs.window().is_none();
        let passed =
            self.sends_away() || self.now.saturating_duration_since(reader.asked_at) >= idle;
        let unused = reader.serving == 0 && reader.waiting.is_empty() && !reader.starting;
        if unused && (passed || closed) {
            self.leave_log(reader_slot);
        }
    }
}

impl Connection {
    /// The next byte that a viewer of a reader is sent.
    pub(super) fn served_from(&self, reader: u32) -> Option<u64> {
        let Some(Establish::View(serving)) = self.role else { return None };
        (serving.reader == reader).then_some(serving.at)
    }

    /// The next send to a viewer, `None` if it views nothing.
    pub(super) fn plan_segment(
        &self,
        readers: &Readers,
        ranges: &mut RangeList,
    ) -> Option<Result<InFlight, Lapped>> {
        let Some(Establish::View(serving)) = self.role else { return None };
        Some(serving.plan(readers, ranges))
    }
}

impl Readers {
    /// A viewer waits no longer.
    pub(super) fn forget_viewer(&mut self, stream: &StreamName, slot: u32) {
        let readers = [
            self.find(stream, LogKey::SEGMENTS, Use::Segments),
            self.find_superseded(stream, LogKey::SEGMENTS),
        ];
        for reader in readers.into_iter().flatten() {
            if let Some(reader) = self.get_mut(reader) {
                reader.forget_viewer(slot);
            }
        }
    }

    /// The reader whose log holds a piece of a stream, or else the one that new questions go to.
    ///
    /// A stream that returned after its end has a log of its own; the segments of the last one can
    /// be had a while longer.
    pub(super) fn holding(&self, stream: &StreamName, asset: Option<Asset>) -> Option<u32> {
        let current = self.find(stream, LogKey::SEGMENTS, Use::Segments);
        let before = self.find_superseded(stream, LogKey::SEGMENTS);
        let (Some(before), Some(Asset::Segment(number))) = (before, asset) else { return current };
        let logs = self.get(before)?.logs()?;
        let held = logs.window().is_some_and(|window| window.segment(number).is_some());
        if held { Some(before) } else { current }
    }
}
