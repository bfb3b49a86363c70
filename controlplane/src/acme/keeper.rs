//! Keeper: works through what is wanted of authorities, and begins again if it breaks.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::demands::Demands;
use super::failure::Failure;
use super::order::show;
use super::round::Round;
use super::told::AcmeAsk;
use super::vault::Vault;
use crate::bridge::Ask;
use crate::config::AcmeSection;

/// How long nothing is tried after a break: the first time, and the longest.
const BROKEN: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(6 * 3_600)];

/// Who keeps certificates of an authority. Lives on: the control thread.
#[derive(Clone, Debug)]
pub struct Keeper {
    asks: mpsc::Sender<Ask>,
    sections: watch::Receiver<AcmeSection>,
    data: PathBuf,
    /// They stay over reloads, and when it breaks.
    demands: Demands,
}

impl Keeper {
    /// Keeps what `sections` want, in the data directory `data`.
    #[must_use]
    pub fn new(
        asks: mpsc::Sender<Ask>,
        sections: watch::Receiver<AcmeSection>,
        data: PathBuf,
    ) -> Self {
        Self { asks, sections, data, demands: Demands::default() }
    }

    /// Works until the desk is gone. Each new section, be it the same, is a reason to try at once
    /// what failed before, unless the authority wants to be left alone.
    pub async fn run(self) {
        let (asks, sections) = (self.asks.clone(), self.sections.clone());
        watch_over(asks, sections, move || self.clone().keep()).await;
    }

    /// Errors: what is kept cannot be read.
    async fn keep(mut self) -> Result<(), Failure> {
        loop {
            let section = self.sections.borrow_and_update().clone();
            if let Some(directory) = section.authority().cloned() {
                let vault = Vault::of(&self.data, &directory);
                let kept = (vault, self.demands.clone());
                let round = Round::open(self.asks.clone(), section, directory, kept).await;
                round?.work(&mut self.sections).await;
            } else if self.sections.changed().await.is_err() {
                return Ok(());
            }
            if self.sections.has_changed().is_err() || self.asks.is_closed() {
                return Ok(());
            }
        }
    }
}

/// Has `work` done until it is over. If it breaks nobody finds a challenge any more, which is told
/// for as long as nothing is done; it begins again after a rest, or with the next of `sections`.
async fn watch_over<W>(
    asks: mpsc::Sender<Ask>,
    mut sections: watch::Receiver<AcmeSection>,
    work: impl Fn() -> W,
) where
    W: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let [mut rest, longest] = BROKEN;
    loop {
        sections.mark_unchanged();
        let reason = match tokio::spawn(work()).await {
            Ok(Err(failure)) => failure.to_string(),
            Err(error) if error.is_panic() => "it broke, which is our fault".to_owned(),
            // It is over, or the node ends.
            Ok(Ok(())) | Err(_) => return,
        };
        tracing::error!(%reason, rest = ?rest, "certificates are not kept, it begins again");
        let minutes = rest.as_secs() / 60;
        let told = format!(
            "certificates are neither asked for nor renewed: {reason}; it begins again within \
             {minutes} minutes, or at SIGHUP: report it with the log if it comes back"
        );
        drop(show(&asks, None).await);
        tell(&asks, Some(told)).await;
        tokio::select! {
            changed = sections.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(rest) => {}
        }
        tell(&asks, None).await;
        rest = rest.saturating_mul(2).min(longest);
    }
}

/// What is wrong beside orders, or that nothing is.
pub(super) async fn tell(asks: &mpsc::Sender<Ask>, what: Option<String>) {
    // The desk may be gone: then nobody misses it.
    drop(asks.send(Ask::Acme(AcmeAsk::Wrong { what })).await);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// What the desk heard, of a keeper that breaks so often.
    async fn heard(breaks: u32, failure: Option<Failure>) -> Vec<String> {
        let (asks, mut desk) = mpsc::channel(8);
        let (_sections, section) = watch::channel(AcmeSection::default());
        let begun = Arc::new(AtomicU32::new(0));
        let work = move || {
            let (nth, failure) = (begun.fetch_add(1, Ordering::SeqCst), failure.clone());
            async move {
                match failure {
                    _ if nth >= breaks => Ok(()),
                    Some(failure) => Err(failure),
                    None => panic!("a keeper that breaks"),
                }
            }
        };
        tokio::spawn(watch_over(asks, section, work));
        let mut heard = Vec::new();
        while let Some(ask) = desk.recv().await {
            heard.push(match ask {
                Ask::Acme(AcmeAsk::Show { challenge: None, .. }) => "taken back".to_owned(),
                Ask::Acme(AcmeAsk::Wrong { what }) => what.unwrap_or_default(),
                other => panic!("{other:?}"),
            });
        }
        heard
    }

    #[tokio::test(start_paused = true)]
    async fn a_keeper_that_breaks_is_told_and_begins_again() {
        let heard_of = heard(2, None).await;
        let [back, told, over, ..] = &heard_of[..] else { panic!("{heard_of:?}") };
        assert_eq!((back.as_str(), over.as_str(), heard_of.len()), ("taken back", "", 6));
        assert!(told.contains("which is our fault; it begins again within 1 minutes"), "{told}");
        assert!(heard_of[4].contains("within 2 minutes"), "{heard_of:?}");
        assert_eq!(heard_of[5], "");
    }

    #[tokio::test(start_paused = true)]
    async fn a_keeper_that_cannot_begin_is_told_and_begins_again() {
        let failure = Failure::free("nothing can be read", "mend the disk");
        let heard_of = heard(1, Some(failure)).await;
        assert!(heard_of[1].contains("nothing can be read; mend the disk"), "{heard_of:?}");
        assert_eq!(heard_of.len(), 3);
        assert_eq!(heard(0, None).await, Vec::<String>::new());
    }
}
