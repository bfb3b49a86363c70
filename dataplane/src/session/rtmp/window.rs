//! Acknowledgements: how many bytes came, and when the peer wants to hear of it.

use codecs::rtmp::message::Control;

/// The window that we announce, and that holds for the peer until it announces its own.
pub(super) const WINDOW_BYTES: u32 = 5_000_000;

/// Counts received bytes; the counter on the wire wraps at 2^32.
#[derive(Debug)]
pub(super) struct Window {
    received: u32,
    acknowledged: u32,
    size: u32,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self { received: 0, acknowledged: 0, size: WINDOW_BYTES }
    }

    /// The peer's window; 0 would ask for an acknowledgement of nothing, so it is ignored.
    pub(super) const fn set_size(&mut self, size: u32) {
        if size > 0 {
            self.size = size;
        }
    }

    pub(super) fn received(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).expect("one read is far below 4 GiB");
        self.received = self.received.wrapping_add(bytes);
    }

    /// The acknowledgement that is due. Asked once per read, so that a tiny window costs one
    /// message per read and not one per window.
    pub(super) const fn due(&mut self) -> Option<Control> {
        if self.received.wrapping_sub(self.acknowledged) < self.size {
            return None;
        }
        self.acknowledged = self.received;
        Some(Control::Acknowledgement(self.received))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledges_every_window_over_the_wrap() {
        let mut window = Window::new();
        assert_eq!(window.due(), None);
        window.set_size(1 << 30);
        window.set_size(0);
        let mut seen = Vec::new();
        for _ in 0..10 {
            window.received(1 << 29);
            seen.extend(window.due());
        }
        let number = |n: u32| Control::Acknowledgement(n << 30);
        assert_eq!(seen, [number(1), number(2), number(3), number(0), number(1)]);
    }
}
