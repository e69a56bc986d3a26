//! One HTTP/1.1 request over an open connection: the status and the body must be as expected. No redirect is followed, no connection kept.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::error::Error;
use std::io;
use std::net::IpAddr;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_LENGTH, HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use super::told;
use crate::health::probe::{Body, Http};

/// The octets of a body that are looked at.
const BODY_MAX: usize = 65_536;

/// Asks; `Ok` holds the status.
pub(super) async fn ask<S>(http: &Http, port: u16, address: IpAddr, stream: S) -> Result<String, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    let _connection = Ended(tokio::spawn(async move {
        // What goes wrong with it is told by the request.
        let _ = connection.await;
    }));
    let response = sender
        .send_request(request(http, port, address)?)
        .await
        .map_err(|error| failed(&error))?;
    let status = response.status().as_u16();
    if !http.status.iter().any(|(from, to)| (*from..=*to).contains(&status)) {
        return Err(status.to_string());
    }
    match &http.body {
        None => Ok(status.to_string()),
        Some(expected) => match holds(expected, &body(response).await?) {
            true => Ok(status.to_string()),
            false => Err(format!("{status}, the body is not as expected")),
        },
    }
}

/// A task that ends with the probe.
struct Ended(JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn request(http: &Http, port: u16, address: IpAddr) -> Result<Request<Empty<Bytes>>, String> {
    let is_usual = port == if http.tls.is_some() { 443 } else { 80 };
    let name = http.host.clone().unwrap_or_else(|| match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    });
    let host = if is_usual || http.host.is_some() {
        name
    } else {
        format!("{name}:{port}")
    };
    let given = |header: &str| http.headers.iter().any(|(name, _)| name == header);
    let mut request = Request::builder().method(http.method.as_str()).uri(http.path.as_str());
    for (name, value) in &http.headers {
        request = request.header(name.as_str(), value.as_str());
    }
    if !given("host") {
        request = request.header(HOST, host);
    }
    if !given("user-agent") {
        request = request.header(USER_AGENT, "windrose");
    }
    // What is usually sent with content says when there is none (RFC 9110 8.6); some servers insist.
    if matches!(http.method.as_str(), "POST" | "PUT" | "PATCH") && !given("content-length") {
        request = request.header(CONTENT_LENGTH, 0);
    }
    let request = request.header(CONNECTION, "close");
    request
        .body(Empty::new())
        .map_err(|error| format!("the request cannot be made: {error}"))
}

/// As much of the body as is looked at.
async fn body(response: Response<Incoming>) -> Result<Vec<u8>, String> {
    let mut body = response.into_body();
    let mut octets = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| failed(&error))?;
        if let Some(data) = frame.data_ref() {
            octets.extend_from_slice(data);
        }
        if octets.len() >= BODY_MAX {
            octets.truncate(BODY_MAX);
            break;
        }
    }
    Ok(octets)
}

fn holds(expected: &Body, body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    match expected {
        Body::Contains(part) => text.contains(part.as_str()),
        Body::Matches(expression) => expression.is_match(&text),
    }
}

/// The innermost cause that says something.
fn failed(error: &hyper::Error) -> String {
    // Canceled: the connection was gone before the request was sent.
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return "connection closed early".to_owned();
    }
    if error.is_parse() {
        return "not HTTP".to_owned();
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(error) => told(error),
        None => error.to_string(),
    }
}
