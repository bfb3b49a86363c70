//! What tokens of HLS viewers are signed with.

use crate::error::Error;

/// A key that nobody has seen.
///
/// Errors: the system gives no randomness.
pub fn fresh_key() -> Result<[u8; 32], Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| Error::System {
        what: "cannot make a key for the sessions of viewers",
        reason: error.to_string(),
        mend: "the system must give random bytes",
    })?;
    Ok(key)
}
