//! Three tiny HTTP servers, which do as they are told: they pass their probes until somebody says `/fail`.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{any, get};

/// The cities, and where each backend listens; where a host has only one loopback address, they differ by port.
pub(super) const SITES: [(&str, Ipv4Addr); 3] = [
    ("frankfurt", Ipv4Addr::new(127, 0, 0, 2)),
    ("ashburn", Ipv4Addr::new(127, 0, 0, 3)),
    ("singapore", Ipv4Addr::new(127, 0, 0, 4)),
];

/// Where a free port is looked for.
const PORTS: RangeInclusive<u16> = 8080..=8179;

/// A backend that listens, nobody answering on it yet.
#[derive(Debug)]
pub(super) struct Backend {
    /// Its city.
    pub(super) city: &'static str,
    /// Where it listens.
    pub(super) address: SocketAddr,
    listener: TcpListener,
}

/// What a backend is told, and by whom it is asked.
#[derive(Debug, Clone)]
struct Desk {
    city: &'static str,
    address: SocketAddr,
    failing: Arc<AtomicBool>,
}

/// Binds one for each site.
pub(super) fn bind(sites: &[(&'static str, Ipv4Addr)]) -> io::Result<Vec<Backend>> {
    let bind = |(city, address): &(&'static str, Ipv4Addr)| {
        let listener = match listen(*address) {
            // Only Linux has all of 127.0.0.0/8.
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => listen(Ipv4Addr::LOCALHOST),
            bound => bound,
        }?;
        listener.set_nonblocking(true)?;
        Ok(Backend {
            city,
            address: listener.local_addr()?,
            listener,
        })
    };
    sites.iter().map(bind).collect()
}

/// On the first port that is free; on any if none is.
fn listen(address: Ipv4Addr) -> io::Result<TcpListener> {
    let free = PORTS.map(|port| TcpListener::bind((address, port)));
    free.take_while(|bound| !matches!(bound, Err(error) if error.kind() == ErrorKind::AddrNotAvailable))
        .find_map(Result::ok)
        .map_or_else(|| TcpListener::bind((address, 0)), Ok)
}

impl Backend {
    /// Answers for as long as the runtime runs.
    pub(super) fn start(self) -> io::Result<()> {
        let desk = Desk {
            city: self.city,
            address: self.address,
            failing: Arc::default(),
        };
        let routes = Router::new()
            .route(
                "/",
                get(async |State(desk): State<Desk>| format!("this is {}\n", desk.city)),
            )
            .route("/healthz", get(healthz))
            .route("/fail", any(async |State(desk): State<Desk>| desk.set(true)))
            .route("/heal", any(async |State(desk): State<Desk>| desk.set(false)))
            .with_state(desk);
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        tokio::spawn(async move { drop(axum::serve(listener, routes).await) });
        Ok(())
    }
}

async fn healthz(State(desk): State<Desk>) -> (StatusCode, &'static str) {
    match desk.failing.load(Ordering::Relaxed) {
        true => (StatusCode::SERVICE_UNAVAILABLE, "failing, as I was told\n"),
        false => (StatusCode::OK, "ok\n"),
    }
}

impl Desk {
    fn set(&self, failing: bool) -> String {
        self.failing.store(failing, Ordering::Relaxed);
        let (says, undo) = if failing { ("503", "heal") } else { ("200", "fail") };
        format!(
            "{} answers {says} to its probe from now on. The other way: curl http://{}/{undo}\n",
            self.city, self.address
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_has_its_own_address_or_else_its_own_port() {
        let backends = bind(&SITES).unwrap();
        let addresses: Vec<_> = backends.iter().map(|backend| backend.address.ip()).collect();
        assert_eq!(addresses, SITES.map(|(_, address)| address));

        // No host has an address of the class E network.
        let nowhere = SITES.map(|(city, _)| (city, Ipv4Addr::new(240, 0, 0, 1)));
        let mut backends: Vec<_> = bind(&nowhere).unwrap().iter().map(|backend| backend.address).collect();
        assert!(backends.iter().all(|address| address.ip() == Ipv4Addr::LOCALHOST));
        backends.sort_unstable();
        backends.dedup();
        assert_eq!(backends.len(), SITES.len());
    }
}
