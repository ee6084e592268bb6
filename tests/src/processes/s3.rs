//! An S3 that keeps everything in memory: moto's server, which `./run test` installs.

use super::Process;
use crate::eventually;
use std::process::Command;

/// Credentials that the server takes, as it takes any.
const SECRET: &str = "very-secret-key";

/// A server with one bucket.
pub struct S3 {
    _process: Process,
    endpoint: String,
    http: reqwest::Client,
}

impl S3 {
    /// Starts one with the bucket `files`.
    pub async fn start() -> Self {
        let python = std::env::var("MILLRACE_TEST_PYTHON")
            .expect("MILLRACE_TEST_PYTHON is not set: run the tests by ./run test");
        // Free when we look; who takes it before the server does makes the test fail, not pass.
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
        let port = free.expect("a port").port().to_string();
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port]);
        shared::storage::prepare_tls();
        let s3 = Self {
            _process: Process::start(&mut command, &[]),
            endpoint: format!("http://127.0.0.1:{port}"),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
        };
        eventually("the bucket", || async {
            let made = s3.http.put(format!("{}/files", s3.endpoint)).send().await.ok()?;
            made.status().is_success().then_some(())
        })
        .await;
        s3
    }

    /// What a process needs to know, besides the URL of its storage.
    pub fn environment(&self) -> [(&'static str, &str); 5] {
        [
            ("AWS_ENDPOINT", &self.endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "tests"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ]
    }

    /// Stores an object.
    pub async fn put(&self, key: &str, content: Vec<u8>) {
        let stored = self.http.put(format!("{}/files/{key}", self.endpoint)).body(content).send().await;
        assert!(stored.expect("an answer").status().is_success());
    }

    /// How many objects there are.
    pub async fn objects(&self) -> usize {
        let listing = self.http.get(format!("{}/files?list-type=2", self.endpoint)).send().await;
        let text = listing.expect("an answer").text().await.expect("a listing");
        text.matches("<Key>").count()
    }

    /// How many uploads in parts have neither ended nor been given up.
    pub async fn unfinished(&self) -> usize {
        let listing = self.http.get(format!("{}/files?uploads", self.endpoint)).send().await;
        let text = listing.expect("an answer").text().await.expect("a listing");
        text.matches("<UploadId>").count()
    }
}
