//! The HTTP server: a small runtime on a thread of its own, apart from the workers.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use thalweg_engine::watermark::{BEGINNING, END};
use thalweg_schemas::time::format_rfc3339;
use tokio::sync::oneshot;

use super::exposition::{CONTENT_TYPE, Exposition};
use crate::run::Status;

/// A server that runs; it ends when this is dropped.
pub struct Serving {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    // Dropped with it: ends the thread that asks brokers.
    _ends: Option<Sender<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Connections that are open do not hold it up: they end with the runtime.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread that only shows numbers is no reason to fail the job.
            let _ = thread.join();
        }
    }
}

pub(super) fn start(listener: TcpListener, status: Status, ends: Option<Sender<()>>) -> io::Result<Serving> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let (stop, stopped) = oneshot::channel();
    let shared = Arc::new(Shared { exposition: Exposition::new(status.clone()), status });
    let router =
        Router::new().route("/metrics", get(metrics)).route("/health", get(health)).with_state(shared);
    let serve = move || {
        runtime.block_on(async {
            tokio::select! {
                // Ends only with an error of the socket's; then nobody can be told by it.
                ended = axum::serve(listener, router) => {
                    if let Err(error) = ended {
                        tracing::warn!("metrics are served no more: {error}");
                    }
                }
                _ = stopped => {}
            }
        });
    };
    let thread = std::thread::Builder::new().name("metrics".to_owned()).spawn(serve)?;
    Ok(Serving { stop: Some(stop), thread: Some(thread), _ends: ends })
}

struct Shared {
    exposition: Exposition,
    status: Status,
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    match shared.exposition.text() {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// How a job is, in a line.
#[derive(Serialize)]
struct Health {
    pipeline: String,
    state: &'static str,
    /// The newest checkpoint; 0: none yet.
    checkpoint: u64,
    /// RFC 3339; `null` before the first row and after the last.
    watermark: Option<String>,
}

async fn health(State(shared): State<Arc<Shared>>) -> Response {
    let status = &shared.status;
    let watermark = status.cuts.watermark();
    let health = Health {
        pipeline: status.pipeline.clone(),
        state: status.state().as_str(),
        checkpoint: status.checkpoint(),
        watermark: (watermark != BEGINNING && watermark != END).then(|| format_rfc3339(watermark)),
    };
    match serde_json::to_string(&health) {
        Ok(line) => ([(header::CONTENT_TYPE, "application/json")], line + "\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
