//! A listener that bounds how many connections there are and how long one may stay silent.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};

/// Connections at one time. Who comes later waits until one ends.
const MAX_CONNECTIONS: usize = 256;

/// How long a connection may carry nothing either way. Longer than the WebSocket pings are apart, so that
/// subscriptions live; short enough that forgotten connections do not keep others out.
const SILENCE: Duration = Duration::from_secs(90);

/// See the module's description.
#[derive(Debug)]
pub(super) struct BoundedListener {
    inner: TcpListener,
    permits: Arc<Semaphore>,
    /// [`SILENCE`], but for tests.
    silence: Duration,
}

impl BoundedListener {
    pub(super) fn new(inner: TcpListener) -> Self {
        Self { inner, permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)), silence: SILENCE }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // Nobody closes the semaphore; without it there is only no bound.
        let permit = self.permits.clone().acquire_owned().await.ok();
        let (stream, from) = Listener::accept(&mut self.inner).await;
        // Answers are small and waited for.
        let _slower = stream.set_nodelay(true);
        let (silence, silent) = (self.silence, Box::pin(sleep(self.silence)));
        (Connection { stream, silence, silent, unread: None, reader: None, _permit: permit }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection that counts and that ends when nothing happens on it, or when nobody reads what it says.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    silence: Duration,
    /// When there will have been nothing for too long.
    silent: Pin<Box<Sleep>>,
    /// When the other end will have read nothing for too long, if it is waited for. Until it reads it is not read from: each
    /// of its requests would make an answer that waits. (A timer of its own, as one wakes only whoever looked at it last.)
    unread: Option<Pin<Box<Sleep>>>,
    /// Whoever waits for that.
    reader: Option<Waker>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Connection {
    fn active(&mut self) {
        let until = Instant::now() + self.silence;
        self.silent.as_mut().reset(until);
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = if self.unread.is_none() {
            Pin::new(&mut self.stream).poll_read(cx, buffer)
        } else {
            self.reader = Some(cx.waker().clone());
            Poll::Pending
        };
        if result.is_ready() {
            self.active();
        } else if self.silent.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if result.is_ready() {
            self.unread = None;
            self.active();
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
            return result;
        }
        let silence = self.silence;
        let unread = self.unread.get_or_insert_with(|| Box::pin(sleep(silence)));
        if unread.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, split};

    use super::*;

    /// A connection, and its other end.
    async fn connected(silence: Duration) -> (Connection, TcpStream) {
        let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut listener = BoundedListener { silence, ..BoundedListener::new(inner) };
        let other = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.0, other)
    }

    /// More than the system keeps for somebody who does not read.
    fn answers() -> Vec<u8> {
        vec![0; 64 << 20]
    }

    #[tokio::test]
    async fn whoever_says_nothing_or_reads_nothing_is_hung_up_on() {
        let (mut silent, _other) = connected(Duration::from_millis(50)).await;
        assert_eq!(silent.read(&mut [0]).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let (mut unread, _other) = connected(Duration::from_millis(50)).await;
        assert_eq!(unread.write_all(&answers()).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn whoever_does_not_read_is_not_read_from_until_he_does() {
        let (connection, mut other) = connected(SILENCE).await;
        let (mut reader, mut writer) = split(connection);
        let (answers, mut request) = (answers(), [0]);
        let write = async { writer.write_all(&answers).await.unwrap() };
        let ask = async {
            other.write_all(b"x").await.unwrap();
            // Long enough for it to be read, if it were.
            sleep(Duration::from_millis(50)).await;
        };
        let mut write = std::pin::pin!(write);
        tokio::select! {
            biased;
            () = &mut write => panic!("the system keeps all that"),
            _ = reader.read_exact(&mut request) => panic!("it was read"),
            () = ask => {}
        }
        let mut all = vec![0; answers.len()];
        let (_, read, _) = tokio::join!(write, reader.read_exact(&mut request), other.read_exact(&mut all));
        assert_eq!((read.unwrap(), request), (1, *b"x"));
    }
}
