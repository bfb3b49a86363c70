//! Farewell: the desk's side of the way down. Nobody new is let in, what is known is told, and what
//! could not be told is on the disk.

use std::time::{Duration, Instant};

use super::ending::Ending;
use super::run::{Desk, TELL_AGAIN};
use crate::bridge::Fleet;
use crate::hooks::Hooks;

/// Once all shards are over, applications are told for this long at most.
const CLOSE_MAX: Duration = Duration::from_millis(400);
/// How often it is looked whether they were.
const CLOSE_LOOK: Duration = Duration::from_millis(10);
/// Once all shards are over, recordings are ended within this.
const RECORD_MAX: Duration = Duration::from_secs(1);
/// Once all shards are over, events are given to hooks and written down within this.
const KEEP_MAX: Duration = Duration::from_secs(3);
/// What the process takes to be gone after its last word, on a busy machine.
const GONE_AFTER: Duration = Duration::from_secs(2);

impl<F: Fleet> Desk<F> {
    /// Gives what became known at the end a moment to be told; the rest is on the disk and told
    /// at the next start.
    pub(super) async fn close(&mut self) {
        self.end_recordings().await;
        // Every publication is over, and said to be: the coordinator hears it, and the farewell.
        self.exchange.leave_coordinator(Instant::now());
        let deadline = Instant::now() + CLOSE_MAX;
        if let Some(coordinator) = self.coordinator.take() {
            coordinator.leave(deadline).await;
        }
        self.keep_events().await;
        let deadline = Instant::now() + CLOSE_MAX;
        let hooks = self.control.hooks.clone();
        let waits = || hooks.as_ref().is_some_and(Hooks::waits_for_end);
        while (self.teller.waiting() > 0 || waits()) && Instant::now() < deadline {
            tokio::time::sleep(CLOSE_LOOK).await;
        }
    }

    /// Returns when the files of recordings are whole, or the disk is too slow for that: the next
    /// start mends them.
    pub(super) async fn end_recordings(&mut self) {
        let deadline = tokio::time::Instant::now() + RECORD_MAX;
        while self.exchange.recorder().count_active() > 0 {
            match tokio::time::timeout_at(deadline, self.asks.recv()).await {
                Ok(Some(ask)) => self.ask(ask, Instant::now()),
                _ => {
                    tracing::warn!("the disk is too slow: recordings are mended at the next start");
                    return;
                }
            }
        }
        // Of what was told now, the next start is not to tell again.
        let shelf = self.exchange.recorder().shelf().cloned();
        let settles = async {
            while shelf.as_ref().is_some_and(|shelf| !shelf.is_settled()) {
                tokio::time::sleep(CLOSE_LOOK).await;
            }
        };
        drop(tokio::time::timeout_at(deadline, settles).await);
    }

    /// Returns when hooks have every event, delivered or on the disk. That takes as long as the
    /// disk does, which is no time unless it fails.
    pub(super) async fn keep_events(&mut self) {
        let Some(hooks) = self.control.hooks.clone() else { return };
        let deadline = Instant::now() + KEEP_MAX;
        let mut now = Instant::now();
        while (self.keeper.is_telling() || self.exchange.is_telling()) && now < deadline {
            self.keeper.tick(now, &mut self.exchange.registry);
            self.exchange.tick(now);
            tokio::time::sleep(TELL_AGAIN).await;
            now = Instant::now();
        }
        // Sessions that just ended are billed, too: every shard has told them.
        self.control.keep(self.exchange.book(), deadline).await;
        if tokio::time::timeout_at(deadline.into(), hooks.close()).await.is_err() {
            tracing::error!("the disk is too slow: events may be lost, others come again");
        }
    }

    /// Begins to end; true if that had begun before.
    pub(super) fn end(&mut self) -> bool {
        if self.ending.is_some() {
            return true;
        }
        tracing::info!("ending: nobody new is accepted, sessions get their farewell");
        let now = Instant::now();
        let ending = Ending::new(&self.control.loaded.settings.session, now);
        self.control.manager.ending(ending.left(now) + CLOSE_MAX + GONE_AFTER);
        self.ending = Some(ending);
        self.ready.send_replace(false);
        self.control.renewal.end();
        self.exchange.drain();
        false
    }
}
