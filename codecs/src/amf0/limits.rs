//! What a message may cost to decode.

use alloc::string::String;

use crate::Error;

/// No limit of a caller lets the decoder nest deeper than this: it is recursive.
const DEPTH_CEILING: usize = 64;

/// What one message may cost to decode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Objects and arrays inside each other; 64 at most, whatever is set.
    pub depth_max: usize,
    /// Values in one message, at any depth.
    pub elements_max: usize,
    /// Bytes of text, names of members among it, in one message.
    pub string_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 16, elements_max: 1024, string_bytes_max: 1 << 20 }
    }
}

/// What one message may still cost; shared by both formats when one switches to the other.
#[derive(Debug)]
pub(crate) struct Budget {
    limits: Limits,
    elements: usize,
    string_bytes: usize,
}

impl Budget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let limits = Limits { depth_max: limits.depth_max.min(DEPTH_CEILING), ..*limits };
        Self { limits, elements: 0, string_bytes: 0 }
    }

    /// Accounts for one value.
    pub(crate) fn element(&mut self) -> Result<(), Error> {
        self.elements += 1;
        within("amf.elements", self.elements, self.limits.elements_max)
    }

    /// Fails before an allocation for `count` values that the limit would refuse one by one.
    pub(crate) fn elements_ahead(&self, count: usize) -> Result<(), Error> {
        within("amf.elements", self.elements.saturating_add(count), self.limits.elements_max)
    }

    /// Accounts for a container at `depth`, 0 being a value of the message itself.
    pub(crate) fn nest(&self, depth: usize) -> Result<(), Error> {
        within("amf.depth", depth.saturating_add(1), self.limits.depth_max)
    }

    /// Accounts for bytes that are copied out of the message.
    pub(crate) fn copied(&mut self, len: usize) -> Result<(), Error> {
        self.string_bytes = self.string_bytes.saturating_add(len);
        within("amf.string_bytes", self.string_bytes, self.limits.string_bytes_max)
    }

    /// Copies text out. Flash-era encoders on Windows send Latin-1, so a bad byte is replaced
    /// rather than refused.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> Result<String, Error> {
        self.copied(bytes.len())?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

fn within(what: &'static str, value: usize, max: usize) -> Result<(), Error> {
    if value > max {
        return Err(Error::TooLarge { what, value: value as u64, max: max as u64 });
    }
    Ok(())
}
