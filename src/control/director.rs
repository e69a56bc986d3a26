//! The running daemon as a whole: from what was loaded to everything that answers, and back to nothing.
//!
//! What takes long comes before the sockets, so that whoever finds them open is answered. Before it they are tried, so that one that cannot
//! be had is told at once.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::interval;

use super::api::Api;
use super::endpoint::{self, ControlSocket, NoSocket};
use super::metrics::Sources;
use super::prober::Prober;
use super::publisher::Publisher;
use super::reload::{Before, Reloader, build};
use super::state::{self, StateFile};
use crate::config::Control;
use crate::health::Verdicts;
use crate::image::Serving;
use crate::load::Loaded;
use crate::policy::targets::Targets;
use crate::server::counters::Threads;
use crate::server::engine::{self, Running};
use crate::server::listen::{self, Unbound};
use crate::server::portable::Portable;
use crate::server::syscall::give_back_freed_memory;

/// How often what is served no more is looked at, whether it can be freed.
const SWEEP: Duration = Duration::from_secs(1);

/// Everything that runs. Whoever drops it without [`Self::stop`] leaves what has arrived unanswered.
#[derive(Debug)]
pub struct Director {
    listening: Vec<SocketAddr>,
    control: Option<SocketAddr>,
    publisher: Arc<Publisher>,
    prober: Prober,
    reloader: Arc<Reloader>,
    api: Api,
    servers: Running,
    /// Its file stands for as long as this.
    _socket: Option<ControlSocket>,
    sweeping: AbortHandle,
    state: Arc<StateFile>,
    keeping: AbortHandle,
}

