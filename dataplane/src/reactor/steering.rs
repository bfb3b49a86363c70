//! Which socket of a group that shares a UDP port gets a datagram: that of the shard on which its
//! SRT connection lives.
//!
//! Spec: draft-sharabayko-srt 3: bytes 12 to 15 of every packet are the id of the socket that it is
//! for, 0 in the first ones of a handshake.
//!
//! Shape: a classic BPF program gives the index of a socket in the group, which is the order in
//! which the sockets were bound. An index that no socket has leaves the choice to the kernel's own
//! keyed hash of both addresses: one peer keeps its shard, and nobody can aim at one.
//!
//! Not here: who binds the sockets, and makes the ids (`shard`).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::error::Error;

/// Where a packet names the socket that it is for.
const ID_AT: u32 = 12;
/// Bytes of a packet that names one.
const ID_END: u32 = ID_AT + 4;
/// Ids are below this; libsrt keeps the bits above for groups and signs.
const ID_END_MAX: u32 = 1 << 30;
/// No socket's index.
const ANY: u32 = u32::MAX;

/// The socket of a group of `sockets` that gets what is addressed to `id`; `None` for 0, a
/// handshake, which goes to any of them.
#[must_use]
#[expect(clippy::cast_possible_truncation, reason = "a remainder is below its divisor")]
pub const fn steer(id: u32, sockets: u16) -> Option<u16> {
    if id == 0 || sockets == 0 { None } else { Some((id % sockets as u32) as u16) }
}

/// An id in `1..2^30` that leads to socket `index` of `sockets`, made of 32 random bits.
///
/// # Panics
/// There is no such socket.
#[must_use]
pub const fn steered_id(random: u32, index: u16, sockets: u16) -> u32 {
    assert!(index < sockets, "the index is of the group");
    let (sockets, index) = (sockets as u32, index as u32);
    let within = random % ID_END_MAX;
    let id = within - within % sockets + index;
    if id == 0 {
        sockets
    } else if id >= ID_END_MAX {
        id - sockets
    } else {
        id
    }
}

/// Lets [`steer`] choose among the sockets that are bound to the address of `fd` with SO_REUSEPORT.
/// Once for the group, by any of its sockets.
///
/// The sockets of a group are bound one after the other, that of shard 0 first, and closed all
/// together: when one of them is closed alone, the last one takes over its index.
///
/// # Errors
/// The kernel refuses, or the socket was not opened to be shared.
pub fn steer_group(fd: BorrowedFd<'_>, sockets: u16) -> Result<(), Error> {
    let mut program = program(sockets);
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("the program is short"),
        filter: program.as_mut_ptr(),
    };
    let len = size_of::<libc::sock_fprog>() as libc::socklen_t;
    let name = libc::SO_ATTACH_REUSEPORT_CBPF;
    let value = (&raw const filter).cast();
    // SAFETY: the program is readable for the length that is told, and the kernel copies it.
    let code = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, value, len) };
    if code < 0 { Err(Error::last_os_error("SO_ATTACH_REUSEPORT_CBPF")) } else { Ok(()) }
}

/// [`steer`] for the kernel, which shows the program a datagram without its headers.
fn program(sockets: u16) -> [libc::sock_filter; 7] {
    #[expect(clippy::cast_possible_truncation, reason = "opcodes have 16 bits")]
    const fn op(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter { code: code as u16, jt, jf, k }
    }
    [
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_LEN, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, 0, 4, ID_END),
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, ID_AT),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 2, 0, 0),
        op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, u32::from(sockets.max(1))),
        op(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
        op(libc::BPF_RET | libc::BPF_K, 0, 0, ANY),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_leads_where_it_was_made() {
        for sockets in [1, 2, 3, 7, 64, u16::MAX] {
            for index in [0, 1, sockets / 2, sockets - 1].into_iter().filter(|&at| at < sockets) {
                for random in [0, 1, 12_345, ID_END_MAX - 1, ID_END_MAX, 0x8000_0001, u32::MAX] {
                    let id = steered_id(random, index, sockets);
                    assert!((1..ID_END_MAX).contains(&id), "{random} {index} {sockets}: {id}");
                    assert_eq!(steer(id, sockets), Some(index), "{random} {index} {sockets}: {id}");
                }
            }
        }
        assert_eq!(steer(0, 4), None);
    }
}
