//! Child processes that cannot outlive this one. A server is started through this executable itself
//! (`millrace child-process`), which gives up root if asked to, asks the kernel for a signal at its
//! parent's death, and becomes the server: the order matters, because a change of credentials forgets
//! the wish. Where the kernel knows no such wish (macOS) a small watcher process does the same.
//!
//! The signal is sent when the *thread* that started the child ends: start children from the main
//! thread only.

use anyhow::Context;
use clap::{Args, ValueEnum};
use rustix::process::{Pid, Signal, getppid, kill_process};
use std::{
    ffi::OsString,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

/// An account that servers run under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// For messages.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// How a child is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EndSignal {
    /// PostgreSQL: fast shutdown.
    Int,
    /// Redis: orderly end.
    Term,
    /// PostgreSQL: immediate shutdown.
    Quit,
    /// Whatever keeps nothing.
    Kill,
}

impl EndSignal {
    fn signal(self) -> Signal {
        match self {
            Self::Int => Signal::INT,
            Self::Term => Signal::TERM,
            Self::Quit => Signal::QUIT,
            Self::Kill => Signal::KILL,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Term => "term",
            Self::Quit => "quit",
            Self::Kill => "kill",
        }
    }
}

/// Arguments of the hidden command that becomes a server.
#[derive(Debug, Args)]
pub struct ChildProcess {
    /// Whose death ends it.
    #[arg(long)]
    parent: i32,
    /// What it is sent then.
    #[arg(long, value_enum)]
    signal: EndSignal,
    /// User to become.
    #[arg(long, requires = "gid")]
    uid: Option<u32>,
    /// Group to become.
    #[arg(long, requires = "uid")]
    gid: Option<u32>,
    /// The server.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Arguments of the hidden command that watches over a child.
#[derive(Debug, Args)]
pub struct ChildWatch {
    /// Whose death ends the child.
    #[arg(long)]
    parent: i32,
    /// The child.
    #[arg(long)]
    child: i32,
    /// What it is sent then.
    #[arg(long, value_enum)]
    signal: EndSignal,
}

/// Becomes the server; returns only if that fails.
pub fn become_child(args: &ChildProcess) -> anyhow::Error {
    let program = &args.command[0];
    let mut command = Command::new(program);
    command.args(&args.command[1..]);
    let prepared = if cfg!(target_os = "linux") {
        prepare(args)
    } else {
        if let (Some(uid), Some(gid)) = (args.uid, args.gid) {
            command.uid(uid).gid(gid);
        }
        Ok(())
    };
    match prepared {
        Ok(()) => anyhow::Error::new(command.exec())
            .context(format!("cannot start {}", Path::new(program).display())),
        Err(error) => error,
    }
}

#[cfg(target_os = "linux")]
fn prepare(args: &ChildProcess) -> anyhow::Result<()> {
    use rustix::{
        process::{Gid, Uid, set_parent_process_death_signal},
        thread::{set_thread_gid, set_thread_groups, set_thread_uid},
    };
    // One thread runs here, so the thread's credentials are the process's.
    if let (Some(uid), Some(gid)) = (args.uid, args.gid) {
        let gid = Gid::from_raw(gid);
        set_thread_groups(&[gid]).context("cannot change groups")?;
        set_thread_gid(gid).context("cannot change the group")?;
        set_thread_uid(Uid::from_raw(uid)).context("cannot change the user")?;
    }
    set_parent_process_death_signal(Some(args.signal.signal())).context("cannot watch the parent")?;
    // The parent may have died before the wish was made; nobody would ever end this process then.
    anyhow::ensure!(getppid() == Pid::from_raw(args.parent), "the parent process is gone");
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn prepare(_args: &ChildProcess) -> anyhow::Result<()> {
    Ok(())
}

/// Waits for the end of the parent, then ends the child.
pub fn watch_child(args: &ChildWatch) -> ExitCode {
    let Some(child) = Pid::from_raw(args.child) else { return ExitCode::FAILURE };
    while getppid() == Pid::from_raw(args.parent) {
        if rustix::process::test_kill_process(child).is_err() {
            return ExitCode::SUCCESS;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    // The child may have ended already.
    let _ = kill_process(child, args.signal.signal());
    ExitCode::SUCCESS
}

/// The command that starts `program` as a child that ends with this process. It runs in a process
/// group of its own, so that Ctrl-C in a terminal reaches this process alone, in `/`, and with an
/// environment that names nothing but the path.
pub fn command(program: &Path, account: Option<&Account>, signal: EndSignal) -> tokio::process::Command {
    let mut command = Command::new(own_executable());
    command.args(["child-process", "--signal", signal.word(), "--parent"]);
    command.arg(std::process::id().to_string());
    if let Some(account) = account {
        command.args(["--uid", &account.uid.to_string(), "--gid", &account.gid.to_string()]);
    }
    command.arg("--").arg(program);
    command.env_clear().env("LC_ALL", "C").env("HOME", "/");
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command.current_dir("/").stdin(Stdio::null()).process_group(0);
    command.into()
}

/// Where the kernel does not end a started child with this process, lets a watcher do it.
pub fn watch(child: &tokio::process::Child, signal: EndSignal) -> std::io::Result<()> {
    let Some(pid) = child.id().filter(|_| !cfg!(target_os = "linux")) else { return Ok(()) };
    let mut watcher = Command::new(own_executable());
    watcher.args(["child-watch", "--signal", signal.word(), "--child", &pid.to_string(), "--parent"]);
    watcher.arg(std::process::id().to_string());
    watcher.current_dir("/").process_group(0);
    watcher.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(|_| ())
}

/// This executable, also if its file was replaced since it started.
fn own_executable() -> PathBuf {
    let proc = PathBuf::from("/proc/self/exe");
    if proc.exists() { proc } else { std::env::current_exe().unwrap_or_else(|_| PathBuf::from("millrace")) }
}

/// Sends a started child its end signal; one that is gone already is no error.
pub fn signal(child: &tokio::process::Child, signal: EndSignal) {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // Gone is what was wanted.
        let _ = kill_process(pid, signal.signal());
    }
}

/// Sends any process a signal.
pub fn signal_pid(pid: i32, signal: EndSignal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // Gone is what was wanted.
        let _ = kill_process(pid, signal.signal());
    }
}
