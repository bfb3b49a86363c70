//! Mode: how requests are judged.

/// How publishers and players are judged: a closed set, one arm per way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everybody may, under the name that they asked for; a stream with a key of its own is
    /// published with it.
    #[default]
    Open,
    /// Who shows a key that the configuration or the stream lists.
    Keys,
    /// Whom the application allows, asked over HTTP.
    Callback,
    /// Who publishes with a key that the application verifies, by the coordinator's contract, and
    /// who plays with the key that the stream is published with.
    Coordinator,
}

impl Mode {
    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Keys => "keys",
            Self::Callback => "callback",
            Self::Coordinator => "coordinator",
        }
    }
}
