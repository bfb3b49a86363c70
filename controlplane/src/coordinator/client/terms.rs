//! Terms: what holds while the coordinator is away.

/// What becomes of those who want to publish meanwhile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewWhileAway {
    /// They are refused.
    #[default]
    Refuse,
    /// They are let in, and asked about when it is back.
    Allow,
}

/// What becomes of those who publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunningWhileAway {
    /// They go on, and are asked about again when it is back.
    #[default]
    Keep,
    /// They have to go.
    End,
}

/// Both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// Of new ones.
    pub new: NewWhileAway,
    /// Of those who are there.
    pub running: RunningWhileAway,
}
