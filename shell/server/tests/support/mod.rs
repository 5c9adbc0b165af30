//! A real single-node server on free ports, in this process, over a directory of its own.

use std::{net::SocketAddr, path::Path, time::Duration};

use server::{Ready, ServerConfig, ServerError};
use tokio::{sync::oneshot, task::JoinHandle};

/// A running server.
pub struct Running {
    pub ready: Ready,
    shutdown: oneshot::Sender<()>,
    task: JoinHandle<Result<(), ServerError>>,
}

/// A cluster of one over `data_dir`.
pub fn config(data_dir: &Path) -> ServerConfig {
    let cluster = "00112233445566778899aabbccddeeff".parse().unwrap();
    let mut config = ServerConfig::single(cluster, data_dir.to_owned());
    config.http = "127.0.0.1:0".to_owned();
    config.limits.segment_bytes = Some(8 * 1024 * 1024);
    config.limits.disk_free_bytes_min = Some(0);
    config
}

/// Starts it; fails as `server::run` fails.
pub async fn start(config: ServerConfig) -> Result<Running, ServerError> {
    let (shutdown, stopped) = oneshot::channel();
    let (ready, started) = oneshot::channel();
    let stopped = async { drop(stopped.await) };
    let task = tokio::spawn(server::run(config, stopped, |is_ready| drop(ready.send(is_ready))));
    match started.await {
        Ok(ready) => {
            let running = Running { ready, shutdown, task };
            running.until_ready().await;
            Ok(running)
        }
        Err(_) => Err(task.await.unwrap().expect_err("it ended before it was ready")),
    }
}

impl Running {
    pub fn http(&self) -> SocketAddr {
        self.ready.http
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.http())
    }

    /// Asks until the node knows its leader; the test's own time limit ends what never comes.
    async fn until_ready(&self) {
        loop {
            if reqwest::get(self.url("/readyz")).await.unwrap().status() == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn stop(self) {
        self.shutdown.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}
