//! Accepting connections: HTTP/1.1, bounded in number, each unable to hold its place by being slow to ask,
//! or by not reading its answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::Extension;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rustix::net::sockopt;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{AppState, router};
use crate::log_limit::LogLimit;

/// Time for a request's head to arrive, counted from the end of the one before: also what an idle
/// connection is kept for.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time in which a client has to take some of its answer.
const WRITE_TIMEOUT_MS: u32 = 10_000;
/// Bytes of answers that wait for the client to take them, beyond which no more of an answer is made; and of
/// requests' heads: room for the longest key three times over, and for any session.
const BUFFER_BYTES_MAX: usize = 128 * 1024;
/// Time that requests under way have to end when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);
/// Pause after the operating system refused a connection (no more file descriptors, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until it is stopped or dropped.
pub(crate) struct Server {
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Server {
    pub(crate) fn start(listener: TcpListener, state: AppState, connections_max: usize) -> Server {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, state, connections_max, stopped));
        Server { stop, tasks }
    }

    /// Accepts no more, lets requests under way end, then closes what is left.
    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = timeout(STOP_TIMEOUT, self.tasks.join_next()).await;
        if ended.is_err() {
            tracing::warn!("some HTTP requests did not end in time and are cut off");
        }
        self.tasks.shutdown().await;
    }
}

async fn accept(
    listener: TcpListener,
    state: AppState,
    connections_max: usize,
    mut stopped: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(connections_max));
    let failures_logged = LogLimit::default();
    let mut connections = JoinSet::new();
    let app = router(state.clone()).layer(Extension(Stopped(stopped.clone())));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = until_stopped(&mut stopped) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, _)) => {
                let (app, state, stopped) = (app.clone(), state.clone(), stopped.clone());
                connections.spawn(async move {
                    state.metrics().http.connections.inc();
                    serve(stream, app, stopped).await;
                    state.metrics().http.connections.dec();
                    drop(place);
                });
            }
            Err(error) => {
                if let Some(left_out) = failures_logged.admit(Instant::now()) {
                    tracing::warn!(%error, left_out, "could not accept an HTTP connection");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// For answers that do not end by themselves.
#[derive(Clone)]
pub(super) struct Stopped(watch::Receiver<bool>);

impl Stopped {
    /// Completes when the server stops.
    pub(super) async fn wait(&mut self) {
        until_stopped(&mut self.0).await;
    }
}

/// Completes when the server stops, also when it was dropped.
async fn until_stopped(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn serve(stream: TcpStream, app: axum::Router, mut stopped: watch::Receiver<bool>) {
    // Answers are small and whole: nothing is gained by waiting for more.
    let prepared =
        stream.set_nodelay(true).and_then(|()| Ok(sockopt::set_tcp_user_timeout(&stream, WRITE_TIMEOUT_MS)?));
    if let Err(error) = prepared {
        tracing::debug!(%error, "could not prepare an HTTP connection");
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = until_stopped(&mut stopped) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP connection ended with an error");
    }
}
