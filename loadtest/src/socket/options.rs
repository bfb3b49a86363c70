//! Settings of a socket that the standard library does not have.

use std::io;
use std::mem::size_of_val;
use std::os::fd::AsRawFd;
use std::ptr;

use super::check;

/// Asks for room for so many received and unsent bytes; the kernel gives what it allows.
///
/// # Errors
/// What the kernel says.
pub fn buffers(socket: &impl AsRawFd, bytes: usize) -> io::Result<()> {
    let value = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SO_RCVBUF, &value)?;
    set(socket, libc::SO_SNDBUF, &value)
}

/// Makes closing a connection cut it: the peer gets a reset, and unsent bytes are lost.
///
/// # Errors
/// What the kernel says.
pub fn reset_on_close(socket: &impl AsRawFd) -> io::Result<()> {
    set(socket, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 })
}

fn set<T>(socket: &impl AsRawFd, option: libc::c_int, value: &T) -> io::Result<()> {
    let len = size_of_val(value) as libc::socklen_t;
    // SAFETY: the kernel reads one value, whose length is told; the descriptor is open.
    check(unsafe {
        let value = ptr::from_ref(value).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, len)
    })
    .map(|_| ())
}
