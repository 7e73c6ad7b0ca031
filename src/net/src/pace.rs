//! A connection that gives up on a peer who does not read what it asked for.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep},
};

/// A peer must read [`LEAST`] bytes in each of these, as long as there is something to read.
pub const WINDOW: Duration = Duration::from_secs(20);
/// Bytes, see [`WINDOW`].
pub const LEAST: usize = 64 << 10;
/// How long what waits for a peer may be read more slowly than [`RATE`].
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Slowest what waits may be read on average after that, bytes a second: answers take room for as long as they wait.
pub const RATE: u64 = 1 << 20;

/// A stream whose writes must get on.
pub(crate) struct Paced<S> {
    stream: S,
    span: Duration,
    patience: Duration,
    due: Pin<Box<Sleep>>,
    /// Bytes written in this window; `None` while nothing waits to be written.
    window: Option<usize>,
    /// Since when something waits to be written, and the bytes written since.
    backlog: Option<(Instant, u64)>,
}

impl<S> Paced<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self::within(stream, WINDOW, PATIENCE)
    }

    fn within(stream: S, span: Duration, patience: Duration) -> Self {
        Self { stream, span, patience, due: Box::pin(tokio::time::sleep(span)), window: None, backlog: None }
    }

    /// Whether what waits is read too slowly; to be asked while something does.
    fn is_late(&mut self) -> bool {
        let now = Instant::now();
        let (since, wrote) = *self.backlog.get_or_insert((now, 0));
        now > since + self.patience + Duration::from_millis(wrote.saturating_mul(1000) / RATE)
    }

    /// Judges what a write came to.
    fn judge(&mut self, cx: &mut Context<'_>, wrote: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match &wrote {
            Poll::Ready(Ok(n)) => {
                if let Some((_, wrote)) = &mut self.backlog {
                    *wrote += *n as u64;
                }
                if let Some(window) = &mut self.window {
                    *window += n;
                    if *window >= LEAST {
                        self.window = None;
                    }
                }
            }
            Poll::Pending => {
                if self.window.is_none() {
                    self.window = Some(0);
                    self.due.as_mut().reset(Instant::now() + self.span);
                }
                // No timer for the average: each window ends with some progress, or with the connection.
                if self.due.as_mut().poll(cx).is_ready() || self.is_late() {
                    let reason = "the peer does not read its answer";
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
                }
            }
            Poll::Ready(Err(_)) => {}
        }
        wrote
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.judge(cx, wrote)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.judge(cx, wrote)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// HTTP flushes when it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if flushed.is_ready() {
            (self.window, self.backlog) = (None, None);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn who_never_reads_is_given_up_and_who_reads_slowly_is_not() {
        let span = Duration::from_millis(300);
        let (near, far) = tokio::io::duplex(1024);
        let mut paced = Paced::within(near, span, PATIENCE);
        let began = Instant::now();
        let failed = paced.write_all(&[0; 4096]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= span);
        drop(far);

        let (near, mut far) = tokio::io::duplex(32 << 10);
        let mut paced = Paced::within(near, span, PATIENCE);
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while far.read_exact(&mut buffer).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        paced.write_all(&vec![0; 1 << 20]).await.expect("it gets on");
        drop(paced);
        reader.await.unwrap();
    }

    /// Each window has its least, and the whole would take minutes: the answer's room is wanted before.
    #[tokio::test]
    async fn who_reads_just_enough_is_given_up_too() {
        let (near, mut far) = tokio::io::duplex(LEAST);
        let mut paced = Paced::within(near, Duration::from_secs(20), Duration::from_millis(300));
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; LEAST];
            while far.read_exact(&mut buffer).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        });
        let failed = paced.write_all(&vec![0; 8 << 20]).await.unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        drop(paced);
        reader.await.unwrap();
    }
}
