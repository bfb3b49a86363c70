//! Watch: asks, draws and listens to keys until somebody quits.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::client::Client;
use super::figures::{Figures, Sort};
use super::screen::{COLUMNS_MIN, Frame};
use super::terminal::{Key, Terminal};
use crate::cli::Top;
use crate::error::{Error, reason};

/// From one question to the next.
const REFRESH: Duration = Duration::from_secs(1);

/// Shows shards and streams until `q`, or one frame of them.
///
/// Errors: the API cannot be asked at all, or there is no terminal.
pub fn top(args: &Top) -> Result<ExitCode, Error> {
    let client = Client::new(args)?;
    // What cannot be asked once is a mistake of the command line, to be said on it.
    let mut figures = client.figures()?;
    figures.sort(args.sort);
    let figures = Some(figures);
    let mut watch = Watch { client, figures, sort: args.sort, trouble: None };
    if args.once {
        let lines = watch.frame(false).lines(COLUMNS_MIN, usize::MAX);
        let text: String = lines.iter().map(|line| format!("{}\n", line.text.trim_end())).collect();
        // A reader that closed the pipe has read enough.
        let _ = std::io::stdout().write_all(text.as_bytes());
        return Ok(ExitCode::SUCCESS);
    }
    let terminal = Terminal::enter()?;
    let failed = |error: std::io::Error| Error::System {
        what: "cannot watch",
        reason: reason(&error),
        mend: "the system must give threads, descriptors and signals",
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let ended = runtime.block_on(watch.run(&terminal)).map_err(failed);
    // A question under way is not waited for.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}

/// What is shown.
struct Watch {
    client: Client,
    figures: Option<Figures>,
    sort: Sort,
    trouble: Option<String>,
}

/// A question under way.
type Asked = JoinHandle<Result<Figures, Error>>;

impl Watch {
    const fn frame(&self, keys: bool) -> Frame<'_> {
        Frame {
            authority: self.client.authority.as_str(),
            figures: self.figures.as_ref(),
            sort: self.sort,
            trouble: match &self.trouble {
                Some(trouble) => Some(trouble.as_str()),
                None => None,
            },
            keys,
        }
    }

    async fn run(&mut self, terminal: &Terminal) -> std::io::Result<()> {
        let mut keys = Terminal::keys();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut resized = signal(SignalKind::window_change())?;
        let mut due = tokio::time::interval(REFRESH);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asked: Option<Asked> = None;
        loop {
            let (columns, rows) = Terminal::size();
            terminal.draw(&self.frame(true).lines(columns, rows));
            tokio::select! {
                key = keys.recv() => match key {
                    Some(Key::Sort) => self.sort_by(self.sort.next()),
                    Some(Key::Quit) | None => return Ok(()),
                },
                _ = due.tick(), if asked.is_none() => {
                    let client = self.client.clone();
                    asked = Some(tokio::task::spawn_blocking(move || client.figures()));
                }
                answer = answered(&mut asked) => {
                    asked = None;
                    self.take(answer);
                }
                _ = resized.recv() => {}
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                _ = hangup.recv() => return Ok(()),
            }
        }
    }

    fn sort_by(&mut self, sort: Sort) {
        self.sort = sort;
        if let Some(figures) = &mut self.figures {
            figures.sort(sort);
        }
    }

    /// Old figures stay on the screen beside the reason why they are old.
    fn take(&mut self, answer: Result<Figures, Error>) {
        match answer {
            Ok(mut figures) => {
                figures.sort(self.sort);
                self.figures = Some(figures);
                self.trouble = None;
            }
            Err(error) => self.trouble = Some(error.to_string()),
        }
    }
}

/// The answer to the question under way; never, if there is none.
async fn answered(asked: &mut Option<Asked>) -> Result<Figures, Error> {
    let Some(asked) = asked else { return std::future::pending().await };
    asked.await.unwrap_or_else(|error| {
        Err(Error::System {
            what: "a question failed",
            reason: error.to_string(),
            mend: "it is asked again",
        })
    })
}
