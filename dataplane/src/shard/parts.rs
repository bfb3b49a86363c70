//! The parts of one send: own bytes, a header, ranges of the log.

use crate::reactor::{SEND_PARTS_MAX, SendPart};

/// The parts of one send. Limits: [`SEND_PARTS_MAX`]; a send of 64 KiB lies in two pages at most.
pub(super) struct Parts {
    parts: [SendPart; SEND_PARTS_MAX],
    len: usize,
    pub bytes: usize,
}

impl Parts {
    pub(super) const fn new() -> Self {
        let none = SendPart { ptr: std::ptr::null(), len: 0 };
        Self { parts: [none; SEND_PARTS_MAX], len: 0, bytes: 0 }
    }

    pub(super) fn push(&mut self, part: SendPart) {
        if part.len > 0 {
            self.parts[self.len] = part;
            self.len += 1;
            self.bytes += part.len as usize;
        }
    }

    pub(super) fn as_slice(&self) -> &[SendPart] {
        &self.parts[..self.len]
    }
}
