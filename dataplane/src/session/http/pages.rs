//! The built-in pages: files that are part of the program.

/// One file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) content_type: &'static str,
    pub(super) body: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The list of streams.
pub(super) const INDEX: Page =
    Page { content_type: HTML, body: include_bytes!("../../../assets/index.html") };

/// The player, which takes the stream's name from its own address.
pub(super) const PLAYER: Page =
    Page { content_type: HTML, body: include_bytes!("../../../assets/player.html") };

/// The script of the page and of its FLV player.
pub(super) const PLAYER_SCRIPT: Page =
    Page { content_type: SCRIPT, body: include_bytes!("../../../assets/player.js") };

/// The script that leaves HLS to the browser.
pub(super) const NATIVE_SCRIPT: Page =
    Page { content_type: SCRIPT, body: include_bytes!("../../../assets/native.js") };
