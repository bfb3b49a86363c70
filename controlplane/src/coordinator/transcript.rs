//! Transcript: what the log is told while a test does something.

use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

/// The lines with `word` that the log is told by `act`.
pub(super) fn transcript(word: &str, act: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone());
    tracing::subscriber::with_default(log.finish(), act);
    let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    told.lines().filter(|line| line.contains(word)).map(str::to_owned).collect()
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
