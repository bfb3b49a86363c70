//! Hello: what a peer's first words ask for, before anybody answers them.

use rustls::server::Acceptor;

use super::identity::CHALLENGE;

/// What a peer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    /// It has not said all of it.
    Unfinished,
    /// The answer to a challenge: it is an authority of certificates.
    Challenge,
    /// Anything else, or nothing that can be understood: whoever answers finds what is wrong.
    Else,
}

impl Hello {
    /// Reads all that a peer has said; the caller bounds it.
    pub(super) fn read(mut bytes: &[u8]) -> Self {
        let mut acceptor = Acceptor::default();
        while !bytes.is_empty() {
            if !matches!(acceptor.read_tls(&mut bytes), Ok(1..)) {
                return Self::Else;
            }
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let mut protocols = hello.alpn().into_iter().flatten();
                    let is_authority = protocols.any(|protocol| protocol == CHALLENGE);
                    return if is_authority { Self::Challenge } else { Self::Else };
                }
                Err(_) => return Self::Else,
            }
        }
        Self::Unfinished
    }
}
