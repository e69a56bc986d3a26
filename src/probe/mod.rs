//! Runs probes: one connection, one question, one result, within the probe's time limit. Knows no schedule and no pool.

mod http;
mod tls;

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::health::probe::{Kind, Probe};
use crate::health::tracker::Outcome;
pub use tls::{Certificates, roots_of};

/// Probes an address.
pub async fn run(probe: &Probe, address: IpAddr, certificates: &Certificates) -> Outcome {
    let start = Instant::now();
    let result = match timeout(probe.timeout, ask(probe, address, certificates)).await {
        Ok(result) => result,
        Err(_) => Err(format!("timeout after {:?}", probe.timeout)),
    };
    let passed = result.is_ok();
    Outcome {
        passed,
        reason: result.unwrap_or_else(|reason| reason),
        latency: start.elapsed(),
    }
}

/// What was seen: in the place of an error if it does not pass.
async fn ask(probe: &Probe, address: IpAddr, certificates: &Certificates) -> Result<String, String> {
    let stream = TcpStream::connect((address, probe.port))
        .await
        .map_err(|error| told(&error))?;
    match &probe.kind {
        Kind::Tcp => Ok("connected".to_owned()),
        Kind::Http(http) => match &http.tls {
            None => http::ask(http, probe.port, address, stream).await,
            Some(verify) => {
                let stream = tls::connect(verify, http.host.as_deref(), address, stream, certificates).await?;
                http::ask(http, probe.port, address, stream).await
            }
        },
    }
}

/// An error in few words, the same on every system.
fn told(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::ConnectionReset => "connection reset".to_owned(),
        ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => "connection aborted".to_owned(),
        ErrorKind::UnexpectedEof => "connection closed early".to_owned(),
        ErrorKind::HostUnreachable => "host unreachable".to_owned(),
        ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
        ErrorKind::TimedOut => "connection timed out".to_owned(),
        _ => error.to_string(),
    }
}
