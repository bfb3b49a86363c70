//! Logging: standard error, without ever making a writer wait.
//!
//! Limits: lines wait in a queue of `LINES_MAX`; when it is full further lines are dropped, and
//! counted, rather than a shard blocked.

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{LogFormat, LogLevel, LogSection};
use crate::security::TARGET;

/// Lines that wait to be written at most.
pub(crate) const LINES_MAX: usize = 8_192;

/// The running log: dropping it writes what still waits.
pub struct Logging {
    level: reload::Handle<Targets, Registry>,
    dropped: ErrorCounter,
    _worker: WorkerGuard,
}

impl Logging {
    /// Starts to write.
    #[must_use]
    pub fn start(section: &LogSection) -> Self {
        let (writer, worker) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(LINES_MAX)
            .thread_name("grandstand-log")
            .finish(std::io::stderr());
        let dropped = writer.error_counter();
        let (filter, level) = reload::Layer::new(filter(section.level));
        let lines = fmt::layer().with_writer(writer);
        let lines = match section.format {
            LogFormat::Text => lines.with_ansi(false).boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        // A second start in one process, as in a test, keeps the first.
        let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
        Self { level, dropped, _worker: worker }
    }

    /// Replaces the level.
    pub fn reload(&self, section: &LogSection) {
        // The handle outlives the subscriber only while the process ends.
        let _ = self.level.reload(filter(section.level));
    }

    /// Counts the lines that were dropped.
    #[must_use]
    pub fn dropped(&self) -> ErrorCounter {
        self.dropped.clone()
    }
}

/// The security log is no matter of the level: programs act on it.
fn filter(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(level).with_target(TARGET, LevelFilter::INFO)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn the_security_log_is_told_at_every_level() {
        for (level, told) in [
            (LogLevel::Error, false),
            (LogLevel::Warn, false),
            (LogLevel::Info, true),
            (LogLevel::Debug, true),
            (LogLevel::Trace, true),
        ] {
            let filter = filter(level);
            assert!(filter.would_enable(TARGET, &Level::INFO), "{level:?}");
            assert!(!filter.would_enable(TARGET, &Level::DEBUG), "{level:?}");
            assert_eq!(filter.would_enable("grandstand", &Level::INFO), told, "{level:?}");
            // A name that only begins like it is another one.
            assert_eq!(filter.would_enable("secure", &Level::INFO), told, "{level:?}");
        }
    }
}
