//! Order: what is asked of the ledger.

use tokio::sync::oneshot;

use super::ledger::HookState;
use super::spec::{HookSpec, Misfit};
use crate::registry::{Condition, Unmet};
use crate::store::StoreError;

/// Why something about hooks was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HooksError {
    /// There is no such hook.
    #[error("there is no hook of this id")]
    Unknown,
    /// There is no such dead letter.
    #[error("there is no dead letter of this id")]
    UnknownLetter,
    /// The dead letter is not of a form that this version knows.
    #[error("this dead letter cannot be read; it stays until it is deleted")]
    UnreadableLetter,
    /// It is in the configuration file.
    #[error("this hook is in the configuration file; change it there and reload")]
    ReadOnly,
    /// It is not as the asker knows it.
    #[error(transparent)]
    Unmet(Unmet),
    /// There are as many hooks as may be.
    #[error("there are as many hooks as may be")]
    Full,
    /// A field cannot be used.
    #[error("{} must be {}", .0.field, .0.expected)]
    Misfit(Misfit),
    /// A mask stands for something that is not set.
    #[error("{} must be {}", .0.field, .0.expected)]
    Masked(Misfit),
    /// Another hook writes to the same file.
    #[error("hook {0} writes to this file already; name another one")]
    FileTaken(String),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server is going down.
    #[error("the server is busy or going down")]
    Gone,
}

/// What happens to dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// They are tried again, after what waits.
    Retry,
    /// They are gone.
    Delete,
}

/// A hook that was made or replaced.
#[derive(Clone, Debug)]
pub struct Made {
    /// There was none of its id.
    pub created: bool,
    /// As it was left, whoever changes it next.
    pub state: HookState,
}

/// How many dead letters met their fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Those that did.
    pub events: u64,
    /// Those that stay, because they cannot be read.
    pub unread: u64,
}

/// One order.
#[derive(Debug)]
pub(super) enum Order {
    /// A hook of the API is made or replaced, if this holds.
    Put {
        spec: Box<HookSpec>,
        condition: Condition,
        reply: oneshot::Sender<Result<Made, HooksError>>,
    },
    /// A hook of the API goes, with what waits and its dead letters, if this holds.
    Delete { id: String, condition: Condition, reply: oneshot::Sender<Result<(), HooksError>> },
    /// One dead letter, or all of a hook; answered with their number.
    Letters {
        hook: String,
        letter: Option<u64>,
        fate: Fate,
        reply: oneshot::Sender<Result<Moved, HooksError>>,
    },
    /// The hooks of the file are these from now on.
    Configure(Vec<HookSpec>),
    /// What was delivered is to be forgotten before the process ends.
    Close(oneshot::Sender<()>),
}

impl Order {
    /// True if nobody waits for its answer any more: then whoever asked was told that it is not
    /// done.
    pub(super) fn is_abandoned(&self) -> bool {
        match self {
            Self::Put { reply, .. } => reply.is_closed(),
            Self::Delete { reply, .. } => reply.is_closed(),
            Self::Letters { reply, .. } => reply.is_closed(),
            Self::Configure(_) | Self::Close(_) => false,
        }
    }

    /// Answers that the store does not work.
    pub(super) fn refuse(self, error: &StoreError) {
        let error = HooksError::Store(error.clone());
        // Whoever asked may be gone: then nobody misses the answer.
        match self {
            Self::Put { reply, .. } => drop(reply.send(Err(error))),
            Self::Delete { reply, .. } => drop(reply.send(Err(error))),
            Self::Letters { reply, .. } => drop(reply.send(Err(error))),
            Self::Configure(_) => {}
            Self::Close(reply) => drop(reply.send(())),
        }
    }
}
