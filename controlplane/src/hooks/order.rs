//! Order: what is asked of the ledger.

use tokio::sync::oneshot;

use super::spec::{HookSpec, Misfit};
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
    /// It is in the configuration file.
    #[error("this hook is in the configuration file; change it there and reload")]
    ReadOnly,
    /// There are as many hooks as may be.
    #[error("there are as many hooks as may be")]
    Full,
    /// A field cannot be used.
    #[error("{} must be {}", .0.field, .0.expected)]
    Misfit(Misfit),
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

/// One order.
#[derive(Debug)]
pub(super) enum Order {
    /// A hook of the API is made or replaced; true if it is new.
    Put { spec: Box<HookSpec>, reply: oneshot::Sender<Result<bool, HooksError>> },
    /// A hook of the API goes, with what waits and its dead letters.
    Delete { id: String, reply: oneshot::Sender<Result<(), HooksError>> },
    /// One dead letter, or all of a hook; answered with their number.
    Letters {
        hook: String,
        letter: Option<u64>,
        fate: Fate,
        reply: oneshot::Sender<Result<u64, HooksError>>,
    },
    /// The hooks of the file are these from now on.
    Configure(Vec<HookSpec>),
    /// What was delivered is to be forgotten before the process ends.
    Close(oneshot::Sender<()>),
}
