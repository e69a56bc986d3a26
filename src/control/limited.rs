//! A listener that lets only so many in at a time, so that clients of the control API never take the descriptors that queries and probes need.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Who comes when all places are taken waits in the kernel's queue.
#[derive(Debug)]
pub(super) struct Limited<L> {
    listener: L,
    free: Arc<Semaphore>,
}

/// A connection, which gives its place back when it is dropped.
#[derive(Debug)]
pub(super) struct Admitted<S> {
    stream: S,
    _place: Option<OwnedSemaphorePermit>,
}

impl<L> Limited<L> {
    /// With so many places.
    pub(super) fn new(listener: L, places: usize) -> Self {
        Self {
            listener,
            free: Arc::new(Semaphore::new(places)),
        }
    }
}

impl<L: Listener> Listener for Limited<L> {
    type Io = Admitted<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        // It is never closed, so that there is always a place in the end.
        let place = self.free.clone().acquire_owned().await.ok();
        let (stream, address) = self.listener.accept().await;
        (Admitted { stream, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Admitted<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Admitted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
