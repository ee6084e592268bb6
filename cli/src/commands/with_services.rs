//! `millrace with-services -- CMD…`: servers for one command, gone afterwards. Tests and benchmarks
//! stand on it.

use crate::{
    embedded::{Embedded, Wanted, account, postgres::Profile},
    signals,
};
use anyhow::{Context, bail};
use clap::Args;
use std::{
    ffi::OsString,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio_util::sync::CancellationToken;

/// Runs a command with DATABASE_URL and REDIS_URL of private, throw-away servers. The command also
/// finds MILLRACE_BIN (this executable), MILLRACE_DATA_DIR (a fresh directory), and, for tests that stop
/// a server, MILLRACE_POSTGRES_PID and MILLRACE_REDIS_PID.
#[derive(Debug, Args)]
pub struct WithServices {
    /// Servers as the embedded default has them: everything synced to disk.
    #[arg(long)]
    bench: bool,
    /// Where the servers' files are put (in a fresh directory below it).
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// What to run.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Starts servers, runs the command, stops them; its exit code is the command's.
pub async fn with_services(args: WithServices) -> anyhow::Result<ExitCode> {
    let stop = signals::listen()?;
    let directory = fresh_directory(&args.dir)?;
    let mut servers = Embedded::take(&directory)?;
    let wanted = Wanted {
        postgres: true,
        redis: Some(true),
        profile: if args.bench { Profile::Durable } else { Profile::Throwaway },
    };
    let result = tokio::select! {
        started = servers.start(wanted) => match started {
            Ok(()) => run(&args.command, &servers, &directory, &stop).await,
            Err(error) => Err(error),
        },
        () = stop.cancelled() => Ok(130),
    };
    servers.stop().await;
    let elsewhere = servers.place.servers_dir.clone();
    drop(servers);
    for directory in [directory, elsewhere] {
        // What stays behind is in a directory for temporary files.
        let _ = std::fs::remove_dir_all(directory);
    }
    result.map(ExitCode::from)
}

fn fresh_directory(parent: &Path) -> anyhow::Result<PathBuf> {
    let name = uuid::Uuid::new_v4().simple().to_string();
    let directory = parent.join(format!("millrace-services-{}", &name[..12]));
    let mode = if account::is_root() { 0o711 } else { 0o700 };
    std::fs::DirBuilder::new()
        .mode(mode)
        .create(&directory)
        .with_context(|| format!("cannot make {}; choose another place with --dir", directory.display()))?;
    Ok(directory.canonicalize()?)
}

async fn run(
    command: &[OsString],
    servers: &Embedded,
    directory: &Path,
    stop: &CancellationToken,
) -> anyhow::Result<u8> {
    let (Some(database), Some(redis)) = (servers.database_url(), servers.redis_url()) else {
        bail!("the servers have no addresses");
    };
    let program = &command[0];
    let mut process = tokio::process::Command::new(program);
    process.args(&command[1..]).env("DATABASE_URL", database).env("REDIS_URL", redis);
    process.env("MILLRACE_DATA_DIR", directory.join("data")).env("MILLRACE_BIN", std::env::current_exe()?);
    let (postgres_pid, redis_pid) = servers.pids();
    for (name, pid) in [("MILLRACE_POSTGRES_PID", postgres_pid), ("MILLRACE_REDIS_PID", redis_pid)] {
        process.env(name, pid.unwrap_or_default().to_string());
    }
    let mut child =
        process.spawn().with_context(|| format!("cannot run {}", Path::new(program).display()))?;
    let status = tokio::select! {
        status = child.wait() => status?,
        // Ctrl-C in a terminal reaches the command too; a SIGTERM is passed on.
        () = stop.cancelled() => {
            crate::child::signal(&child, crate::child::EndSignal::Term);
            child.wait().await?
        }
    };
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}
