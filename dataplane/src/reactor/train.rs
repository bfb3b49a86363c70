//! Trains: datagrams to one peer that leave in one send, which the kernel cuts (UDP_SEGMENT).
//!
//! A train costs the way through the network stack once, not once per datagram. Where the kernel
//! has no UDP_SEGMENT, or a route takes no trains (a tunnel, a datagram larger than its MTU), the
//! datagrams leave one by one; what one peer's route refuses says nothing of another's.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use super::address::RawAddress;
use super::completion::SendPart;
use super::core::Core;
use super::counters::{OpCounters, OpKind};
use super::socket::last_errno;
use super::token::Token;

/// Ranges of one train at most: three for each datagram of the longest.
pub const TRAIN_PARTS_MAX: usize = 192;
/// Datagrams of one train at most: the kernel's limit.
pub const TRAIN_DATAGRAMS_MAX: usize = 64;
/// Bytes of one train at most: the payload of the largest IPv4 packet.
pub const TRAIN_BYTES_MAX: usize = 65_507;

/// Sends neither wait nor raise a signal.
pub(super) const SEND_FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// No range.
pub(super) const NO_RANGE: libc::iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };

/// Where a train goes and what its answer is called.
#[derive(Clone, Copy)]
pub(super) struct Ticket {
    pub(super) fd: RawFd,
    pub(super) token: Token,
    pub(super) peer: RawAddress,
    /// Bytes of each datagram but the last.
    pub(super) segment: u16,
    /// It has more than one datagram.
    pub(super) several: bool,
}

impl Ticket {
    /// The ticket of `parts`.
    ///
    /// # Panics
    /// The train is empty or out of bounds, which is the caller's mistake.
    pub(super) fn new(
        fd: BorrowedFd<'_>,
        token: Token,
        peer: RawAddress,
        parts: &[SendPart],
        segment: u16,
    ) -> Self {
        assert!((1..=TRAIN_PARTS_MAX).contains(&parts.len()), "a train has 1 to 192 parts");
        let bytes: usize = parts.iter().map(|part| part.len as usize).sum();
        assert!((1..=TRAIN_BYTES_MAX).contains(&bytes) && segment > 0, "a train of {bytes} bytes");
        let datagrams = bytes.div_ceil(usize::from(segment));
        assert!(datagrams <= TRAIN_DATAGRAMS_MAX, "a train of {datagrams} datagrams");
        Self { fd: fd.as_raw_fd(), token, peer, segment, several: datagrams > 1 }
    }
}

/// The control message that tells the kernel where to cut.
#[repr(C)]
pub(super) struct Cut {
    header: libc::cmsghdr,
    segment: u16,
}

impl Cut {
    pub(super) fn new(segment: u16) -> Self {
        // SAFETY: all zero bytes are a valid header.
        let mut header: libc::cmsghdr = unsafe { std::mem::zeroed() };
        // SAFETY: the macro only computes.
        header.cmsg_len = unsafe { libc::CMSG_LEN(size_of::<u16>() as u32) } as _;
        header.cmsg_level = libc::SOL_UDP;
        header.cmsg_type = libc::UDP_SEGMENT;
        Self { header, segment }
    }
}

/// Writes `parts` as the kernel reads them.
pub(super) fn write_ranges(ranges: &mut [libc::iovec], parts: &[SendPart]) {
    for (range, part) in ranges.iter_mut().zip(parts) {
        range.iov_base = part.ptr.cast_mut().cast();
        range.iov_len = part.len as usize;
    }
}

/// A message of `ranges` to `peer`, cut by `cut`. It points to all three.
pub(super) fn message(
    peer: &mut RawAddress,
    ranges: &mut [libc::iovec],
    cut: Option<&mut Cut>,
) -> libc::msghdr {
    // SAFETY: all zero bytes are a valid message without address and control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_namelen = peer.len();
    message.msg_name = peer.as_mut_ptr().cast();
    message.msg_iov = ranges.as_mut_ptr();
    message.msg_iovlen = ranges.len() as _;
    if let Some(cut) = cut {
        message.msg_control = (&raw mut *cut).cast();
        message.msg_controllen = size_of::<Cut>() as _;
    }
    message
}

