//! Told: what the desk hears of certificates that are asked for.

use std::time::SystemTime;

use tokio::sync::oneshot;

use super::challenge::Challenge;
use super::kept::Kept;
use crate::bridge::Gathered;

/// What is wanted of the desk.
#[derive(Debug)]
pub enum AcmeAsk {
    /// The authority is to find this, or nothing any more.
    Show {
        /// What it finds.
        challenge: Option<Challenge>,
        /// Takes what comes in once every shard shows it.
        reply: oneshot::Sender<oneshot::Receiver<Gathered>>,
    },
    /// Something else is wrong than an attempt.
    Wrong {
        /// What, and the mend; `None` if nothing is any more.
        what: Option<String>,
    },
    /// An attempt is over.
    Over {
        /// For which name.
        domain: String,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What came of an attempt.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A certificate is kept on the disk, to be taken.
    Obtained {
        /// The certificate.
        kept: Box<Kept>,
    },
    /// The certificate in force stays.
    Failed {
        /// What went wrong, and the mend.
        reason: String,
        /// When it is tried again.
        again: SystemTime,
    },
}
