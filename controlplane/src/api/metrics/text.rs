//! Text: families and samples in the text format of Prometheus.

use std::fmt::{Display, Write};

/// About the length of a page, so that it grows once at most.
const PAGE_BYTES: usize = 32 << 10;

/// Text of families, each with its type and help once.
pub(super) struct Text(String);

impl Text {
    pub(super) fn new() -> Self {
        Self(String::with_capacity(PAGE_BYTES))
    }

    /// The finished page.
    pub(super) fn into_page(self) -> String {
        self.0
    }

    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.trim();
        self.line(format_args!("# HELP grandstand_{name} {help}"));
        self.line(format_args!("# TYPE grandstand_{name} {kind}"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: impl Display, value: impl Display) {
        let labels = labels.to_string();
        if labels.is_empty() {
            self.line(format_args!("grandstand_{name} {value}"));
        } else {
            self.line(format_args!("grandstand_{name}{{{labels}}} {value}"));
        }
    }

    pub(super) fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.0.write_fmt(line).expect("a text grows");
        self.0.push('\n');
    }
}

/// Microseconds as seconds, exactly.
pub(super) fn seconds(us: u64) -> String {
    let text = format!("{}.{:06}", us / 1_000_000, us % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
