//! Progress: a socket whose peer has to read what it asked for.
//!
//! Limits: while an answer waits for room in the socket, its peer reads [`STALL_BYTES`] within
//! [`STALL_MAX`], or the connection ends.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A peer that reads nothing is left after this long; its feed leaves a client of events before.
pub(super) const STALL_MAX: Duration = Duration::from_secs(45);
/// What it reads meanwhile to get as long again.
pub(super) const STALL_BYTES: usize = 16 << 10;

/// A socket, and since when its peer takes less than it is to be given.
pub(super) struct Progress<S> {
    socket: S,
    stall: Option<Pin<Box<Sleep>>>,
    taken: usize,
}

impl<S> Progress<S> {
    pub(super) const fn new(socket: S) -> Self {
        Self { socket, stall: None, taken: 0 }
    }

    /// What came of an offer of `offered` bytes.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        offered: usize,
        written: Poll<Result<usize>>,
    ) -> Poll<Result<usize>> {
        match written {
            Poll::Pending => {
                let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL_MAX)));
                ready!(stall.as_mut().poll(context));
                Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the peer does not read")))
            }
            Poll::Ready(Ok(bytes)) => {
                self.taken += bytes;
                // There is room again, or enough was read to earn as long again.
                if bytes == offered || self.taken >= STALL_BYTES {
                    (self.stall, self.taken) = (None, 0);
                }
                Poll::Ready(Ok(bytes))
            }
            failed @ Poll::Ready(Err(_)) => failed,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Progress<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Progress<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        self.judge(context, bytes.len(), written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let offered = slices.iter().map(|slice| slice.len()).sum();
        let written = Pin::new(&mut self.socket).poll_write_vectored(context, slices);
        self.judge(context, offered, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, advance};

    use super::*;

    const ROOM: usize = 4 << 10;

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_is_left_and_who_reads_slowly_is_not() {
        let (socket, mut peer) = duplex(ROOM);
        let mut writer = Progress::new(socket);
        let begun = Instant::now();
        let failed = writer.write_all(&vec![1; 2 * ROOM]).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), STALL_MAX.as_secs());

        let (socket, mut slow) = duplex(ROOM);
        let mut writer = Progress::new(socket);
        let bytes = 8 * STALL_BYTES;
        let writing = tokio::spawn(async move { writer.write_all(&vec![1; bytes]).await });
        let mut piece = vec![0; STALL_BYTES];
        for _ in 0..bytes / STALL_BYTES {
            tokio::task::yield_now().await;
            advance(STALL_MAX - Duration::from_secs(1)).await;
            slow.read_exact(&mut piece).await.unwrap();
        }
        writing.await.unwrap().unwrap();
        peer.read_exact(&mut [0]).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_bytes_do_not_earn_more_time() {
        let (socket, mut peer) = duplex(ROOM);
        let mut writer = Progress::new(socket);
        let writing = tokio::spawn(async move { writer.write_all(&vec![1; 64 * ROOM]).await });
        for _ in 0..STALL_MAX.as_secs() {
            tokio::task::yield_now().await;
            advance(Duration::from_secs(1)).await;
            peer.read_exact(&mut [0; 100]).await.unwrap();
        }
        advance(Duration::from_secs(1)).await;
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    }
}
