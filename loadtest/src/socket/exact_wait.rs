//! Waiting to the microsecond, where milliseconds are too coarse.

use std::io;
use std::os::fd::AsRawFd;
use std::ptr;

use super::{EVENTS_MAX, Poll, check, monotonic_ns};

impl Poll {
    /// Waits until `deadline_ns` of [`monotonic_ns`] as exactly as the kernel's timers are, some
    /// 50 microseconds, and collects the tokens of ready sockets.
    ///
    /// # Errors
    /// What the kernel says; kernels before 5.11 cannot wait so.
    pub fn wait_exact(&self, deadline_ns: u64, ready: &mut Vec<u64>) -> io::Result<()> {
        ready.clear();
        let left_ns = deadline_ns.saturating_sub(monotonic_ns());
        let timeout = libc::timespec {
            tv_sec: libc::time_t::try_from(left_ns / 1_000_000_000).unwrap_or(libc::time_t::MAX),
            tv_nsec: (left_ns % 1_000_000_000) as libc::c_long,
        };
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        // SAFETY: the kernel writes EVENTS_MAX events at most into the array of that length, and
        // reads a timespec that lives until the call returns; the signal mask is none, of no size.
        let result = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                events.as_mut_ptr(),
                EVENTS_MAX as libc::c_int,
                &raw const timeout,
                ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        let count = match check(result as i32) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            other => other?,
        };
        ready.extend(events.iter().take(count as usize).map(|event| event.u64));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::Interest;
    use std::net::UdpSocket;

    #[test]
    fn a_wait_ends_with_its_deadline_or_a_datagram() {
        let poll = Poll::new().unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        poll.add(&socket, 9, Interest::Read).unwrap();
        let mut ready = vec![1];
        let deadline = monotonic_ns() + 300_000;
        poll.wait_exact(deadline, &mut ready).unwrap();
        assert!(ready.is_empty() && monotonic_ns() >= deadline);
        socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        poll.wait_exact(monotonic_ns() + 10_000_000_000, &mut ready).unwrap();
        assert_eq!(ready, [9]);
    }
}
