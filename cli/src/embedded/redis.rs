//! The private Redis: an append-only file synced every second, a socket, no port. All that it holds is
//! disposable, so files that it cannot read are put aside and it starts afresh.

use super::{leftovers, place::Place, postgres::last_lines};
use crate::{
    child::{self, EndSignal},
    output::remark,
};
use anyhow::{Context, bail};
use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    process::Child,
};

/// A running server.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    log: PathBuf,
}

/// Its URL on a socket directory.
pub fn url(socket_dir: &Path) -> String {
    format!("redis+unix://{}", socket_dir.join("redis.sock").display())
}

impl Redis {
    /// Starts the server; `slot` holds the child as soon as it exists.
    pub async fn start(place: &Place, binary: &Path, slot: &mut Option<Self>) -> anyhow::Result<()> {
        let data = place.servers_dir.join("redis");
        if let Err(error) = Self::start_on(place, binary, &data, slot).await {
            let aside = place.servers_dir.join("redis.unreadable");
            if let Some(mut server) = slot.take() {
                server.stop().await;
            }
            tracing::debug!(%error, "Redis did not start");
            remark(format!(
                "Redis could not use its files; they are now in {} and it starts afresh (nothing is lost: the \
                 record is in PostgreSQL).",
                aside.display()
            ));
            // What an earlier failure left there is of no use to anyone.
            let _ = std::fs::remove_dir_all(&aside);
            std::fs::rename(&data, &aside).context("cannot put the files of Redis aside")?;
            Self::start_on(place, binary, &data, slot).await?;
        }
        Ok(())
    }

    async fn start_on(
        place: &Place,
        binary: &Path,
        data: &Path,
        slot: &mut Option<Self>,
    ) -> anyhow::Result<()> {
        super::account::private_directory(data, place.account.as_ref())?;
        leftovers::wait_for_end("redis-server", data).await?;
        let socket = place.socket_dir.join("redis.sock");
        let (log, output) = place.log_file("redis.log")?;
        let mut command = child::command(binary, place.account.as_ref(), EndSignal::Term);
        command.args(["--port", "0", "--unixsocketperm", "700", "--unixsocket"]).arg(&socket);
        command.arg("--dir").arg(data);
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]);
        command.args(["--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "warning"]);
        command.stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().context("cannot start Redis")?;
        child::watch(&child, EndSignal::Term)?;
        slot.insert(Self { child, log }).wait_until_ready(&socket).await
    }

    async fn wait_until_ready(&mut self, socket: &Path) -> anyhow::Result<()> {
        let started = Instant::now();
        while !answers(socket).await {
            if let Some(status) = self.child.try_wait()? {
                bail!("Redis did not start ({status}): {}", last_lines(&self.log));
            }
            if started.elapsed() > Duration::from_secs(60) {
                bail!("Redis does not become ready; see {}", self.log.display());
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
        Ok(())
    }

    /// Process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Returns when the server has ended by itself, with what it said last.
    pub async fn ended(&mut self) -> String {
        let status =
            self.child.wait().await.map_or_else(|error| error.to_string(), |status| status.to_string());
        format!("Redis ended ({status}): {}", last_lines(&self.log))
    }

    /// Lets it write what it has and end; after 5 s at once.
    pub async fn stop(&mut self) {
        child::signal(&self.child, EndSignal::Term);
        if tokio::time::timeout(Duration::from_secs(5), self.child.wait()).await.is_err() {
            child::signal(&self.child, EndSignal::Kill);
            // Nothing more can be done than to wait.
            let _ = self.child.wait().await;
        }
    }
}

async fn answers(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket).await else { return false };
    let mut answer = [0u8; 5];
    stream.write_all(b"PING\r\n").await.is_ok()
        && stream.read_exact(&mut answer).await.is_ok()
        && &answer == b"+PONG"
}
