//! Received datagrams: how a run of them lies in its buffer.
//!
//! A run is what the kernel gives at once: one datagram, or several of one peer that it put
//! together (UDP_GRO), all of one size but the last, which may be shorter.
//!
//! Shape: `words(16) | address(32) | control message(24) | payload`; the words are the lengths of
//! address, control message and payload and the flags, as io_uring's multishot RECVMSG writes them
//! and the epoll backend does.
//!
//! Limits: a run has at most 65,535 bytes, for which each buffer has room; one that is cut all the
//! same is dropped and counted.

use std::net::SocketAddr;

use super::address::RawAddress;
use super::buffers::{Buffers, RecvBuf};

/// Bytes of one buffer: a run of datagrams and what the kernel tells of it.
pub const DATAGRAM_BUFFER_BYTES: u32 = 65_664;

/// Where the address of the peer starts.
pub(super) const ADDRESS_AT: usize = 16;
/// Room for an address: an IPv6 one has 28 bytes.
pub(super) const ADDRESS_BYTES: usize = 32;
/// Where the control message starts.
pub(super) const CONTROL_AT: usize = ADDRESS_AT + ADDRESS_BYTES;
/// Room for one control message that is an integer.
pub(super) const CONTROL_BYTES: usize = 24;
/// Where the payload starts.
pub(super) const PAYLOAD_AT: usize = CONTROL_AT + CONTROL_BYTES;
/// Room for a payload, more than any has.
pub(super) const PAYLOAD_BYTES: usize = 65_536;

const _: () = assert!(PAYLOAD_AT + PAYLOAD_BYTES <= DATAGRAM_BUFFER_BYTES as usize);
const _: () = assert!(CONTROL_AT.is_multiple_of(align_of::<libc::cmsghdr>()));
// SAFETY: the macro only computes.
const _: () = assert!(unsafe { libc::CMSG_SPACE(4) } as usize <= CONTROL_BYTES);

/// A run of datagrams of one peer, lent by the reactor that completed it.
///
/// Lives on: its shard. Crosses by: never. In/Out: give it back with
/// [`super::Reactor::release_datagrams`]; a dropped one is lost to the group.
#[derive(Debug)]
#[must_use = "a buffer that is not released is lost to the group"]
pub struct DatagramBuf {
    pub(super) run: RecvBuf,
    segment: u32,
}

impl DatagramBuf {
    /// The datagrams of `run`, each `segment` bytes, which is not zero.
    pub(super) const fn new(run: RecvBuf, segment: u32) -> Self {
        Self { run, segment }
    }

    /// Bytes of all datagrams together, never 0.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "an empty datagram is not handed out")]
    pub const fn len(&self) -> usize {
        self.run.len() - PAYLOAD_AT
    }

    /// Bytes of each datagram; the last may have fewer.
    #[must_use]
    pub const fn segment(&self) -> usize {
        self.segment as usize
    }

    /// How many datagrams, never 0.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.len().div_ceil(self.segment())
    }

    pub(super) fn bytes<'a>(&self, buffers: &'a Buffers) -> &'a [u8] {
        &buffers.bytes(&self.run)[PAYLOAD_AT..]
    }

    pub(super) fn bytes_mut<'a>(&mut self, buffers: &'a mut Buffers) -> &'a mut [u8] {
        &mut buffers.bytes_mut(&self.run)[PAYLOAD_AT..]
    }
}

/// What a buffer holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Datagrams of `segment` bytes.
    Run { peer: SocketAddr, segment: u32 },
    /// One datagram without a byte.
    Empty,
    /// Less than arrived, or nothing that tells from whom.
    Cut,
}

impl Arrival {
    /// Reads what the kernel wrote in front of the payload; `bytes` end with it.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let Some((head, payload)) = bytes.split_at_checked(PAYLOAD_AT) else { return Self::Cut };
        let [address, control, told, flags] = words(head);
        if flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) as u32 != 0 || told != payload.len() as u32
        {
            return Self::Cut;
        }
        let address = &head[ADDRESS_AT..][..ADDRESS_BYTES.min(address as usize)];
        let Some(peer) = RawAddress::read(address) else { return Self::Cut };
        if payload.is_empty() {
            return Self::Empty;
        }
        let control = &head[CONTROL_AT..][..CONTROL_BYTES.min(control as usize)];
        // Without the message, or with one that says nothing, the run is one datagram.
        let segment = segment(control).filter(|&segment| segment > 0).unwrap_or(told);
        Self::Run { peer, segment: segment.min(told) }
    }
}

