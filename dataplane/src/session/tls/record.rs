//! Records: their size, and room for them.

use rustls::unbuffered::{EncodeError, EncryptError};

use crate::Error;

/// Plain bytes of one record at most.
pub const PLAIN_BYTES_MAX: usize = 16 << 10;
/// Room for one record, its overhead and a change of keys before it.
pub const RECORD_ROOM: usize = PLAIN_BYTES_MAX + 512;

/// What keeps a record from being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unwritten {
    /// It needs so much room.
    Room(usize),
    /// The keys are used up.
    Exhausted,
}

impl From<EncodeError> for Unwritten {
    fn from(error: EncodeError) -> Self {
        match error {
            EncodeError::InsufficientSize(size) => Self::Room(size.required_size),
            EncodeError::AlreadyEncoded => Self::Exhausted,
        }
    }
}

impl From<EncryptError> for Unwritten {
    fn from(error: EncryptError) -> Self {
        match error {
            EncryptError::InsufficientSize(size) => Self::Room(size.required_size),
            EncryptError::EncryptExhausted => Self::Exhausted,
        }
    }
}

/// Lets `write` write behind the end of `out`, with more room if it asks for it.
pub(super) fn put<E: Into<Unwritten>>(
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), Error> {
    let before = out.len();
    let mut room = 512;
    loop {
        out.resize(before + room, 0);
        match write(&mut out[before..]).map_err(Into::into) {
            Ok(written) => {
                out.truncate(before + written);
                return Ok(());
            }
            Err(Unwritten::Room(required)) if required > room => room = required,
            Err(_) => {
                out.truncate(before);
                return Err(Error::Rejected("tls_exhausted"));
            }
        }
    }
}
