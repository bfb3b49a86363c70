//! `[log]`: what is written to standard error.

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogSection {
    /// How much.
    pub level: LogLevel,
    /// In which shape.
    pub format: LogFormat,
}

const KEYS: &[Key] = &[
    Key::new("level", "How much is written. Release builds have no \"trace\".", |s| {
        &mut s.log.level
    })
    .now(),
    Key::new("format", "\"text\" for people, \"json\" for programs.", |s| &mut s.log.format),
];

pub(super) fn section() -> Section {
    Section::new("log", "What is written to standard error.", KEYS)
}
