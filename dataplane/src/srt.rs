//! SRT: how its peers are served, and what they are taken for who do not say what they want.

use std::fmt;
use std::time::Duration;

use codecs::srt::{KeyLength, Passphrase};

use crate::control::Role;
use crate::ids::StreamName;
use crate::listener::ListenerNumber;
use crate::session::srt::Settings;

/// Send buffer of a socket that many peers share, which the kernel doubles.
pub const PORT_SEND_BYTES: u32 = 4 << 20;
/// Receive buffer of such a socket, which the kernel doubles: a turn's delay at some gigabits a
/// second.
pub const PORT_RECEIVE_BYTES: u32 = 8 << 20;

/// How SRT peers are served.
///
/// Memory: what came out of order waits in `held_bytes_max` bytes of a publisher at most, and of
/// all of them in [`Limits::buffer_bytes_max`](crate::config::Limits).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtConfig {
    /// What cookies and keys are made of.
    pub secret: SrtSecret,
    /// How long a lost packet may be waited for; a peer may ask for more.
    pub latency: Duration,
    /// The secret of all peers whose grant has none of their own; those have none then and may not
    /// encrypt.
    pub passphrase: Option<Passphrase>,
    /// The length of keys that are made here, where the peer's keys do not say it.
    pub key_length: KeyLength,
    /// A peer that says nothing for this long is gone.
    pub idle_timeout: Duration,
    /// Bytes that came out of order and are kept for one publisher at most.
    pub held_bytes_max: usize,
    /// Packets from the first that is missing to the last that came at most.
    pub receive_window: u32,
    /// What is said of each listener; one of which nothing is said has nothing by default.
    pub listeners: Vec<(ListenerNumber, SrtListener)>,
}

/// What they are taken for who came by one listener and do not say what they want.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtListener {
    /// The stream of a peer that names none.
    pub stream: Option<StreamName>,
    /// What a peer does that does not say it.
    pub role: Role,
}

/// Thirty-two random bytes of this process, which are shown to nobody.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SrtSecret(pub [u8; 32]);

impl fmt::Debug for SrtSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SrtSecret(***)")
    }
}

impl Default for SrtListener {
    /// Nobody is known, and whoever names a stream plays it.
    fn default() -> Self {
        Self { stream: None, role: Role::Play }
    }
}

impl SrtConfig {
    /// The defaults of everything that is not secret.
    #[must_use]
    pub fn new(secret: SrtSecret) -> Self {
        let Settings { latency, idle_timeout, held_bytes_max, receive_window, .. } =
            Settings::default();
        Self {
            secret,
            latency,
            passphrase: None,
            key_length: KeyLength::Aes128,
            idle_timeout,
            held_bytes_max,
            receive_window,
            listeners: Vec::new(),
        }
    }

    /// What is said of a listener.
    #[must_use]
    pub fn listener(&self, number: ListenerNumber) -> SrtListener {
        let said = self.listeners.iter().find(|(said, _)| *said == number);
        said.map(|(_, listener)| listener.clone()).unwrap_or_default()
    }

    /// What a connection is made with.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings_by(None)
    }

    /// The same, of a peer that was told another secret than all others, if there is one.
    #[must_use]
    pub fn settings_by(&self, granted: Option<&Passphrase>) -> Settings {
        Settings {
            latency: self.latency,
            passphrase: granted.or(self.passphrase.as_ref()).cloned(),
            key_length: self.key_length,
            idle_timeout: self.idle_timeout,
            held_bytes_max: self.held_bytes_max,
            receive_window: self.receive_window,
            ..Settings::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_of_its_own_comes_before_that_of_all() {
        let secret = |text: &str| Passphrase::new(text.as_bytes()).unwrap();
        let (own, all) = (secret("correct horse"), secret("battery staple"));
        let plain = SrtConfig::new(SrtSecret([7; 32]));
        let encrypted = SrtConfig { passphrase: Some(all.clone()), ..plain.clone() };
        for (config, granted, used) in [
            (&plain, None, None),
            (&plain, Some(&own), Some(&own)),
            (&encrypted, None, Some(&all)),
            (&encrypted, Some(&own), Some(&own)),
        ] {
            assert_eq!(config.settings_by(granted).passphrase.as_ref(), used);
        }
    }
}
