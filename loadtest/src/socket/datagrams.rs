//! Datagrams of one peer, which the kernel may give several at a time (UDP_GRO).

use std::io;
use std::mem::zeroed;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::ptr;

use super::set_option;

/// Bytes of the control message that tells the size of datagrams, with room to spare.
const CONTROL_BYTES: usize = 64;

/// Datagrams that came together: all of one size but the last, which may be shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train {
    /// Bytes of all of them.
    pub len: usize,
    /// Bytes of each.
    pub datagram: usize,
}

/// Control messages, aligned as their headers are.
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Asks the kernel to give datagrams of one size together. A kernel that cannot gives them one by
/// one, which [`receive_train`] tells as well.
pub fn gather_datagrams(socket: &UdpSocket) {
    let _ = set_option(socket, (libc::SOL_UDP, libc::UDP_GRO), 1);
}

/// Takes what has come, without waiting: `None` if nothing has.
///
/// # Errors
/// What the kernel says, as that nobody listens there.
pub fn receive_train(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Option<Train>> {
    let mut control = Control([0; CONTROL_BYTES]);
    let mut range = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zero bytes are a valid message without address and control data.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut range;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: the message points to one range of the buffer and to the control bytes, which live
    // until the call returns, each with its own length; the descriptor is open.
    let result = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let Ok(len) = usize::try_from(result) else {
        let error = io::Error::last_os_error();
        return match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        };
    };
    // SAFETY: the kernel has set the length of the control bytes, which still live.
    let datagram = unsafe { told_size(&message) }.filter(|size| *size > 0).unwrap_or(len);
    Ok(Some(Train { len, datagram: datagram.max(1) }))
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
        let mut buffer = [0; 65_536];
        assert_eq!(receive_train(&ours, &mut buffer).unwrap(), None);
        for sent in [&b"one"[..], b"another"] {
            theirs.send(sent).unwrap();
            let train = receive_train(&ours, &mut buffer).unwrap().unwrap();
            assert_eq!((&buffer[..train.len], train.datagram), (sent, sent.len()));
        }
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
        let error = receive_train(&ours, &mut [0; 16]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
