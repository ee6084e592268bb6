//! A network between a client and a server on a socket, which can be cut.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// Passes connections on. While the network is cut nothing comes through and nobody is told: a
/// connection of that time stays open and silent for good, as after a lost route.
pub struct Proxy {
    directory: tempfile::TempDir,
    cut: Arc<Mutex<CancellationToken>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// A way to the server on `target`.
    pub fn to(target: PathBuf) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(socket_in(directory.path())).expect("a socket");
        let cut = Arc::new(Mutex::new(CancellationToken::new()));
        let task = tokio::spawn(pass_on(listener, target, cut.clone()));
        Self { directory, cut, task }
    }

    /// The URL of Redis through it.
    pub fn redis_url(&self) -> String {
        super::redis::url_of(&socket_in(self.directory.path()))
    }

    /// From now on nothing comes through.
    pub fn cut(&self) {
        self.current().cancel();
    }

    /// New connections come through again.
    pub fn restore(&self) {
        *self.current() = CancellationToken::new();
    }

    fn current(&self) -> std::sync::MutexGuard<'_, CancellationToken> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn socket_in(directory: &Path) -> PathBuf {
    directory.join("proxy.sock")
}

async fn pass_on(listener: UnixListener, target: PathBuf, cut: Arc<Mutex<CancellationToken>>) {
    // Ends the connections with the proxy.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let cut = cut.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let target = target.clone();
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let passing = async {
                let mut server = UnixStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            };
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                _ = passing => return,
            }
            // Held open, unheard.
            let _client = client;
            std::future::pending::<()>().await;
        });
    }
}
