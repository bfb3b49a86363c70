//! Disk: what waits for files, on a thread of its own.
//!
//! A disk that does not answer is waited for, however long it takes: what is kept of an authority
//! is not asked for twice. Meanwhile no certificate is renewed, which is told.
//!
//! Limits: one thread, because one thing is waited for at a time.

use std::time::Duration;

use tokio::sync::mpsc;

use super::failure::{AGAIN, Failure};
use super::keeper::tell;
use crate::bridge::Ask;

/// A disk that answers no sooner does not answer.
const HANGS: Duration = Duration::from_secs(30);
const WRONG: &str = "certificates are neither asked for nor renewed: the disk of acme/ in the data \
                     directory, or of acme.ca, does not answer; mend it or its mount, and it goes \
                     on by itself";

/// Does what waits for the disk on another thread; the desk behind `asks` is told if that hangs.
pub(super) async fn off<T: Send + 'static>(
    asks: &mpsc::Sender<Ask>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Failure> {
    let mut done = tokio::task::spawn_blocking(work);
    let done = match tokio::time::timeout(HANGS, &mut done).await {
        Ok(done) => done,
        Err(_) => {
            tracing::error!("{WRONG}");
            tell(asks, Some(WRONG.to_owned())).await;
            let done = done.await;
            tracing::info!("the disk of acme/ in the data directory answers again");
            tell(asks, None).await;
            done
        }
    };
    done.map_err(|_| Failure::free("the node ends", AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acme::AcmeAsk;

    async fn told(desk: &mut mpsc::Receiver<Ask>) -> Option<String> {
        match desk.recv().await {
            Some(Ask::Acme(AcmeAsk::Wrong { what })) => what,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_told_until_it_answers() {
        let (asks, mut desk) = mpsc::channel(8);
        assert_eq!(off(&asks, || 7).await, Ok(7));
        let (answer, disk) = std::sync::mpsc::channel();
        let waiting = tokio::spawn(async move { off(&asks, move || disk.recv()).await });
        // The clock stands while a thread works: it goes on as far as it is told to.
        tokio::task::yield_now().await;
        tokio::time::advance(HANGS - Duration::from_millis(1)).await;
        assert!(desk.try_recv().is_err(), "it may be slow");
        tokio::time::advance(Duration::from_millis(1)).await;
        let what = told(&mut desk).await.unwrap();
        assert!(what.contains("neither asked for nor renewed") && what.contains("mend"), "{what}");
        answer.send(8).unwrap();
        assert_eq!(told(&mut desk).await, None);
        assert_eq!(waiting.await.unwrap(), Ok(Ok(8)));
        assert!(desk.recv().await.is_none(), "nothing else is told");
    }
}
