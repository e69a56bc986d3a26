//! The connections of the control API: so many at a time, so that its clients never take the descriptors that queries and probes need, and
//! none for long without asking or taking what it asked for, so that who only holds one keeps nobody out.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take to send the head of a request whole, counted from its connection or from the answer before. Scrapes come every
/// 15 to 60 seconds: they connect anew, which costs nothing on the same host.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// How long a client may take nothing of an answer.
const STALL_MAX: Duration = Duration::from_secs(10);

/// Answers on a listener until `stopping`; at most so many connections at a time. Who comes when all places are taken waits in the kernel's
/// queue.
pub(super) async fn serve(
    mut listener: impl Listener,
    places: usize,
    routes: Router,
    stopping: CancellationToken,
    tasks: TaskTracker,
) {
    let free = Arc::new(Semaphore::new(places));
    loop {
        let accepted = async {
            // It is never closed, so that there is always a place in the end.
            let place = free.clone().acquire_owned().await.ok();
            (place, listener.accept().await.0)
        };
        let (place, stream) = tokio::select! {
            accepted = accepted => accepted,
            () = stopping.cancelled() => return,
        };
        let (routes, stopping) = (routes.clone(), stopping.clone());
        tasks.spawn(async move {
            let _place = place;
            converse(stream, routes, stopping).await;
        });
    }
}

/// One connection, from its first octet to its last.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    routes: Router,
    stopping: CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_MAX)
        .serve_connection(TokioIo::new(Taken::new(stream)), TowerToHyperService::new(routes));
    let mut connection = pin!(connection);
    // However it ends, it is the client's affair.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// A stream on which what is written must be taken in time.
#[derive(Debug)]
struct Taken<S> {
    stream: S,
    /// When the client has taken nothing for too long, while something waits to be taken.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Taken<S> {
    fn new(stream: S) -> Self {
        Self { stream, stalled: None }
    }

    /// What writing has come to, or that the time for it is over.
    fn within<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(STALL_MAX)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taken<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taken<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, octets);
        self.within(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.within(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.within(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    /// A client with a connection on which so many octets may be under way, and the connection.
    fn connected(room: usize) -> (DuplexStream, JoinHandle<()>) {
        let (client, server) = duplex(room);
        let routes = Router::new().route("/", get(async || "x".repeat(1_000)));
        (client, tokio::spawn(converse(server, routes, CancellationToken::new())))
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asks_is_let_go() {
        let start = Instant::now();
        let (mut client, connection) = connected(64);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        connection.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), REQUEST_MAX.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn who_trickles_is_let_go_as_soon() {
        let start = Instant::now();
        let (mut client, connection) = connected(4_096);
        while client.write_all(b"G").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
        connection.await.unwrap();
        let passed = start.elapsed();
        assert!(passed <= REQUEST_MAX + Duration::from_secs(1), "{passed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_answer_the_time_begins_anew() {
        let start = Instant::now();
        let (mut client, connection) = connected(4_096);
        for _ in 0..3 {
            sleep(REQUEST_MAX - Duration::from_secs(1)).await;
            client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(&[b'x'; 1_000]) {
                assert_ne!(client.read_buf(&mut answer).await.unwrap(), 0);
            }
        }
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        connection.await.unwrap();
        assert_eq!(
            start.elapsed().as_secs(),
            3 * (REQUEST_MAX.as_secs() - 1) + REQUEST_MAX.as_secs()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_no_answer_is_let_go() {
        let start = Instant::now();
        let (mut client, connection) = connected(64);
        client.write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
        connection.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), STALL_MAX.as_secs());
    }
}
