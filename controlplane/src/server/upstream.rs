//! Upstream: the task that calls the coordinator of this node, and its end.

use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::bridge::Ask;
use crate::link::{Call, Calling};
use crate::outbound::Client;
use crate::troubles::Troubles;

/// The task. Lives on: the control thread.
pub(super) struct Upstream {
    leaving: watch::Sender<bool>,
    calling: JoinHandle<()>,
}

impl Upstream {
    /// Calls from now on.
    pub(super) fn call(call: Call, asks: mpsc::Sender<Ask>, troubles: Troubles) -> Self {
        let (leaving, left) = watch::channel(false);
        let calling = Calling::new(call, Client::new(1), asks, troubles, left);
        Self { leaving, calling: tokio::spawn(calling.run()) }
    }

    /// Calls no more, and gives what was said until `deadline` to be sent.
    pub(super) async fn leave(self, deadline: Instant) {
        self.leaving.send_replace(true);
        if tokio::time::timeout_at(deadline.into(), self.calling).await.is_err() {
            tracing::warn!("the coordinator did not take its farewell in time");
        }
    }
}
