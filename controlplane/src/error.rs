//! The one error type of the control plane: each prints as one line of what, where and the mend.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why the program, or one request of it, could not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A configured value cannot be used.
    #[error("{place}: {key}: {what}; {mend}")]
    Value {
        /// The file and line, or the variable of the environment.
        place: Place,
        /// The full key, as `egress.batch_ms_max`.
        key: String,
        /// What is wrong with it.
        what: String,
        /// What to do about it.
        mend: String,
    },
    /// The file is not TOML, or a part of it has no known name.
    #[error("{place}: {what}; {mend}")]
    Document {
        /// The file and line, or the variable of the environment.
        place: Place,
        /// What is wrong there.
        what: String,
        /// What to do about it.
        mend: String,
    },
    /// A file could not be used.
    #[error("cannot {op} {}: {reason}; {mend}", path.display())]
    File {
        /// What was tried.
        op: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
        /// What to do about it.
        mend: String,
    },
    /// A listener could not be opened.
    #[error("cannot listen on {addr} for {listener}: {reason}; {mend}")]
    Listen {
        /// The section of the configuration.
        listener: String,
        /// The address.
        addr: std::net::SocketAddr,
        /// What the system said.
        reason: String,
        /// What to do about it.
        mend: String,
    },
    /// The data plane did not start.
    #[error("cannot start the data plane: {0}; `grandstand check` shows what it would use")]
    Dataplane(#[from] dataplane::Error),
    /// A stream could not be looked at.
    #[error("probe {url}: {what}; {mend}")]
    Probe {
        /// The address, without any key.
        url: String,
        /// What went wrong.
        what: String,
        /// What to do about it.
        mend: String,
    },
    /// The API of a server could not be asked.
    #[error("cannot ask {url}: {what}; {mend}")]
    Api {
        /// What was asked.
        url: String,
        /// What went wrong.
        what: String,
        /// What to do about it.
        mend: &'static str,
    },
    /// The command line makes no sense.
    #[error("{0}; `grandstand --help` lists what is understood")]
    Usage(String),
    /// The system refused something that is needed.
    #[error("{what}: {reason}; {mend}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        reason: String,
        /// What to do about it.
        mend: &'static str,
    },
}

impl Error {
    /// The exit status of the process.
    #[must_use]
    pub const fn status(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// This error of a text that comes after so many lines of a whole.
    pub(crate) fn after_lines(mut self, lines: usize) -> Self {
        if let Self::Document { place: Place::Line { line, .. }, .. } = &mut self {
            *line += lines;
        }
        self
    }

    /// A failed file operation with the mend that fits its cause.
    #[must_use]
    pub fn file(op: &'static str, path: &Path, error: &std::io::Error, mend: &str) -> Self {
        use std::io::ErrorKind;
        let mend = match error.kind() {
            ErrorKind::PermissionDenied => "allow this user to use it, or name another path",
            ErrorKind::NotFound => "check the path",
            _ => mend,
        };
        Self::File { op, path: path.to_owned(), reason: reason(error), mend: mend.to_owned() }
    }

    /// A listener of `[section]` that could not be opened, with the mend that fits its cause.
    #[must_use]
    pub fn listen(section: &str, addr: std::net::SocketAddr, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let port = addr.port();
        let mend = match error.kind() {
            ErrorKind::AddrInUse => format!(
                "stop the process that holds it (`ss -ltnp 'sport = :{port}'`) or change \
                 {section}.addr"
            ),
            ErrorKind::PermissionDenied => format!(
                "`setcap cap_net_bind_service=+ep` the binary, or give {section}.addr a port of \
                 1024 or more"
            ),
            ErrorKind::AddrNotAvailable => {
                format!("change {section}.addr to an address of this machine")
            }
            _ => format!("change {section}.addr"),
        };
        Self::Listen { listener: section.to_owned(), addr, reason: reason(error), mend }
    }
}

/// The system's words for `error`, without the number that Rust appends.
pub(crate) fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    let mut text = text[..end].to_owned();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    text
}

/// Where a configured value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the configuration file.
    Line {
        /// The file.
        file: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// The whole file.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { file, line } => write!(f, "{}:{line}", file.display()),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Env(name) => f.write_str(name),
            Self::Default => f.write_str("default"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn a_listener_names_its_mend() {
        let addr = "127.0.0.1:1935".parse().unwrap();
        let line = |errno| {
            Error::listen("listeners.rtmp", addr, &io::Error::from_raw_os_error(errno)).to_string()
        };
        assert_eq!(
            line(libc::EADDRINUSE),
            "cannot listen on 127.0.0.1:1935 for listeners.rtmp: address already in use; stop the \
             process that holds it (`ss -ltnp 'sport = :1935'`) or change listeners.rtmp.addr"
        );
        assert_eq!(
            line(libc::EACCES),
            "cannot listen on 127.0.0.1:1935 for listeners.rtmp: permission denied; `setcap \
             cap_net_bind_service=+ep` the binary, or give listeners.rtmp.addr a port of 1024 or \
             more"
        );
        assert!(line(libc::EADDRNOTAVAIL).ends_with("to an address of this machine"));
    }

    #[test]
    fn only_usage_exits_with_two() {
        assert_eq!(Error::Usage("x".into()).status(), 2);
        assert_eq!(Error::file("read", Path::new("/x"), &io::Error::other("y"), "z").status(), 1);
    }
}
