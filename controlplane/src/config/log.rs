//! `[log]`: what is written to standard error, and the security log.

use std::path::PathBuf;

use super::field::words;
use super::key::{Key, Section};

/// How much is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing but failures of the server.
    Error,
    /// And faults of peers, and limits reached.
    Warn,
    /// And starts and ends of sessions and streams.
    #[default]
    Info,
    /// And every change of state.
    Debug,
    /// And every message.
    Trace,
}

words!(LogLevel {
    "error" => LogLevel::Error,
    "warn" => LogLevel::Warn,
    "info" => LogLevel::Info,
    "debug" => LogLevel::Debug,
    "trace" => LogLevel::Trace,
});

/// In which shape it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object per line.
    Json,
}

words!(LogFormat {
    "text" => LogFormat::Text,
    "json" => LogFormat::Json,
});

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSection {
    /// How much.
    pub level: LogLevel,
    /// In which shape.
    pub format: LogFormat,
    /// Where the security log goes, if it has a file of its own.
    pub security_file: Option<PathBuf>,
    /// Bytes of that file at most.
    pub security_bytes_max: u64,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            level: LogLevel::default(),
            format: LogFormat::default(),
            security_file: None,
            security_bytes_max: 64 << 20,
        }
    }
}

const KEYS: &[Key] = &[
    Key::new("level", "How much is written. Release builds have no \"trace\".", |s| {
        &mut s.log.level
    })
    .now(),
    Key::new("format", "\"text\" for people, \"json\" for programs.", |s| &mut s.log.format),
    Key::new(
        "security_file",
        "A file for the security log: who was refused and why, a JSON object a line, for programs \
         such as fail2ban. \"\" writes it to the log, under the target `security`.",
        |s| &mut s.log.security_file,
    )
    .now(),
    Key::new(
        "security_bytes_max",
        "Bytes of that file at most: then it becomes `.1`, in place of the one before.",
        |s| &mut s.log.security_bytes_max,
    )
    .bytes()
    .range(4 << 10, 1 << 40)
    .now(),
];

pub(super) fn section() -> Section {
    Section::new("log", "What is written to standard error, and the security log.", KEYS)
}
