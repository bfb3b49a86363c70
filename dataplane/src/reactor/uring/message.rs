//! Messages of vectored sends: memory that never moves, one submit long.

use super::super::completion::{SEND_PARTS_MAX, SendPart};

/// One message and its ranges.
struct Message {
    header: libc::msghdr,
    vector: [libc::iovec; SEND_PARTS_MAX],
}

/// As many messages as the submission queue has entries, so that it is full first.
pub(super) struct Messages {
    slots: Box<[Message]>,
    used: usize,
}

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").field("used", &self.used).finish_non_exhaustive()
    }
}

impl Messages {
    pub(super) fn new(count: u32) -> Self {
        let blank = || Message {
            // SAFETY: all zero bytes are a valid message without address and control data.
            header: unsafe { std::mem::zeroed() },
            vector: [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SEND_PARTS_MAX],
        };
        Self { slots: (0..count).map(|_| blank()).collect(), used: 0 }
    }

    /// A message of `parts`, valid until [`Self::reset`].
    pub(super) fn put(&mut self, parts: &[SendPart]) -> *const libc::msghdr {
        let message = &mut self.slots[self.used];
        self.used += 1;
        for (slot, part) in message.vector.iter_mut().zip(parts) {
            slot.iov_base = part.ptr.cast_mut().cast();
            slot.iov_len = part.len as usize;
        }
        message.header.msg_iov = message.vector.as_mut_ptr();
        message.header.msg_iovlen = parts.len();
        &raw const message.header
    }

    /// Every message was submitted: the kernel has copied what it needs.
    pub(super) const fn reset(&mut self) {
        self.used = 0;
    }
}
