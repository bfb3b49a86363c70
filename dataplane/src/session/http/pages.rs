//! The built-in pages: files that are part of the program.

/// One file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) content_type: &'static str,
    pub(super) body: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";

/// The list of streams.
pub(super) const INDEX: Page =
    Page { content_type: HTML, body: include_bytes!("../../../assets/index.html") };

/// The player, which takes the stream's name from its own address.
pub(super) const PLAYER: Page =
    Page { content_type: HTML, body: include_bytes!("../../../assets/player.html") };

/// The player's script.
pub(super) const PLAYER_SCRIPT: Page = Page {
    content_type: "text/javascript; charset=utf-8",
    body: include_bytes!("../../../assets/player.js"),
};
