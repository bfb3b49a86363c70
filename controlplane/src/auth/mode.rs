//! Mode: how requests are judged.

/// How publishers and players are judged: a closed set, one arm per way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Everybody may, under the name that they asked for; a stream with a key of its own is
    /// published with it.
    #[default]
    Open,
    /// Who shows a key that the configuration or the stream lists.
    Keys,
    /// Who shows an address that somebody signed who shares a secret with this node.
    Signed,
    /// Who shows a token of JWT whose issuer this node trusts.
    Jwt,
    /// Whom the application allows, asked over HTTP.
    Callback,
    /// Who publishes with a key that the application verifies, by the coordinator's contract, and
    /// who plays with the key that the stream is published with.
    Coordinator,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 6] =
        [Self::Open, Self::Keys, Self::Signed, Self::Jwt, Self::Callback, Self::Coordinator];

    /// The word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Keys => "keys",
            Self::Signed => "signed",
            Self::Jwt => "jwt",
            Self::Callback => "callback",
            Self::Coordinator => "coordinator",
        }
    }

    /// The value of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == word)
    }

    /// It has a verdict on everybody, so that no mode behind it would ever be asked.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Open | Self::Callback | Self::Coordinator)
    }
}