/// True if the kernel may take the datagrams one by one what it did not take as a train.
pub(super) const fn refused(result: i32) -> bool {
    matches!(-result, libc::EINVAL | libc::EIO | libc::EMSGSIZE)
}

/// Sends a train at once, as one if `whole`, else and where it is refused datagram by datagram,
/// and files the answer.
///
/// # Safety
/// The bytes of every part are readable during the call.
pub(super) unsafe fn send(core: &mut Core, ticket: &Ticket, parts: &[SendPart], whole: bool) {
    core.counters.submitted(OpKind::Train);
    let mut storage = [NO_RANGE; TRAIN_PARTS_MAX];
    let ranges = &mut storage[..parts.len()];
    write_ranges(ranges, parts);
    let result = if whole || !ticket.several {
        let (mut peer, mut cut) = (ticket.peer, Cut::new(ticket.segment));
        let message = message(&mut peer, ranges, ticket.several.then_some(&mut cut));
        // SAFETY: the message and what it points to live on this frame, the bytes by the contract.
        unsafe { send_message(&mut core.counters, ticket.fd, &message) }
    } else {
        -libc::EIO
    };
    let result = if ticket.several && refused(result) {
        if whole {
            core.train_split(-result);
        }
        // SAFETY: the ranges are those of the parts.
        unsafe { send_apart(&mut core.counters, ticket, ranges) }
    } else {
        result
    };
    core.train_sent(ticket.token, ticket.segment, result);
}

/// Sends the datagrams of a train one by one; gives the bytes that left, or an errno below zero if
/// none did.
///
/// # Safety
/// The bytes of every range are readable during the call.
pub(super) unsafe fn send_apart(
    counters: &mut OpCounters,
    ticket: &Ticket,
    ranges: &[libc::iovec],
) -> i32 {
    let mut peer = ticket.peer;
    let (mut sent, mut at, mut skip) = (0, 0, 0);
    let mut storage = [NO_RANGE; TRAIN_PARTS_MAX];
    loop {
        let (mut used, mut room) = (0, usize::from(ticket.segment));
        while room > 0 && at < ranges.len() {
            let left = ranges[at].iov_len - skip;
            let take = left.min(room);
            let base = ranges[at].iov_base.cast::<u8>().wrapping_add(skip).cast();
            storage[used] = libc::iovec { iov_base: base, iov_len: take };
            used += usize::from(take > 0);
            room -= take;
            (at, skip) = if take == left { (at + 1, 0) } else { (at, skip + take) };
        }
        if used == 0 {
            return sent;
        }
        let message = message(&mut peer, &mut storage[..used], None);
        // SAFETY: the message and what it points to live on this frame, the bytes by the contract.
        let result = unsafe { send_message(counters, ticket.fd, &message) };
        if result < 0 {
            return if sent > 0 { sent } else { result };
        }
        sent += result;
    }
}

/// One sendmsg call: the bytes that were sent, or an errno below zero.
///
/// # Safety
/// What the message points to is readable during the call.
unsafe fn send_message(counters: &mut OpCounters, fd: RawFd, message: &libc::msghdr) -> i32 {
    loop {
        counters.send_calls += 1;
        // SAFETY: the message is the caller's promise; a wrong descriptor is an error.
        let sent = unsafe { libc::sendmsg(fd, message, SEND_FLAGS) };
        if let Ok(sent) = u32::try_from(sent) {
            return i32::try_from(sent).unwrap_or(i32::MAX);
        }
        match last_errno() {
            libc::EINTR => {}
            errno => return -errno,
        }
    }
}
