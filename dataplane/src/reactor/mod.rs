//! Reactor.

/// What a reactor is built with.
#[derive(Clone, Debug)]
pub struct ReactorConfig;
