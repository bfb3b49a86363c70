//! Datagrams of one peer, which the kernel may give several at a time (UDP_GRO).

use std::io;
use std::mem::zeroed;
use std::net::UdpSocket;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::ptr;

use super::set_option;

/// Bytes of the control message that tells the size of datagrams, with room to spare.
const CONTROL_BYTES: usize = 64;

/// Trains that one call takes at most.
pub const TRAINS_MAX: usize = 4;

/// Room that a train may need: datagrams that the kernel gives together are no more.
pub const TRAIN_BYTES_MAX: usize = 64 * 1024;

/// Datagrams that came together: all of one size but the last, which may be shorter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Train {
    /// Where they stand in the buffer.
    pub start: usize,
    /// Bytes of all of them.
    pub len: usize,
    /// Bytes of each.
    pub datagram: usize,
}

impl Train {
    /// The datagrams, in the buffer that they were received into.
    pub fn datagrams(self, buffer: &[u8]) -> impl Iterator<Item = &[u8]> {
        buffer[self.start..][..self.len].chunks(self.datagram)
    }
}

/// Trains that came by one call.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trains {
    all: [Train; TRAINS_MAX],
    count: usize,
    /// As many as there was room for: there may be more.
    pub is_full: bool,
}

impl Deref for Trains {
    type Target = [Train];

    fn deref(&self) -> &[Train] {
        &self.all[..self.count]
    }
}

/// Control messages, aligned as their headers are.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Asks the kernel to give datagrams of one size together. A kernel that cannot gives them one by
/// one, which [`receive_trains`] tells as well.
pub fn gather_datagrams(socket: &UdpSocket) {
    let _ = set_option(socket, (libc::SOL_UDP, libc::UDP_GRO), 1);
}

/// Takes what has come, without waiting: as many trains as the buffer has room for by
/// [`TRAIN_BYTES_MAX`], at most [`TRAINS_MAX`].
///
/// # Errors
/// What the kernel says, as that nobody listens there.
pub fn receive_trains(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Trains> {
    let mut controls = [Control([0; CONTROL_BYTES]); TRAINS_MAX];
    // SAFETY: all zero bytes are valid messages and ranges of nothing.
    let (mut messages, mut ranges): ([libc::mmsghdr; TRAINS_MAX], [libc::iovec; TRAINS_MAX]) =
        unsafe { (zeroed(), zeroed()) };
    let mut room = 0;
    for (at, part) in buffer.chunks_exact_mut(TRAIN_BYTES_MAX).take(TRAINS_MAX).enumerate() {
        ranges[at] = libc::iovec { iov_base: part.as_mut_ptr().cast(), iov_len: part.len() };
        let message = &mut messages[at].msg_hdr;
        message.msg_iov = &raw mut ranges[at];
        message.msg_iovlen = 1;
        message.msg_control = controls[at].0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL_BYTES as _;
        room += 1;
    }
    let (fd, flags) = (socket.as_raw_fd(), libc::MSG_DONTWAIT);
    // SAFETY: each of so many messages points to a range of the buffer and to control bytes of its
    // own, which live until the call returns, with their lengths; the descriptor is open.
    let result = unsafe {
        libc::recvmmsg(fd, messages.as_mut_ptr(), room as _, flags as _, ptr::null_mut())
    };
    let Ok(count) = usize::try_from(result) else {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Trains::default()),
            _ => Err(error),
        };
    };
    let mut trains = Trains { count, is_full: count == room, ..Trains::default() };
    for (at, (train, message)) in trains.all.iter_mut().zip(&messages[..count]).enumerate() {
        let len = message.msg_len as usize;
        // SAFETY: the kernel has set the length of the control bytes, which still live.
        let told = unsafe { told_size(&message.msg_hdr) };
        let datagram = told.filter(|size| *size > 0).unwrap_or(len).max(1);
        *train = Train { start: at * TRAIN_BYTES_MAX, len, datagram };
    }
    Ok(trains)
}

/// The size of datagrams that a control message tells.
///
/// # Safety
/// The control bytes of the message must be readable for its length.
unsafe fn told_size(message: &libc::msghdr) -> Option<usize> {
    // SAFETY: the caller vouches for the control bytes; the macro keeps inside their length.
    let header = unsafe { libc::CMSG_FIRSTHDR(ptr::from_ref(message)).as_ref() }?;
    if header.cmsg_level != libc::SOL_UDP || header.cmsg_type != libc::UDP_GRO {
        return None;
    }
    // SAFETY: the kernel tells this option as one int behind the header.
    let size = unsafe { libc::CMSG_DATA(ptr::from_ref(header)).cast::<i32>().read_unaligned() };
    usize::try_from(size).ok()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn datagrams_come_whole_and_none_is_no_error() {
        let here = (Ipv4Addr::LOCALHOST, 0);
        let (ours, theirs) = (UdpSocket::bind(here).unwrap(), UdpSocket::bind(here).unwrap());
        ours.connect(theirs.local_addr().unwrap()).unwrap();
        theirs.connect(ours.local_addr().unwrap()).unwrap();
        gather_datagrams(&ours);
        let mut buffer = vec![0; 2 * TRAIN_BYTES_MAX];
        assert!(receive_trains(&ours, &mut buffer).unwrap().is_empty());
        for sent in [&b"one"[..], b"another", b"", b"last"] {
            theirs.send(sent).unwrap();
        }
        let mut came = Vec::new();
        for is_full in [true, true, false] {
            let trains = receive_trains(&ours, &mut buffer).unwrap();
            assert_eq!(trains.is_full, is_full);
            came.extend(
                trains.iter().flat_map(|train| train.datagrams(&buffer)).map(<[u8]>::to_vec),
            );
        }
        assert_eq!(came, [&b"one"[..], b"another", b"last"], "nothing is told of an empty one");
    }

    #[test]
    fn datagrams_that_are_sent_together_come_together() {
        let here = (Ipv4Addr::LOCALHOST, 0);
        let (ours, theirs) = (UdpSocket::bind(here).unwrap(), UdpSocket::bind(here).unwrap());
        ours.connect(theirs.local_addr().unwrap()).unwrap();
        theirs.connect(ours.local_addr().unwrap()).unwrap();
        gather_datagrams(&ours);
        set_option(&theirs, (libc::SOL_UDP, libc::UDP_SEGMENT), 1_000).unwrap();
        let sent: Vec<u8> = (0..30_500).map(|at| (at / 1_000) as u8).collect();
        theirs.send(&sent).unwrap();
        let mut buffer = vec![0; TRAIN_BYTES_MAX];
        let trains = receive_trains(&ours, &mut buffer).unwrap();
        let [train] = *trains else { panic!("one train: {trains:?}") };
        assert_eq!((train.len, train.datagram), (30_500, 1_000));
        let numbers = train.datagrams(&buffer).map(|datagram| datagram[0]);
        assert!(numbers.eq(0..31));
    }

    #[test]
    fn a_port_where_nobody_listens_is_told() {
        let gone = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = gone.local_addr().unwrap();
        drop(gone);
        let ours = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        ours.connect(addr).unwrap();
        ours.send(b"hello").unwrap();
        // On the loopback the answer has come when the call returns.
        let error = receive_trains(&ours, &mut vec![0; TRAIN_BYTES_MAX]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
