//! Head: what a balancer says of its client before the client's own bytes.
//!
//! Limits: [`HEAD_BYTES_MAX`](codecs::proxy_protocol::HEAD_BYTES_MAX); the time is the caller's.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};

use codecs::proxy_protocol::{Origin, parse};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that are read at one time.
const READ_BYTES: usize = 512;

/// A socket of which some bytes were read already.
#[derive(Debug)]
pub(super) struct Headed<S> {
    first: Vec<u8>,
    taken: usize,
    socket: S,
}

impl<S> Headed<S> {
    /// `first` was read from `socket`.
    pub(super) const fn new(first: Vec<u8>, socket: S) -> Self {
        Self { first, taken: 0, socket }
    }
}

/// Reads the head of a balancer; what it says, and what came with it.
///
/// Errors: a head that is none, or the end before its own.
pub(super) async fn take_head(socket: &TcpStream) -> Result<(Origin, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        match parse(&bytes) {
            Ok(Some((origin, len))) => {
                bytes.drain(..len);
                return Ok((origin, bytes));
            }
            Ok(None) => {}
            Err(error) => return Err(Error::new(ErrorKind::InvalidData, error.to_string())),
        }
        socket.readable().await?;
        let mut piece = [0; READ_BYTES];
        match socket.try_read(&mut piece) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => bytes.extend_from_slice(&piece[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Headed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let left = &self.first[self.taken..];
        if left.is_empty() {
            return Pin::new(&mut self.socket).poll_read(context, into);
        }
        let len = left.len().min(into.remaining());
        into.put_slice(&left[..len]);
        self.taken += len;
        if self.taken == self.first.len() {
            (self.first, self.taken) = (Vec::new(), 0);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Headed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
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
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What comes of a connection that says this in such pieces, and then ends.
    async fn taken(pieces: &[&[u8]]) -> Result<(Origin, String)> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.to_vec()).collect();
        let client = tokio::spawn(async move {
            let mut client = TcpStream::connect(to).await.unwrap();
            client.set_nodelay(true).unwrap();
            for piece in pieces {
                // The server may have left already.
                let _ = client.write_all(&piece).await;
                tokio::task::yield_now().await;
            }
        });
        let (socket, _) = listener.accept().await.unwrap();
        let limit = Duration::from_secs(20);
        let head = tokio::time::timeout(limit, take_head(&socket)).await.unwrap();
        let (origin, first) = head?;
        let mut rest = String::new();
        Headed::new(first, socket).read_to_string(&mut rest).await?;
        client.await.unwrap();
        Ok((origin, rest))
    }

    #[tokio::test]
    async fn heads_end_where_the_request_begins() {
        let line = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 8090\r\n";
        let whole = [&line[..], b"GET / HTTP/1.1\r\n"].concat();
        let each: Vec<_> = whole.chunks(1).collect();
        for pieces in [&[&whole[..]][..], &[line, b"GET / HTTP/1.1\r\n"], &each] {
            let (origin, rest) = taken(pieces).await.unwrap();
            let Origin::Client { source, .. } = origin else { panic!("{origin:?}") };
            assert_eq!(
                (source, rest.as_str()),
                ("192.0.2.7:5000".parse().unwrap(), "GET / HTTP/1.1\r\n")
            );
        }
        let own = taken(&[b"PROXY UNKNOWN\r\nGET"]).await.unwrap();
        assert_eq!((own.0, own.1.as_str()), (Origin::Unchanged, "GET"));
        for (bytes, kind) in [
            (&b""[..], ErrorKind::UnexpectedEof),
            (b"PROXY TCP4 192.0.2.7", ErrorKind::UnexpectedEof),
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", ErrorKind::InvalidData),
            (&[b'P'; 4_096], ErrorKind::InvalidData),
        ] {
            assert_eq!(taken(&[bytes]).await.unwrap_err().kind(), kind);
        }
    }
}
