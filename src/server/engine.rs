//! What carries queries: one of two engines, from bound sockets to a stop.

use std::io;
use std::sync::Arc;

use super::Shared;
use super::counters::Threads;
use super::limit::Admission;
#[cfg(target_os = "linux")]
use super::limit::Limits;
use super::listen::{self, Bound};
use super::portable::{Portable, Sockets};
#[cfg(target_os = "linux")]
use super::stream::Streams;
#[cfg(target_os = "linux")]
use super::udp;
use crate::config::{Engine, Settings};

/// An engine at work.
#[derive(Debug)]
pub enum Running {
    /// Threads of datagrams, and streams.
    #[cfg(target_os = "linux")]
    Native(udp::Datagrams, Streams),
    /// hickory-server's.
    Portable(Sockets),
    /// Somebody else's, who was given the request handler.
    Elsewhere,
}

/// The places for all threads that will answer. Of `runtime_threads` are those that carry streams under the native engine.
pub fn threads(settings: &Settings, runtime_threads: usize) -> Arc<Threads> {
    let workers = listen::workers(settings);
    match settings.engine {
        Engine::Native => Threads::new(settings.listen.len() * workers, runtime_threads),
        Engine::Portable => Threads::new(workers, workers),
    }
}

impl Running {
    /// Answers on all that is bound.
    pub fn start(settings: &Settings, bound: Vec<Bound>, shared: &Shared, threads: &Arc<Threads>) -> io::Result<Self> {
        match settings.engine {
            #[cfg(not(target_os = "linux"))]
            Engine::Native => Err(io::ErrorKind::Unsupported.into()),
            #[cfg(target_os = "linux")]
            Engine::Native => {
                let streams = Streams::new(shared.clone(), threads.clone(), Limits::default());
                let mut datagrams = udp::Datagrams::default();
                for Bound { udp, tcp, .. } in bound {
                    datagrams.listen(udp, shared, threads)?;
                    streams.listen(tcp)?;
                }
                Ok(Self::Native(datagrams, streams))
            }
            Engine::Portable => {
                let workers = listen::workers(settings);
                let sockets = Sockets::new(Portable::new(shared.clone(), threads, workers), workers)?;
                bound.into_iter().try_for_each(|bound| sockets.listen(bound))?;
                Ok(Self::Portable(sockets))
            }
        }
    }

    /// Who is connected, if the engine counts that.
    pub fn admission(&self) -> Option<Arc<Admission>> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Native(_, streams) => Some(streams.admission()),
            Self::Portable(_) | Self::Elsewhere => None,
        }
    }

    /// Answers what has arrived, as far as the engine does, and ends.
    pub async fn stop(self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Native(datagrams, streams) => {
                tokio::join!(datagrams.stop(), streams.stop());
            }
            Self::Portable(sockets) => sockets.stop().await,
            Self::Elsewhere => {}
        }
    }
}
