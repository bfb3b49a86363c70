//! Terminal: the second screen of a terminal, keys without echo, and the way back.
//!
//! Whatever ends the program in order, an error or a panic included, gives the terminal back as it
//! was: dropping does it.

use std::io::{Read, Write};

use rustix::termios::{
    LocalModes, OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};
use tokio::sync::mpsc;

use super::screen::{Line, Style};
use crate::error::Error;

/// Size of a terminal that does not tell its own.
const SIZE: (usize, usize) = (80, 24);
/// Keys that wait at most; more are not read meanwhile.
const KEYS_MAX: usize = 16;
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Sort,
}

impl Key {
    /// The key of a byte; the interrupt is a byte, too, because the terminal sends no signals.
    const fn of(byte: u8) -> Option<Self> {
        match byte {
            b'q' | b'Q' | 0x03 => Some(Self::Quit),
            b's' | b'S' => Some(Self::Sort),
            _ => None,
        }
    }
}

/// A terminal that shows frames.
pub(super) struct Terminal {
    saved: Termios,
}

impl Terminal {
    /// Takes the terminal of standard input and output.
    ///
    /// Errors: they are none.
    pub(super) fn enter() -> Result<Self, Error> {
        let (input, output) = (std::io::stdin(), std::io::stdout());
        if !isatty(&input) || !isatty(&output) {
            return Err(Error::Usage("top needs a terminal, or --once".to_owned()));
        }
        let refused = |error: rustix::io::Errno| Error::System {
            what: "cannot use the terminal",
            reason: crate::error::reason(&error.into()),
            mend: "use --once",
        };
        let saved = tcgetattr(&input).map_err(refused)?;
        let mut raw = saved.clone();
        raw.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(&input, OptionalActions::Now, &raw).map_err(refused)?;
        let terminal = Self { saved };
        say(ENTER);
        Ok(terminal)
    }

    /// Columns and rows, as they are now.
    pub(super) fn size() -> (usize, usize) {
        match tcgetwinsize(std::io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => SIZE,
        }
    }

    /// Keys as they come; the thread that reads them ends with the process.
    pub(super) fn keys() -> mpsc::Receiver<Key> {
        let (told, keys) = mpsc::channel(KEYS_MAX);
        std::thread::spawn(move || {
            let mut bytes = [0; 64];
            loop {
                let read = std::io::stdin().lock().read(&mut bytes).unwrap_or(0);
                // A terminal that is gone is no reason to stay.
                let pressed = if read == 0 { &[0x03][..] } else { &bytes[..read] };
                for key in pressed.iter().copied().filter_map(Key::of) {
                    if told.blocking_send(key).is_err() {
                        return;
                    }
                }
                if read == 0 {
                    return;
                }
            }
        });
        keys
    }

    /// Replaces what is shown.
    pub(super) fn draw(&self, lines: &[Line]) {
        let mut text = "\x1b[H".to_owned();
        for (at, line) in lines.iter().enumerate() {
            if at > 0 {
                text.push_str("\r\n");
            }
            let (on, off) = match line.style {
                Style::Plain => ("", ""),
                Style::Head => ("\x1b[7m", "\x1b[0m"),
                Style::Alert => ("\x1b[1;31m", "\x1b[0m"),
            };
            text.push_str(on);
            text.push_str(&line.text);
            text.push_str(off);
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        say(&text);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        say(LEAVE);
        // Nobody can be told that the terminal is gone.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.saved);
    }
}

fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    // A terminal that is gone ends the keys, which ends the program.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
