//! Webhooks: receivers that misbehave, addresses that are not called, signatures that others verify.

use super::{awkward, provider, refused};
use serde_json::json;
use shared::notifications::{
    model::Channel,
    providers::{Failure, Message, RESPONSE_BYTES, generate_secret},
};
use std::{
    io::Write,
    process::{Command, Stdio},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tests::receivers::Receiver;

const LOCAL: &str = "webhook:?allow=127.0.0.0/8,[::1]/128";

#[tokio::test(flavor = "multi_thread")]
async fn receivers_that_misbehave_are_told_apart() {
    let receiver = Receiver::start().await;
    let provider = provider(Channel::Webhook, LOCAL);
    let to = |case: &str| awkward(&format!("http://127.0.0.1:{}/hooks/{case}", receiver.port));
    let error = refused(&*provider, &to("busy")).await;
    assert_eq!((error.failure, error.status_code), (Failure::Throttled(None), Some(429)));
    let error = refused(&*provider, &to("unavailable")).await;
    // However far off the date is: at most a day.
    assert_eq!(error.failure, Failure::Throttled(Some(Duration::from_hours(24))));
    let error = refused(&*provider, &to("unknown")).await;
    assert_eq!((error.failure, error.status_code), (Failure::Transient, Some(404)));
    assert_eq!(error.response.as_deref(), Some("no such hook"));
    let error = refused(&*provider, &to("moved")).await;
    assert_eq!((error.failure, error.status_code), (Failure::Transient, Some(302)));
    assert!(error.error.contains("http://169.254.169.254/latest/meta-data/"), "{error}");
    assert!(error.error.contains("not followed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_costs_neither_memory_nor_time() {
    let receiver = Receiver::start().await;
    let provider = provider(Channel::Webhook, LOCAL);
    let to = |case: &str| awkward(&format!("http://127.0.0.1:{}/hooks/{case}", receiver.port));
    let began = Instant::now();
    let receipt = provider.send(&to("large")).await.unwrap();
    assert_eq!((receipt.status_code, receipt.response.len()), (Some(200), RESPONSE_BYTES));
    let error = refused(&*provider, &to("large_error")).await;
    assert_eq!(error.response.map(|response| response.len()), Some(RESPONSE_BYTES));
    // Who says yes and then says nothing has said yes.
    let receipt = provider.send(&to("slow")).await.unwrap();
    assert_eq!((receipt.status_code, receipt.response.as_str()), (Some(200), ""));
    assert!(began.elapsed() < Duration::from_secs(10));
    // What the two machines' buffers hold was on its way.
    let taken = receiver.megabytes.load(Ordering::Relaxed);
    assert!(taken < 60, "{taken} of 200 MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_inside_are_not_called() {
    let receiver = Receiver::start().await;
    let guarded = provider(Channel::Webhook, "webhook:");
    let port = receiver.port;
    for host in ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]", "0"] {
        let error = refused(&*guarded, &awkward(&format!("http://{host}:{port}/hooks/accepted"))).await;
        assert_eq!(error.failure, Failure::Permanent, "{host}: {error}");
        assert!(error.error.contains("MILLRACE_WEBHOOK=webhook:?allow="), "{host}: {error}");
    }
    // A name that passes the first look, and is this machine by the resolver.
    let name = format!("http://{}:{port}/hooks/accepted", this_machine());
    let error = refused(&*guarded, &awkward(&name)).await;
    assert!(matches!(error.failure, Failure::Permanent | Failure::Transient), "{error}");
    assert_eq!(receiver.asked().len(), 0);
    // What is allowed is called, by name too.
    let allowing = provider(Channel::Webhook, LOCAL);
    allowing.send(&awkward(&format!("http://localhost:{port}/hooks/accepted"))).await.unwrap();
    assert_eq!(receiver.asked().len(), 1);
    for to in ["ftp://127.0.0.1/", "http://user:pass@127.0.0.1/", "nowhere"] {
        assert_eq!(refused(&*allowing, &awkward(to)).await.failure, Failure::Permanent, "{to}");
    }
    let unknown = refused(&*allowing, &awkward("http://nobody.invalid/")).await;
    assert_eq!(unknown.failure, Failure::Transient, "{unknown}");
}

/// The machine's own name: of a private or a loopback address where it has one.
fn this_machine() -> String {
    String::from_utf8_lossy(&Command::new("uname").arg("-n").output().unwrap().stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_library_verifies_signatures() {
    let receiver = Receiver::start().await;
    let provider = provider(Channel::Webhook, LOCAL);
    // Two secrets, as while one takes the place of the other.
    let (new, old, other) = (generate_secret([1; 32]), generate_secret([2; 32]), generate_secret([3; 32]));
    let to = format!("http://127.0.0.1:{}/hooks/accepted", receiver.port);
    let message = Message { secrets: vec![new.clone(), old.clone()], ..awkward(&to) };
    provider.send(&message).await.unwrap();
    let asked = receiver.asked().remove(0);
    assert_eq!(asked.key, format!("msg_{}", message.key.simple()));
    assert_eq!(asked.headers["content-type"], "application/json");
    assert!(asked.headers["user-agent"].to_str().unwrap().starts_with("Millrace/"));
    let headers: serde_json::Map<String, serde_json::Value> = ["id", "timestamp", "signature"]
        .map(|name| format!("webhook-{name}"))
        .into_iter()
        .map(|name| (name.clone(), asked.headers[&name].to_str().unwrap().into()))
        .collect();
    let tampered = asked.text.replace("10.50", "99.50");
    let mut older = headers.clone();
    older["webhook-timestamp"] = "1614265330".into();
    let mut another = headers.clone();
    another["webhook-id"] = "msg_other".into();
    let cases = [
        (&new, &headers, &asked.text, true),
        (&old, &headers, &asked.text, true),
        (&other, &headers, &asked.text, false),
        (&new, &headers, &tampered, false),
        (&new, &older, &asked.text, false),
        (&new, &another, &asked.text, false),
    ];
    let lines: Vec<String> = cases
        .iter()
        .map(|(secret, headers, body, _)| {
            json!({ "secret": secret, "headers": headers, "body": body }).to_string()
        })
        .collect();
    let verdicts = verify(&lines.join("\n"));
    let verified: Vec<bool> = verdicts.iter().map(|verdict| verdict == "verified").collect();
    assert_eq!(verified, cases.map(|(.., expected)| expected), "{verdicts:?}");
}

fn verify(lines: &str) -> Vec<String> {
    let python = std::env::var("MILLRACE_TEST_PYTHON")
        .expect("MILLRACE_TEST_PYTHON is not set: run the tests by ./run test");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/verify_webhook.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}
