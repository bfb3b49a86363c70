//! RTMP sessions against scripted peers: every state with every input, every reply, every limit.
#![expect(clippy::unwrap_used, reason = "a test that panics has failed")]

mod client;
mod enhanced;
mod hostile;
mod peer;
mod play;
mod publish;
mod pull;
mod states;
