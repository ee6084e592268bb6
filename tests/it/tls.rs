//! TLS to PostgreSQL and Redis: asked for by their URLs, the certificates checked.

use std::{path::Path, process::Command};
use tests::{
    eventually,
    processes::{Postgres, Process, free_port, millrace},
};

/// What a command printed, and whether it ended well.
fn call(arguments: &[&str], environment: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(millrace());
    command.args(arguments).env_remove("MILLRACE_CA").envs(environment.iter().copied());
    let done = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    (done.status.success(), said)
}

fn certificates(directory: &Path) {
    let python = std::env::var("MILLRACE_TEST_PYTHON").expect("run the tests by ./run test");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/certificates.py");
    assert!(Command::new(python).arg(script).arg(directory).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_encrypted_and_the_certificate_checked() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path());
    let pem = directory.path().join("ca.pem");
    let (ca, text) = (pem.display().to_string(), std::fs::read_to_string(&pem).unwrap());
    let (postgres, port) = Postgres::with_tls(directory.path()).await;
    let data = directory.path().join("data").display().to_string();
    let at = |host: &str, options: &str| format!("postgres://millrace@{host}:{port}/postgres{options}");
    let migrate = |url: &str, authority: &str| {
        call(&["migrate"], &[("DATABASE_URL", url), ("MILLRACE_DATA_DIR", &data), ("MILLRACE_CA", authority)])
    };
    for mode in ["require", "verify-ca", "verify-full"] {
        let (ended_well, said) = migrate(&at("localhost", &format!("?sslmode={mode}")), "");
        assert!(!ended_well && said.contains("certificate"), "nobody knows its authority: {said}");
    }
    let (ended_well, said) = migrate(&at("localhost", "?sslmode=require"), "/nowhere.pem");
    assert!(!ended_well && said.contains("MILLRACE_CA") && said.contains("cannot be read"), "{said}");
    let other_host = at("127.0.0.2", "?sslmode=require");
    let (ended_well, said) = migrate(&other_host, &ca);
    assert!(!ended_well, "{said}");
    for authority in [&ca, &text] {
        let (ended_well, said) = migrate(&at("localhost", "?sslmode=verify-full"), authority);
        assert!(ended_well, "{said}");
    }
    // Who does not ask for it is not stopped by a certificate that nobody knows.
    let (ended_well, said) = migrate(&at("localhost", ""), "");
    assert!(ended_well, "{said}");

    let redis_port = free_port();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let _redis = Process::program(
        "redis-server",
        &[
            "--port",
            "0",
            "--tls-port",
            &redis_port.to_string(),
            "--tls-auth-clients",
            "no",
            "--save",
            "",
            "--tls-cert-file",
            &file("cert.pem"),
            "--tls-key-file",
            &file("key.pem"),
            "--tls-ca-cert-file",
            &ca,
            "--bind",
            "127.0.0.1",
        ],
    );
    let url = at("localhost", "?sslmode=require");
    let redis = format!("rediss://localhost:{redis_port}");
    let environment = |authority: &'static str| {
        let environment = [("DATABASE_URL", &url), ("REDIS_URL", &redis), ("MILLRACE_DATA_DIR", &data)];
        let mut environment: Vec<(&str, String)> =
            environment.map(|(name, value)| (name, value.clone())).to_vec();
        environment.push(("MILLRACE_CA", if authority.is_empty() { String::new() } else { ca.clone() }));
        environment
    };
    let examine = |authority: &'static str| {
        let environment = environment(authority);
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (ended_well, said) = call(&["doctor", "--json"], &environment);
        (ended_well, serde_json::from_str::<serde_json::Value>(&said).unwrap())
    };
    let found = |findings: &serde_json::Value, area: &str| {
        findings.as_array().unwrap().iter().find(|one| one["area"] == area).unwrap()["verdict"].clone()
    };
    eventually("a Redis that answers by TLS", || async {
        let (ended_well, findings) = examine("ours");
        (ended_well && found(&findings, "redis") == "ok").then_some(())
    })
    .await;
    let (ended_well, findings) = examine("");
    assert!(!ended_well && found(&findings, "database") == "fault" && found(&findings, "redis") == "warning");

    // A worker does all that it does over connections that are encrypted.
    let environment = environment("ours");
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let _roles = ["worker", "scheduler"].map(|role| Process::millrace(&[role], &environment));
    let client = postgres.client().await;
    eventually("a worker and a leader", || async {
        let alive = "SELECT (SELECT count(*) FROM workers WHERE state = 'alive')
                          + (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'millrace-leader%')";
        (client.query_one(alive, &[]).await.unwrap().get::<_, i64>(0) == 2).then_some(())
    })
    .await;
    let clear = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
                 WHERE a.client_addr IS NOT NULL AND NOT s.ssl";
    assert_eq!(client.query_one(clear, &[]).await.unwrap().get::<_, i64>(0), 0);
}
