//! A picture in a real browser: the server's own page, hls.js and mpegts.js.
//!
//! `watch.rs` drives one headless Chromium and judges its report, `pages.rs` asks for the built-in
//! pages, `console.rs` for the console, `players.rs` has every player start, play for long, and
//! survive what encoders do.

mod console;
mod pages;
mod players;
mod watch;

pub(crate) use watch::Watch;
