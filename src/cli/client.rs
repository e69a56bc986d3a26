//! What the commands that need the daemon have in common: one request over its Unix socket, found through the same `--config`.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fmt, io};

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::header::HOST;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::UnixStream;

use crate::load;

/// The status of a daemon that cannot be reached.
const UNREACHABLE: u8 = 3;

/// What the daemon said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why there is nothing that it said.
#[derive(Debug)]
pub(super) struct Unreachable {
    socket: PathBuf,
    reason: String,
    /// What is wrong with windrose.toml: the socket may be named in it.
    faults: Vec<String>,
}

impl Answer {
    /// The document that is expected, or else what is said instead.
    pub(super) fn document<'a, T: Deserialize<'a>>(&'a self) -> Result<T, String> {
        #[derive(Deserialize)]
        struct Refusal {
            error: String,
        }
        serde_json::from_slice(&self.body).map_err(|fault| match serde_json::from_slice(&self.body) {
            Ok(Refusal { error }) => error,
            Err(_) => format!("the daemon's answer ({}) cannot be understood: {fault}", self.status),
        })
    }

    /// As it came, a line.
    pub(super) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.body)?;
        writeln!(out)
    }
}

/// Asks the daemon and waits for as long as it takes.
pub(super) fn ask(config: Option<&Path>, method: Method, target: &str) -> Result<Answer, Unreachable> {
    let (settings, faults) = load::load_settings(config);
    let socket = settings.control.socket;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let answer = runtime.and_then(|runtime| runtime.block_on(exchange(&socket, method, target)));
    answer.map_err(|error| Unreachable {
        reason: told(&error),
        faults: faults.iter().map(ToString::to_string).collect(),
        socket,
    })
}

async fn exchange(socket: &Path, method: Method, target: &str) -> io::Result<Answer> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header(HOST, "windrose")
        .body(Empty::<Bytes>::new())
        .map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(io::Error::other)?;
    Ok(Answer {
        status,
        body: body.to_bytes(),
    })
}

fn told(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such socket: no daemon runs with these settings".to_owned(),
        ErrorKind::ConnectionRefused => "nobody listens on it: the daemon has died".to_owned(),
        ErrorKind::PermissionDenied => {
            "no permission: only the user whom the daemon runs as, and root, may use it".to_owned()
        }
        _ => error.to_string(),
    }
}

impl Unreachable {
    /// Says so, and gives the status to end with.
    pub(super) fn tell(&self, err: &mut dyn Write) -> ExitCode {
        let _ = writeln!(err, "{self}");
        ExitCode::from(UNREACHABLE)
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            writeln!(f, "{fault}")?;
        }
        let Self { socket, reason, .. } = self;
        write!(
            f,
            "error: the daemon cannot be reached at {}: {reason}",
            socket.display()
        )
    }
}
