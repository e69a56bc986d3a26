//! A hickory-server of somebody else's, with the director in it: hickory answers for `example.com` from its own zone, the director for
//! `gtm.example.com` below it, with its policies, probes, reloads and control API.
//!
//! ```text
//! cargo run --example embed -- windrose.toml 127.0.0.1:5300
//! ```
//!
//! windrose.toml and the zones beside it are those of `windrose serve`; `[server] listen`, `workers` and `engine` mean nothing here.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::rdata::{A, NS, SOA};
use hickory_proto::rr::{LowerName, Name, RData, Record};
use hickory_server::Server;
use hickory_server::net::runtime::{Time, TokioRuntimeProvider};
use hickory_server::server::{Request, RequestHandler, ResponseHandler, ResponseInfo};
use hickory_server::store::in_memory::InMemoryZoneHandler;
use hickory_server::zone_handler::{AxfrPolicy, Catalog, ZoneType};
use tokio::net::{TcpListener, UdpSocket};
use windrose::control::director::Director;
use windrose::server::portable::Portable;

/// The server's own zone, and the one that the director has.
const OWN: &str = "example.com.";
const DIRECTED: &str = "gtm.example.com.";

/// How long a TCP connection may be idle.
const IDLE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let config = arguments.next().unwrap_or_else(|| "windrose.toml".into());
    let address: SocketAddr = arguments.next().unwrap_or_else(|| "127.0.0.1:5300".into()).parse()?;

    let mut both = Both::start(config.into(), address).await?;
    println!("listening on {}", both.address);
    tokio::signal::ctrl_c().await?;
    both.server.shutdown_gracefully().await?;
    both.director.stop().await;
    Ok(())
}

/// A server, and the director within it.
pub(crate) struct Both {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server<Handler>,
    pub(crate) director: Director,
}

impl Both {
    /// Returns when both answer.
    pub(crate) async fn start(config: PathBuf, address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let loaded = windrose::load::load(Some(&config));
        for fault in &loaded.faults {
            eprintln!("{fault}");
        }
        if loaded.unusable {
            return Err("the director's settings are faulty".into());
        }
        // Everything of the director but sockets for queries; the first round of probes is in when this returns.
        let (director, directed) = Director::embed(Some(config), loaded)
            .await
            .map_err(|fault| fault.to_string())?;

        let mut server = Server::new(Handler {
            zone: Name::from_ascii(DIRECTED)?.into(),
            directed,
            own: own_zones()?,
        });
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        server.register_socket(UdpSocket::bind(address).await?);
        server.register_listener(listener, IDLE, 32);
        Ok(Self {
            address,
            server,
            director,
        })
    }
}

/// Who answers for what.
pub(crate) struct Handler {
    zone: LowerName,
    directed: Portable,
    own: Catalog,
}

#[async_trait::async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(&self, request: &Request, client: R) -> ResponseInfo {
        let is_directed = request
            .request_info()
            .is_ok_and(|info| self.zone.zone_of(info.query.name()));
        if is_directed {
            self.directed.handle_request::<R, T>(request, client).await
        } else {
            self.own.handle_request::<R, T>(request, client).await
        }
    }
}

/// hickory's own zone: the apex, one host, and the delegation.
fn own_zones() -> Result<Catalog, Box<dyn Error>> {
    let origin = Name::from_ascii(OWN)?;
    let server = Name::from_ascii("ns1")?.append_domain(&origin)?;
    let soa = SOA::new(server.clone(), server.clone(), 1, 7200, 1800, 1_209_600, 60);
    let records = [
        (origin.clone(), RData::SOA(soa)),
        (origin.clone(), RData::NS(NS(server.clone()))),
        (server.clone(), RData::A(A::new(192, 0, 2, 53))),
        (Name::from_ascii(DIRECTED)?, RData::NS(NS(server))),
    ];
    let mut zone =
        InMemoryZoneHandler::<TokioRuntimeProvider>::empty(origin.clone(), ZoneType::Primary, AxfrPolicy::Deny);
    for (name, data) in records {
        zone.upsert_mut(Record::from_rdata(name, 300, data), 1);
    }
    let mut catalog = Catalog::new();
    catalog.upsert(origin.into(), vec![Arc::new(zone)]);
    Ok(catalog)
}
