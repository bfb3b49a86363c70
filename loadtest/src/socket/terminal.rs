//! How wide the terminal is.

use std::os::fd::AsRawFd;

/// Columns of the terminal behind a descriptor, `None` if there is none.
#[must_use]
pub fn columns(of: &impl AsRawFd) -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel writes one winsize; a descriptor that is no terminal is an error.
    let result = unsafe { libc::ioctl(of.as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
}