/// The four words in front.
fn words(head: &[u8]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(head.as_chunks().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    words
}

/// The four words that [`Arrival::parse`] reads, for a backend that writes them itself.
pub(super) fn head(address: u32, control: u32, payload: u32, flags: i32) -> [u8; ADDRESS_AT] {
    let mut head = [0; ADDRESS_AT];
    let words = [address, control, payload, flags.cast_unsigned()];
    for (bytes, word) in head.as_chunks_mut().0.iter_mut().zip(words) {
        *bytes = word.to_ne_bytes();
    }
    head
}

/// The size of datagrams that a control message tells.
fn segment(control: &[u8]) -> Option<u32> {
    // SAFETY: the macro only computes.
    let (at, end) = unsafe { (libc::CMSG_LEN(0) as usize, libc::CMSG_LEN(4) as usize) };
    if control.len() < end {
        return None;
    }
    // SAFETY: the slice has as many bytes, which are valid for every field of the header.
    let header = unsafe { control.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
    let tells = header.cmsg_level == libc::SOL_UDP
        && header.cmsg_type == libc::UDP_GRO
        && header.cmsg_len >= end;
    let value = control[at..end].first_chunk()?;
    u32::try_from(i32::from_ne_bytes(*value)).ok().filter(|_| tells)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "192.0.2.7:9000";

    /// A buffer as the kernel writes it.
    fn buffer(segment: Option<i32>, payload: usize, flags: i32) -> Vec<u8> {
        let raw = RawAddress::new(&PEER.parse().unwrap());
        let mut bytes = vec![0; PAYLOAD_AT + payload];
        let told = if segment.is_some() { CONTROL_BYTES as u32 } else { 0 };
        bytes[..ADDRESS_AT].copy_from_slice(&head(raw.len(), told, payload as u32, flags));
        // SAFETY: the address is readable for its length.
        let address =
            unsafe { std::slice::from_raw_parts(raw.as_ptr().cast::<u8>(), raw.len() as usize) };
        bytes[ADDRESS_AT..][..address.len()].copy_from_slice(address);
        if let Some(segment) = segment {
            let control = &mut bytes[CONTROL_AT..PAYLOAD_AT];
            // SAFETY: the macro only computes.
            let (at, len) = unsafe { (libc::CMSG_LEN(0) as usize, libc::CMSG_LEN(4)) };
            control[..8].copy_from_slice(&u64::from(len).to_ne_bytes());
            control[8..12].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
            control[12..16].copy_from_slice(&libc::UDP_GRO.to_ne_bytes());
            control[at..at + 4].copy_from_slice(&segment.to_ne_bytes());
        }
        bytes
    }

    fn run(segment: u32) -> Arrival {
        Arrival::Run { peer: PEER.parse().unwrap(), segment }
    }

    #[test]
    fn the_control_message_cuts_a_run() {
        assert_eq!(Arrival::parse(&buffer(None, 900, 0)), run(900));
        assert_eq!(Arrival::parse(&buffer(Some(1332), 4_000, 0)), run(1332));
        assert_eq!(Arrival::parse(&buffer(Some(0), 900, 0)), run(900));
        assert_eq!(Arrival::parse(&buffer(Some(-1), 900, 0)), run(900));
        assert_eq!(Arrival::parse(&buffer(Some(5_000), 900, 0)), run(900));
        assert_eq!(Arrival::parse(&buffer(None, 0, 0)), Arrival::Empty);
    }

    #[test]
    fn another_control_message_is_not_taken_for_it() {
        let mut other = buffer(Some(10), 900, 0);
        other[CONTROL_AT + 12] ^= 1;
        assert_eq!(Arrival::parse(&other), run(900));
        let mut short = buffer(Some(10), 900, 0);
        short[CONTROL_AT] = 17;
        assert_eq!(Arrival::parse(&short), run(900));
    }

    #[test]
    fn what_was_cut_is_not_handed_out() {
        for flags in [libc::MSG_TRUNC, libc::MSG_CTRUNC] {
            assert_eq!(Arrival::parse(&buffer(Some(100), 900, flags)), Arrival::Cut);
        }
        let whole = buffer(Some(100), 900, 0);
        for len in (0..PAYLOAD_AT).chain([whole.len() - 1]) {
            assert_eq!(Arrival::parse(&whole[..len]), Arrival::Cut, "{len}");
        }
        let mut nameless = whole;
        nameless[0] = 0;
        assert_eq!(Arrival::parse(&nameless), Arrival::Cut);
    }
}
