//! Relief: what a shard gives up when its pages run out, so that its streams go on.
//!
//! Under pressure, in this order: logs that nobody reads, of all streams; then what lies before the
//! newest GOP, of the largest streams first, a few in each turn. Only when a frame found no page
//! and none of that helped does the largest stream lose its newest GOP. New streams are refused
//! meanwhile.

use super::shard::Shard;

/// Streams that one turn shrinks at most: the next turn sees what it brought.
const SHRUNK_PER_TURN_MAX: usize = 4;

impl Shard {
    /// A publisher's frame was dropped before it became an access unit.
    pub(super) fn media_dropped(&mut self, slot: u32, reason: &'static str) {
        tracing::debug!(slot, reason, "frame dropped");
        match reason {
            "memory" => {
                self.counters.units_dropped_memory += 1;
                self.relieve(true);
            }
            // Tags that say nothing are no fault.
            "silence" | "sequence_end" | "video_command" | "mpeg2ts_config" => {}
            // A transport stream is joined wherever it is.
            "before_keyframe" | "no_config" => {}
            "awaits_keyframe" => self.counters.units_dropped_memory += 1,
            _ => self.counters.units_dropped_malformed += 1,
        }
    }

    /// Gives pages back, once a turn; `exhausted` if a frame found none.
    pub(super) fn relieve(&mut self, exhausted: bool) {
        if self.streams.relieved == Some(self.now) {
            return;
        }
        self.streams.relieved = Some(self.now);
        self.close_ended_logs(true);
        self.close_passed_logs(true);
        let mut slots: Vec<u32> = self.streams.slots().collect();
        for &slot in &slots {
            self.with_stream(slot, |hub, sink| hub.drop_unread_logs(sink));
        }
        slots.sort_by_key(|&slot| {
            let held = self.streams.get(slot).map_or(0, crate::hub::Hub::held_bytes);
            std::cmp::Reverse(held)
        });
        let mut shrunk = 0;
        for &slot in &slots {
            let mut any = false;
            self.with_stream(slot, |hub, sink| any = hub.relieve(sink));
            shrunk += usize::from(any);
            if shrunk == SHRUNK_PER_TURN_MAX {
                break;
            }
        }
        // Pages that were retired come back when every shard has ended its turn.
        if exhausted
            && shrunk == 0
            && self.gc.waiting() == 0
            && let Some(&largest) = slots.first()
        {
            self.with_stream(largest, |hub, sink| hub.forget(sink));
        }
    }
}
