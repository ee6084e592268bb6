//! Real processes, killed, frozen and started at will: Millrace's roles, a PostgreSQL and a Redis of a
//! test's own, a proxy that cuts the network. Start them from the runtime's own threads: the kernel
//! ends a child with the thread that started it.

mod postgres;
mod proxy;
mod redis;
mod s3;
mod smtp;

pub use postgres::Postgres;
pub use proxy::Proxy;
pub use redis::Redis;
pub use s3::S3;
pub use smtp::Smtp;

use rustix::process::{Pid, Signal, kill_process};
use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// The executable under test: `MILLRACE_BIN`, or the one that was built beside this test.
pub fn millrace() -> PathBuf {
    std::env::var_os("MILLRACE_BIN").map_or_else(|| beside_this("millrace"), PathBuf::from)
}

/// An executable of the same build as this one.
fn beside_this(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    // Tests lie one directory deeper than binaries.
    let found =
        this.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: run `cargo build --workspace --bins` or ./run test"))
}

/// A port of localhost at which nobody listens just now.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

/// A process that is killed (SIGKILL) when it is dropped.
pub struct Process(Child);

impl Process {
    /// Starts `millrace` with these arguments and environment.
    pub fn millrace(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::millrace_of(&millrace(), arguments, environment)
    }

    /// Starts another version's `millrace`.
    pub fn millrace_of(program: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::start(Command::new(program).args(arguments), environment)
    }

    /// Starts a program that is installed.
    pub fn program(name: &str, arguments: &[&str]) -> Self {
        Self::start(Command::new(name).args(arguments), &[])
    }

    /// Starts `millrace` where the directory `full` is a file system of its own with room for so many
    /// bytes. Only the process sees it, and it goes with the process.
    pub fn with_little_room(
        full: &Path,
        bytes: u64,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new("unshare");
        // Who is not root becomes root of a namespace of its own.
        command.args(["--mount", "--propagation", "private"]);
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        let script = "mount -t tmpfs -o size=$1 tmpfs \"$2\" && shift 2 && exec \"$@\"";
        command
            .args(["sh", "-c", script, "sh", &bytes.to_string()])
            .arg(full)
            .arg(millrace())
            .args(arguments);
        Self::start(&mut command, environment)
    }

    /// Starts a role that also knows the kinds of the tests: `worker` or `scheduler`.
    pub fn role(role: &str, environment: &[(&str, &str)]) -> Self {
        Self::start(Command::new(beside_this("test-worker")).arg(role), environment)
    }

    fn start(command: &mut Command, environment: &[(&str, &str)]) -> Self {
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        if std::env::var_os("MILLRACE_TEST_LOG").is_none() {
            command.stderr(Stdio::null());
        }
        Self(command.spawn().expect("the process starts"))
    }

    /// Starts a server that keeps nothing of this process's environment and ends with it; under the
    /// account `postgres` if this is root, as PostgreSQL refuses to be root.
    fn server(program: &Path, arguments: &[String]) -> Self {
        let mut command = Command::new(millrace());
        command.args(["child-process", "--signal", "kill", "--parent", &std::process::id().to_string()]);
        if let Some((uid, gid)) = server_account() {
            command.args(["--uid", &uid.to_string(), "--gid", &gid.to_string()]);
        }
        command.arg("--").arg(program).args(arguments).current_dir("/").env("LC_ALL", "C");
        Self::start(&mut command, &[])
    }

    /// Its id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// SIGKILL: it gets no chance to say anything.
    pub fn kill(&mut self) {
        self.0.kill().expect("SIGKILL");
        self.0.wait().expect("it is gone");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("the signal is sent");
    }

    /// SIGSTOP: it stands still and keeps all it has.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Whether it ended well; `None` while it runs.
    pub fn ended(&mut self) -> Option<bool> {
        self.0.try_wait().expect("its state").map(|status| status.success())
    }

    /// Waits for its end.
    pub fn wait(&mut self) {
        self.0.wait().expect("it ends");
    }

    /// SIGTERM, and waits for its end; whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.signal(Signal::TERM);
        self.0.wait().expect("it ends").success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// User and group that servers run under, if this is root.
fn server_account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let id = |flag| -> Option<u32> {
        let output = Command::new("id").args([flag, "postgres"]).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    Some((id("-u").expect("a user postgres"), id("-g").expect("a group postgres")))
}

/// A directory that a server under [`server_account`] can come to and write in.
fn server_directory() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::Builder::new().prefix("mr").tempdir().expect("a directory");
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700)).expect("permissions");
    if let Some((uid, gid)) = server_account() {
        std::os::unix::fs::chown(directory.path(), Some(uid), Some(gid)).expect("root gives it away");
    }
    directory
}
