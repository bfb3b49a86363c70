//! Ask: what the API wants to know and have of the gate.

use dataplane::control::Intent;
use tokio::sync::oneshot;

use super::gate::Gate;
use super::modes::Modes;

/// A question of the API about verdicts.
#[derive(Debug)]
pub enum AuthAsk {
    /// How requests are judged, and how many wait.
    Standing {
        /// Takes the answer.
        reply: oneshot::Sender<Standing>,
    },
    /// Earlier verdicts are to be forgotten.
    Forget {
        /// Takes their number.
        reply: oneshot::Sender<usize>,
    },
}

/// How requests are judged at this moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How publishers are.
    pub publish: Modes,
    /// How players are.
    pub play: Modes,
    /// The application that is asked, without the query of its URL.
    pub application: Option<String>,
    /// Questions under way.
    pub questions: usize,
    /// Peers that wait for them.
    pub waiting: usize,
    /// Verdicts that are remembered.
    pub cached: usize,
    /// Every intent and outcome with its count since the start.
    pub verdicts: Vec<(Intent, &'static str, u64)>,
    /// Verdicts that cost no question of their own: remembered ones, and those that joined one.
    pub shared: (u64, u64),
    /// Refused because too many questions were under way.
    pub crowded: u64,
}

impl Gate {
    /// Answers the API. A request that is gone misses nothing.
    pub fn answer(&mut self, ask: AuthAsk) {
        match ask {
            AuthAsk::Standing { reply } => drop(reply.send(self.standing())),
            AuthAsk::Forget { reply } => drop(reply.send(self.forget())),
        }
    }
}
