//! A stream whose incoming bytes take their time.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::SubstreamBox;
use tokio::time::{Sleep, sleep_until};

use super::line::{Line, Link};

/// A substream of a delayed connection. Writing is left as it is; see the module above for why.
pub(super) struct DelayedStream<S = SubstreamBox> {
    inner: S,
    link: Arc<Link>,
    line: Line,
    /// Made when first needed; set to when the head of the line is due.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncRead + Unpin> DelayedStream<S> {
    pub(super) fn new(inner: S, link: Arc<Link>) -> Self {
        Self { inner, link, line: Line::default(), timer: None }
    }

    /// Puts all that has come in into the line, which notes when; the task is woken when more comes. `scratch` saves
    /// a buffer of our own: it is the caller's, who gets what is due in it afterwards.
    fn take_in(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) {
        loop {
            let room = self.line.room().min(scratch.len());
            if room == 0 {
                return;
            }
            match Pin::new(&mut self.inner).poll_read(cx, &mut scratch[..room]) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => self.line.end(self.link.arrival(0), Ok(())),
                Poll::Ready(Ok(count)) => self.line.push(self.link.arrival(count), &scratch[..count]),
                Poll::Ready(Err(error)) => self.line.end(self.link.arrival(0), Err(error.kind())),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for DelayedStream<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        this.take_in(cx, buffer);
        loop {
            // With nothing under way it is the stream itself that wakes the task.
            let Some(due) = this.line.due() else { return Poll::Pending };
            let now = this.link.now();
            if due <= now {
                return Poll::Ready(this.line.take(now, buffer));
            }
            let at = this.link.instant(due);
            let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            ready!(timer.as_mut().poll(cx));
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for DelayedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::VecDeque, sync::Mutex, task::Waker, time::Duration};

    use futures::{AsyncReadExt, FutureExt};
    use tokio::time::{Instant, advance, sleep};

    use super::{super::line::MAX_UNDER_WAY, *};
    use crate::map::Rate;

    #[derive(Default)]
    struct State {
        parts: VecDeque<Result<Vec<u8>, io::ErrorKind>>,
        read: usize,
        waker: Option<Waker>,
    }

    /// The other side of a stream: what is fed comes in at once, an empty part is the end.
    #[derive(Clone, Default)]
    pub(in super::super) struct Source(Arc<Mutex<State>>);

    impl Source {
        fn feed(&self, part: Result<Vec<u8>, io::ErrorKind>) {
            let mut state = self.0.lock().unwrap();
            state.parts.push_back(part);
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }

        /// Bytes taken from it so far.
        fn read(&self) -> usize {
            self.0.lock().unwrap().read
        }
    }

    impl AsyncRead for Source {
        fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
            let mut state = self.0.lock().unwrap();
            let Some(part) = state.parts.front_mut() else {
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            };
            let part = match part {
                Ok(part) => part,
                Err(kind) => return Poll::Ready(Err((*kind).into())),
            };
            let count = part.len().min(buffer.len());
            buffer[..count].copy_from_slice(&part[..count]);
            part.drain(..count);
            if part.is_empty() && count > 0 {
                state.parts.pop_front();
            }
            state.read += count;
            Poll::Ready(Ok(count))
        }
    }

    impl AsyncWrite for Source {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn link(delay_ms: u32, mbit: f64) -> Arc<Link> {
        Arc::new(Link::new(delay_ms * 1_000, Rate::mbit(mbit)))
    }

    fn stream(link: &Arc<Link>) -> (Source, DelayedStream<Source>) {
        let source = Source::default();
        (source.clone(), DelayedStream::new(source, link.clone()))
    }

    /// Whether a time is what a delay makes of it: no less, and no more than jitter and a timer's tick add.
    #[track_caller]
    fn assert_delay(start: Instant, delay_ms: u64) {
        let took = start.elapsed();
        let (least, most) = (Duration::from_millis(delay_ms), Duration::from_millis(delay_ms * 21 / 20 + 2));
        assert!((least..=most).contains(&took), "{took:?}, not {least:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_and_the_end_come_a_way_later_and_in_order() {
        let (source, mut stream) = stream(&link(100, 1_000.0));
        let reader = tokio::spawn(async move {
            let (mut parts, mut buffer) = (Vec::new(), [0; 64]);
            loop {
                let count = stream.read(&mut buffer).await.unwrap();
                parts.push((Instant::now(), buffer[..count].to_vec()));
                if count == 0 {
                    return parts;
                }
            }
        });
        sleep(Duration::from_millis(7)).await;
        let start = Instant::now();
        source.feed(Ok(b"first".to_vec()));
        sleep(Duration::from_millis(40)).await;
        source.feed(Ok(b"second".to_vec()));
        source.feed(Ok(Vec::new()));
        let parts = reader.await.unwrap();
        let bytes: Vec<_> = parts.iter().flat_map(|(_, part)| part.clone()).collect();
        assert_eq!(bytes, b"firstsecond");
        let after = |ms: u64| start + Duration::from_millis(ms);
        let ((first, part), (second, _), (end, _)) = (&parts[0], &parts[1], parts.last().unwrap());
        assert_eq!(part, b"first");
        assert!((after(100)..=after(107)).contains(first), "{:?}", first.duration_since(start));
        assert!((after(140)..=after(147)).contains(second) && (second..=&after(147)).contains(&end));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_waits_for_what_came_before() {
        let (source, mut stream) = stream(&link(50, 1_000.0));
        let start = Instant::now();
        source.feed(Ok(vec![1; 10]));
        source.feed(Err(io::ErrorKind::ConnectionReset));
        let mut bytes = Vec::new();
        assert_eq!(stream.read_to_end(&mut bytes).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(bytes, [1; 10]);
        assert_delay(start, 50);
    }

    #[tokio::test(start_paused = true)]
    async fn streams_share_the_bandwidth_of_their_connection() {
        // 100 kB take 100 ms.
        let link = link(20, 8.0);
        let ((one, mut first), (two, mut second)) = (stream(&link), stream(&link));
        let start = Instant::now();
        one.feed(Ok(vec![1; 100_000]));
        let (mut all, mut other) = (vec![0; 100_000], vec![0; 50_000]);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut first).poll_read(&mut cx, &mut all).is_pending());
        two.feed(Ok(vec![2; 50_000]));
        second.read_exact(&mut other).await.unwrap();
        assert_delay(start, 170);
        first.read_exact(&mut all).await.unwrap();
        assert!(all == [1; 100_000] && other == [2; 50_000]);
        assert_delay(start, 170);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_line_takes_no_more_until_something_has_come_out() {
        let (source, mut stream) = stream(&link(100, 1_000_000.0));
        let sent: Vec<u8> = (0..3 * MAX_UNDER_WAY).map(|at| (at / 1000) as u8).collect();
        source.feed(Ok(sent.clone()));
        let mut buffer = vec![0; 8 * 1024];
        assert!(stream.read(&mut buffer).now_or_never().is_none());
        assert_eq!(source.read(), MAX_UNDER_WAY);
        advance(Duration::from_millis(99)).await;
        assert!(stream.read(&mut buffer).now_or_never().is_none());
        assert_eq!(source.read(), MAX_UNDER_WAY);
        let start = Instant::now();
        let mut all = vec![0; sent.len()];
        stream.read_exact(&mut all).await.unwrap();
        assert!(all == sent);
        assert!(start.elapsed() >= Duration::from_millis(200), "two more lines full, a way each");
    }

    #[tokio::test(start_paused = true)]
    async fn chunks_that_are_due_together_wake_their_reader_once() {
        let (source, mut stream) = stream(&link(10, 1_000_000.0));
        let mut buffer = [0; 1024];
        for _ in 0..20 {
            source.feed(Ok(vec![0; 10]));
        }
        let mut polls = 0;
        let mut received = 0;
        while received < 200 {
            received += std::future::poll_fn(|cx| {
                polls += 1;
                Pin::new(&mut stream).poll_read(cx, &mut buffer)
            })
            .await
            .unwrap();
        }
        assert!(polls <= 4, "{polls}: one to wait, one at each tick that has some");
    }
}
