//! Notify socket: words for the service manager, one datagram for each notice.
//!
//! Spec: sd_notify(3), `NOTIFY_SOCKET`. A notice is lines `NAME=value`.
//! Errors: a manager that is gone is told nothing, and nothing fails for it.
//! Limits: the socket is never waited for. Notices of a state that it has no room for are sent
//! again, `WAITING_MAX` of them; those that the next one of their kind makes up for are left out.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A server changes its state four times in its life, and at each reload twice.
const WAITING_MAX: usize = 16;

/// Where the service manager hears. Lives on: the thread that opened it. Crosses by: never.
#[derive(Debug)]
pub(super) struct NotifySocket {
    socket: UnixDatagram,
    to: SocketAddr,
    /// Notices that found no room, the oldest first.
    waiting: VecDeque<String>,
}

impl NotifySocket {
    /// Opens the way to `address`: a path, or `@` and the name of an abstract socket.
    ///
    /// Errors: an address of another kind, or no descriptor.
    pub(super) fn open(address: &OsStr) -> io::Result<Self> {
        let to = match address.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            [b'/', ..] => SocketAddr::from_pathname(address)?,
            _ => {
                let what = "it is neither a path nor an abstract name";
                return Err(io::Error::new(ErrorKind::Unsupported, what));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, to, waiting: VecDeque::new() })
    }

    /// Tells a change of state, later if there is no room now.
    pub(super) fn tell(&mut self, notice: String) {
        self.flush();
        if !self.waiting.is_empty() || !self.send(&notice) {
            if self.waiting.len() == WAITING_MAX {
                self.waiting.pop_front();
            }
            self.waiting.push_back(notice);
        }
    }

    /// Tells what will be told again soon, if there is room; true if it was.
    pub(super) fn mention(&mut self, notice: &str) -> bool {
        self.flush();
        self.waiting.is_empty() && self.send(notice)
    }

    fn flush(&mut self) {
        while let Some(notice) = self.waiting.pop_front() {
            if !self.send(&notice) {
                self.waiting.push_front(notice);
                return;
            }
        }
    }

    /// False if there was no room.
    fn send(&self, notice: &str) -> bool {
        match self.socket.send_to_addr(notice.as_bytes(), &self.to) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => {
                tracing::debug!(%error, "the service manager hears nothing");
                true
            }
            Ok(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(by: &UnixDatagram) -> String {
        let mut bytes = [0; 4096];
        let length = by.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_path_and_an_abstract_name_are_spoken_to_and_nothing_else() {
        let name = format!("grandstand-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let _ = std::fs::remove_file(&path);
        let file = UnixDatagram::bind(&path).unwrap();
        let nameless = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let nameless = UnixDatagram::bind_addr(&nameless).unwrap();
        let abstract_name = format!("@{name}");
        for (address, manager) in
            [(path.as_os_str(), &file), (OsStr::new(&abstract_name), &nameless)]
        {
            let mut socket = NotifySocket::open(address).unwrap();
            socket.tell("READY=1".to_owned());
            assert_eq!(heard(manager), "READY=1");
        }
        std::fs::remove_file(&path).unwrap();
        for wrong in ["", "vsock:2:1", "run/notify"] {
            assert!(NotifySocket::open(OsStr::new(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_finds_no_room_comes_later_in_its_order_and_a_manager_that_is_gone_costs_nothing() {
        let name = format!("@grandstand-full-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        let mut socket = NotifySocket::open(OsStr::new(&name)).unwrap();
        let mut sent = 0;
        while socket.mention("WATCHDOG=1") {
            sent += 1;
            assert!(sent < 1 << 20, "a queue of datagrams has an end");
        }
        for number in 0..WAITING_MAX + 2 {
            socket.tell(format!("N={number}"));
        }
        assert_eq!(socket.waiting.len(), WAITING_MAX);
        for _ in 0..sent {
            assert_eq!(heard(&manager), "WATCHDOG=1");
        }
        let mut got = Vec::new();
        while !socket.waiting.is_empty() {
            socket.flush();
            manager.set_nonblocking(true).unwrap();
            let mut bytes = [0; 64];
            while let Ok(length) = manager.recv(&mut bytes) {
                got.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
            }
        }
        let newest: Vec<_> = (2..WAITING_MAX + 2).map(|number| format!("N={number}")).collect();
        assert_eq!(got, newest);
        drop(manager);
        assert!(socket.mention("WATCHDOG=1"), "nobody hears it, and nothing waits");
    }
}
