//! The control API: HTTP/1.1 with JSON (and metrics as Prometheus reads them), the same on the Unix socket and over TCP, except that over
//! TCP nothing can be changed.
//!
//! An error is a document too: `{"error": "..."}`.

#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::cast_possible_truncation)
)]

use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connections;
use super::explain::{Asked, Shown, explain_one};
use super::exposition;
use super::metrics::Sources;
use super::prober::Prober;
use super::reload::ReloadReport;
use super::status::Status;

/// How long a stop waits for requests to end by themselves before they are cut.
const STOP_MAX: Duration = Duration::from_secs(2);

/// The most connections to the Unix socket, and to the TCP port, at a time. Each counts by itself: who fills the port leaves the socket free.
const CONNECTIONS_MAX: usize = 32;

/// How many explanations are worked out at a time: each reads the location databases, which may be large.
const EXPLAINED_MAX: usize = 1;

/// What the API tells of, and its connections.
#[derive(Debug, Clone)]
pub struct Api {
    prober: Prober,
    sources: Arc<Sources>,
    explaining: Arc<Semaphore>,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// The zones that are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zones {
    /// In the order of their files.
    pub zones: Vec<ZoneStatus>,
    /// The origins of those that could not be loaded: SERVFAIL at and below.
    pub failed: Vec<String>,
}

/// A zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZoneStatus {
    /// The name at its top.
    pub origin: String,
    /// Its serial number.
    pub serial: u32,
    /// How many owners it has.
    pub owners: usize,
}

impl Api {
    /// On no socket yet.
    pub fn new(prober: Prober, sources: Sources) -> Self {
        Self {
            prober,
            sources: Arc::new(sources),
            explaining: Arc::new(Semaphore::new(EXPLAINED_MAX)),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Answers on a Unix socket (not blocking), with full control. Called within a tokio runtime.
    pub fn listen_unix(&self, listener: UnixListener) -> io::Result<()> {
        self.answer_on(tokio::net::UnixListener::from_std(listener)?, self.routes());
        Ok(())
    }

    /// Answers on a TCP port (not blocking), for reading only. Called within a tokio runtime.
    pub fn listen_tcp(&self, listener: TcpListener) -> io::Result<()> {
        let routes = self.routes().layer(from_fn(only_reading));
        self.answer_on(tokio::net::TcpListener::from_std(listener)?, routes);
        Ok(())
    }

    fn answer_on(&self, listener: impl Listener, routes: Router) {
        let (stopping, tasks) = (self.stopping.clone(), self.tasks.clone());
        self.tasks
            .spawn(connections::serve(listener, CONNECTIONS_MAX, routes, stopping, tasks));
    }

    /// Stops: nobody new is let in, what is under way is answered. Returns when all that is done, or was given long enough.
    pub async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        let _ = timeout(STOP_MAX, self.tasks.wait()).await;
    }

    fn routes(&self) -> Router {
        Router::new()
            .route("/healthz", get(async || "ok\n"))
            .route("/metrics", get(metrics))
            .route("/v1/status", get(status))
            .route("/v1/zones", get(zones))
            .route("/v1/explain", get(explain))
            .route("/v1/reload", post(reload))
            .fallback(async || error(StatusCode::NOT_FOUND, "nothing is here"))
            .method_not_allowed_fallback(async || error(StatusCode::METHOD_NOT_ALLOWED, "not with this method"))
            .with_state(self.clone())
    }
}

async fn only_reading(request: Request, next: Next) -> Response {
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    error(
        StatusCode::FORBIDDEN,
        "over TCP nothing can be changed: use the Unix socket",
    )
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({ "error": message }))).into_response()
}

fn ending() -> Response {
    error(StatusCode::SERVICE_UNAVAILABLE, "the daemon is ending")
}

async fn status(State(api): State<Api>) -> Response {
    match api.prober.snapshot().await {
        Some(snapshot) => Json(Status::new(&snapshot, SystemTime::now())).into_response(),
        None => ending(),
    }
}

async fn metrics(State(api): State<Api>) -> Response {
    let Some(snapshot) = api.prober.snapshot().await else {
        return ending();
    };
    // Away from the threads that answer queries over TCP: there may be many numbers.
    match spawn_blocking(move || api.sources.expose(&snapshot)).await {
        Ok(text) => ([(CONTENT_TYPE, exposition::CONTENT_TYPE)], text).into_response(),
        Err(_) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the metrics cannot be told; please report this",
        ),
    }
}

async fn zones(State(api): State<Api>) -> Json<Zones> {
    let serving = api.sources.publisher.shared().load_full();
    let zones = serving.image.zones.iter().map(|zone| ZoneStatus {
        origin: zone.origin.to_string(),
        serial: zone.serial,
        owners: zone.owners,
    });
    Json(Zones {
        zones: zones.collect(),
        failed: serving.image.failed.iter().map(ToString::to_string).collect(),
    })
}

async fn explain(State(api): State<Api>, asked: Result<Query<Asked>, QueryRejection>) -> Response {
    let asked = asked.map_err(|rejection| rejection.body_text());
    let question = match asked.and_then(|Query(asked)| asked.question()) {
        Ok(question) => question,
        Err(fault) => return error(StatusCode::BAD_REQUEST, &fault),
    };
    let Ok(_turn) = api.explaining.acquire().await else {
        return ending();
    };
    let (reloader, serving) = (api.sources.reloader.clone(), api.sources.publisher.shared().load_full());
    let explained = spawn_blocking(move || explain_one(&question, &serving, &reloader.databases()));
    match explained.await {
        Ok(Ok(explanation)) => Json(Shown {
            shown: explanation.to_string(),
            explanation,
        })
        .into_response(),
        Ok(Err(fault)) => error(StatusCode::INTERNAL_SERVER_ERROR, &fault),
        Err(_) => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "it cannot be explained; please report this",
        ),
    }
}

async fn reload(State(api): State<Api>) -> Response {
    let reloader = api.sources.reloader.clone();
    let reload = spawn_blocking(move || ReloadReport::new(&reloader.reload_and_log()));
    let report = tokio::select! {
        report = reload => report,
        () = api.stopping.cancelled() => return ending(),
    };
    match report {
        Ok(report) if report.reloaded => Json(report).into_response(),
        Ok(report) => (StatusCode::CONFLICT, Json(report)).into_response(),
        Err(_) => {
            tracing::error!("reload failed, everything stays as it was");
            error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the reload has failed, everything stays as it was; please report this",
            )
        }
    }
}
