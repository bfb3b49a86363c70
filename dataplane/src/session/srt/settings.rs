//! What a connection is made with.

use std::time::Duration;

use codecs::srt::{HsFlags, KeyLength, Passphrase};

/// The version of SRT that is told: that whose behaviour is followed.
pub(super) const SRT_VERSION: u32 = 0x0001_0501;

/// What is done, and what the peer is told of it.
pub(super) const FLAGS: HsFlags = HsFlags::TSBPD_SEND
    .with(HsFlags::TSBPD_RECEIVE)
    .with(HsFlags::CRYPT)
    .with(HsFlags::TOO_LATE_DROP)
    .with(HsFlags::PERIODIC_NAK)
    .with(HsFlags::RETRANSMIT_FLAG);

/// Bytes of the headers of IPv4 and UDP, which an MTU counts.
pub(super) const LOWER_HEADERS_BYTES: u32 = 28;
/// The smallest MTU that a peer may ask for who sends: its transport packets fit one by one.
pub(super) const MTU_MIN: u32 = 256;
/// The smallest MTU of a peer that is sent something: groups of seven transport packets fit, which
/// all players of a stream share.
pub(super) const SEND_MTU_MIN: u32 = 7 * 188 + 16 + LOWER_HEADERS_BYTES;
/// Packets under way that are always allowed: a peer that was told nothing never says that it has
/// room again.
pub(super) const FLOW_WINDOW_MIN: u32 = 2;
/// Packets under way that are ever allowed, whatever a peer says.
pub(super) const FLOW_WINDOW_MAX: u32 = 65_536;

/// What a connection is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long a packet may be waited for, counted from when it was sent; the peer may ask for
    /// more.
    pub latency: Duration,
    /// The least that the peer is asked to wait for ours.
    pub peer_latency: Duration,
    /// Bytes of an IP packet at most.
    pub mtu: u32,
    /// True if something will be sent: a peer whose packets are too small for it is refused.
    pub sends: bool,
    /// True if something is received: otherwise a peer's data is counted and nothing else. A
    /// listener that sends as well tells an encrypted caller a key of its own first, which libsrt's
    /// callers do not take.
    pub receives: bool,
    /// Packets of the receive window: from the first that is missing to the last that came.
    pub receive_window: u32,
    /// Bytes that came out of order and are kept at most.
    pub held_bytes_max: usize,
    /// Bytes that are sent in a second at most.
    pub bandwidth_max: u64,
    /// For how long what was not sent may be caught up at once: timers need not be finer.
    pub burst: Duration,
    /// What may be sent again, in percent of what is sent, and [`Self::retransmit_floor`] more.
    pub retransmit_percent: u32,
    /// Bytes a second that may be sent again in any case.
    pub retransmit_floor: u64,
    /// How long a peer may be silent.
    pub idle_timeout: Duration,
    /// How long a handshake may take.
    pub connect_timeout: Duration,
    /// Calls that wait for their verdict at one listener.
    pub waiting_max: usize,
    /// The secret; without one nothing is encrypted and nobody who encrypts is let in.
    pub passphrase: Option<Passphrase>,
    /// The length of the keys that a caller makes.
    pub key_length: KeyLength,
    /// Packets that one key encrypts.
    pub key_refresh_packets: u64,
    /// Packets before its use that a key is told.
    pub key_announce_packets: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(120),
            peer_latency: Duration::ZERO,
            mtu: 1_500,
            sends: true,
            receives: true,
            receive_window: 8_192,
            held_bytes_max: 8 << 20,
            bandwidth_max: 125_000_000,
            burst: Duration::from_millis(10),
            retransmit_percent: 25,
            retransmit_floor: 125_000,
            idle_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(3),
            waiting_max: 4_096,
            passphrase: None,
            key_length: KeyLength::Aes128,
            key_refresh_packets: 1 << 24,
            key_announce_packets: 1 << 12,
        }
    }
}

impl Settings {
    pub(super) fn latency_ms(&self) -> u16 {
        millis(self.latency)
    }

    pub(super) fn peer_latency_ms(&self) -> u16 {
        millis(self.peer_latency)
    }
}

fn millis(duration: Duration) -> u16 {
    u16::try_from(duration.as_millis()).unwrap_or(u16::MAX)
}
