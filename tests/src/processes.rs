//! Real processes: `millrace worker` and `millrace api`, killed and started at will, and a Redis
//! server that can be stopped.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// The executable under test: `MILLRACE_BIN`, or the one that was built beside this test.
pub fn millrace() -> PathBuf {
    if let Some(path) = std::env::var_os("MILLRACE_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a path");
    let built = test.ancestors().nth(2).expect("target/debug").join("millrace");
    assert!(built.exists(), "{} is missing: run `cargo build -p cli` or ./run test", built.display());
    built
}

/// A process that is killed (SIGKILL) when it is dropped.
pub struct Process(Child);

impl Process {
    /// Starts `millrace` with these arguments and environment.
    pub fn millrace(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(millrace());
        command.args(arguments).envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null());
        if std::env::var_os("MILLRACE_TEST_LOG").is_none() {
            command.stderr(Stdio::null());
        }
        Self(command.spawn().expect("the process starts"))
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
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).expect("the signal is sent");
    }

    /// Whether it ended well; `None` while it runs.
    pub fn ended(&mut self) -> Option<bool> {
        self.0.try_wait().expect("its state").map(|status| status.success())
    }

    /// SIGTERM, and waits for its end; whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.signal(rustix::process::Signal::TERM);
        self.0.wait().expect("it ends").success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A Redis server of a test's own.
pub struct Redis {
    directory: tempfile::TempDir,
    process: Option<Child>,
}

impl Redis {
    /// Starts one that keeps nothing.
    pub fn start() -> Self {
        let mut redis = Self { directory: tempfile::tempdir().expect("a directory"), process: None };
        redis.start_again();
        redis
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Starts it, or starts it again.
    pub fn start_again(&mut self) {
        let child = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(self.socket())
            .arg("--dir")
            .arg(self.directory.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        self.process = Some(child);
    }

    /// Stops it at once.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// FLUSHALL.
    pub fn flush(&self) {
        let flushed = Command::new("redis-cli").arg("-s").arg(self.socket()).arg("FLUSHALL").output();
        assert!(flushed.expect("redis-cli runs").status.success());
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}
