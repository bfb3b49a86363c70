//! Why a player is lost.

use std::io;

use super::Tally;

#[derive(Debug)]
pub(super) enum Loss {
    /// The server said no, or ended the stream in words.
    Refused(String),
    /// The connection failed, or broke the protocol.
    Failed(String),
    /// The server closed the connection.
    Closed,
}

impl Loss {
    /// Counts it, and its words.
    pub(super) fn count(self, tally: &mut Tally) {
        let reason = match self {
            Self::Refused(reason) => {
                tally.refused += 1;
                format!("refused: {reason}")
            }
            Self::Failed(reason) => {
                tally.failed += 1;
                reason
            }
            Self::Closed => {
                tally.closed += 1;
                "the server closed the connection".to_owned()
            }
        };
        tally.lost_because(reason, 1);
    }
}

impl From<io::Error> for Loss {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<anyhow::Error> for Loss {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}