/// Why it could not be started.
#[derive(Debug)]
pub enum NoStart {
    /// Addresses that cannot be had.
    Unbound(Vec<Unbound>),
    /// Another daemon runs here.
    Control(NoSocket),
    /// The task that runs the probes ended.
    Probes,
    /// Something that the system refused.
    Failed(&'static str, io::Error),
}

impl fmt::Display for NoStart {
    /// A line for each reason.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoStart::Unbound(list) => {
                let lines: Vec<String> = list.iter().map(ToString::to_string).collect();
                f.write_str(&lines.join("\n"))
            }
            NoStart::Control(fault) => fault.fmt(f),
            NoStart::Probes => f.write_str("the probes cannot be started"),
            NoStart::Failed(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl Director {
    /// Starts everything, and returns when everything answers. A reload will read `config`. Within a runtime.
    pub async fn start(config: Option<PathBuf>, loaded: Loaded) -> Result<Self, NoStart> {
        let settings = loaded.settings.clone();
        listen::try_bind(&settings).map_err(NoStart::Unbound)?;
        let threads = engine::threads(&settings, Handle::current().metrics().num_workers());
        let core = Core::start(config, loaded, threads).await?;

        let bound = listen::bind(&settings).map_err(NoStart::Unbound)?;
        let control = ControlSockets::bind(&settings.control).map_err(NoStart::Control)?;
        let listening = bound.iter().map(|bound| bound.address).collect();
        let servers = Running::start(&settings, bound, &core.publisher.shared(), &core.threads)
            .map_err(|error| NoStart::Failed("serving cannot be started", error))?;
        core.run(listening, servers, control)
    }

    /// Starts everything but sockets for queries: those are of a hickory-server of the caller's, which has the handler among its own. `[server]
    /// listen`, `workers` and `engine` mean nothing here.
    pub async fn embed(config: Option<PathBuf>, loaded: Loaded) -> Result<(Self, Portable), NoStart> {
        let control = loaded.settings.control.clone();
        let desks = available_parallelism().map_or(1, NonZero::get);
        let core = Core::start(config, loaded, Threads::new(desks, desks)).await?;
        let control = ControlSockets::bind(&control).map_err(NoStart::Control)?;
        let handler = Portable::new(core.publisher.shared(), &core.threads, desks);
        Ok((core.run(Vec::new(), Running::Elsewhere, control)?, handler))
    }

    /// The addresses that answer queries, UDP and TCP alike.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Where the control API is reached over HTTP, if it is.
    pub fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    /// What reads everything anew.
    pub fn reloader(&self) -> Arc<Reloader> {
        self.reloader.clone()
    }

    /// What knows the verdicts.
    pub fn prober(&self) -> &Prober {
        &self.prober
    }

    /// Changes whenever something else is served: after a reload, or under other verdicts.
    pub fn published(&self) -> watch::Receiver<u64> {
        self.publisher.published()
    }

    /// Answers what has arrived and ends.
    pub async fn stop(self) {
        tokio::join!(self.servers.stop(), self.api.stop());
        self.sweeping.abort();
        self.keeping.abort();
        let last = self.publisher.shared().load().last_usable();
        let _ = spawn_blocking(move || self.state.hold(last)).await;
    }
}

/// A director without sockets.
struct Core {
    threads: Arc<Threads>,
    publisher: Arc<Publisher>,
    prober: Prober,
    reloader: Arc<Reloader>,
    state: Arc<StateFile>,
    started: SystemTime,
}

impl Core {
    /// Returns when there is something to answer from. So many threads will.
    async fn start(config: Option<PathBuf>, loaded: Loaded, threads: Arc<Threads>) -> Result<Self, NoStart> {
        let (settings, started) = (loaded.settings.clone(), SystemTime::now());
        let before = Before::of(&loaded);
        let targets = Targets::of(&loaded.steering, &loaded.probes);
        let image = build(loaded, threads.count());
        let unknown = Serving::new(image.clone(), &Verdicts::default());
        let publisher = Arc::new(Publisher::new(unknown));
        let state = Arc::new(StateFile::read(settings.state.clone()));
        let prober = Prober::start(publisher.clone(), state.last_usable());
        // Nobody is answered before the first round of probes is in, or the warm-up has passed.
        let served = prober.serve(image, targets, settings.warmup);
        served.await.map_err(|_| NoStart::Probes)?;
        give_back_freed_memory();
        let count = threads.count();
        let reloader = Arc::new(Reloader::new(config, settings, before, count, prober.clone()));
        Ok(Self {
            threads,
            publisher,
            prober,
            reloader,
            state,
            started,
        })
    }

    /// With whatever answers, and the control API.
    fn run(self, listening: Vec<SocketAddr>, servers: Running, control: ControlSockets) -> Result<Director, NoStart> {
        let Self {
            threads,
            publisher,
            prober,
            reloader,
            state,
            started,
        } = self;
        let sources = Sources {
            publisher: publisher.clone(),
            threads,
            admission: servers.admission(),
            reloader: reloader.clone(),
            started,
        };
        let api = Api::new(prober.clone(), sources);
        let (socket, control) = control
            .start(&api)
            .map_err(|error| NoStart::Failed("the control API cannot be started", error))?;
        let sweeping = tokio::spawn(sweep(publisher.clone())).abort_handle();
        let keeping = tokio::spawn(state::keep(state.clone(), publisher.clone())).abort_handle();
        Ok(Director {
            listening,
            control,
            publisher,
            prober,
            reloader,
            api,
            servers,
            _socket: socket,
            sweeping,
            state,
            keeping,
        })
    }
}

/// Where the control API will be reached.
struct ControlSockets {
    unix: Option<(ControlSocket, UnixListener)>,
    tcp: Option<TcpListener>,
}

impl ControlSockets {
    /// Only a live daemon on the socket is a reason not to start: whatever else keeps the API away, queries are answered without it.
    fn bind(settings: &Control) -> Result<Self, NoSocket> {
        let unix = match ControlSocket::bind(&settings.socket) {
            Ok(bound) => Some(bound),
            Err(fault @ NoSocket::Live(_)) => return Err(fault),
            Err(fault) => {
                tracing::warn!("{fault}");
                None
            }
        };
        let tcp = settings.listen.and_then(|address| match endpoint::bind_tcp(address) {
            Ok(listener) => Some(listener),
            Err(error) => {
                tracing::warn!("{address}: the control API cannot be reached here: {error}");
                None
            }
        });
        Ok(Self { unix, tcp })
    }

    /// Answers on them, as far as there are any.
    fn start(self, api: &Api) -> io::Result<(Option<ControlSocket>, Option<SocketAddr>)> {
        let mut address = None;
        if let Some(listener) = self.tcp {
            let local = listener.local_addr()?;
            tracing::info!("control API on http://{local}");
            api.listen_tcp(listener)?;
            address = Some(local);
        }
        let Some((socket, listener)) = self.unix else {
            return Ok((None, address));
        };
        api.listen_unix(listener)?;
        Ok((Some(socket), address))
    }
}

async fn sweep(publisher: Arc<Publisher>) {
    let mut ticks = interval(SWEEP);
    loop {
        ticks.tick().await;
        publisher.turn_secrets(std::time::Instant::now());
        if publisher.has_retired() {
            let publisher = publisher.clone();
            let _ = spawn_blocking(move || {
                publisher.sweep();
                give_back_freed_memory();
            })
            .await;
        }
    }
}
