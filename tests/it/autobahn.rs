//! The Autobahn test suite against our sockets: their limits, their reading and their ends, behind a handler that
//! sends back what it hears, as the suite wants it. Everywhere else `frames` tries what breaks the protocol.

use api::realtime::websocket::{end, limited, read};
use axum::{
    Router,
    extract::{WebSocketUpgrade, ws::Message},
    response::Response,
    routing::get,
};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};

async fn echo(upgrade: WebSocketUpgrade) -> Response {
    limited(upgrade).on_upgrade(async |socket| {
        let (mut sink, mut stream) = socket.split();
        let closed = loop {
            let heard = match stream.next().await {
                // The feed takes no such messages; the suite sends them.
                Some(Ok(Message::Binary(bytes))) => Message::Binary(bytes),
                message => match read(message) {
                    Ok(Some(text)) => Message::Text(text),
                    Ok(None) => continue,
                    Err(closed) => break closed,
                },
            };
            if sink.send(heard).await.is_err() {
                return;
            }
        };
        end(&mut sink, closed).await;
    })
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the suite runs on Python 2 alone: where that is, install autobahntestsuite==0.8.2 and name its wstest in MILLRACE_WSTEST"]
async fn sockets_behave_as_the_autobahn_suite_wants_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let server =
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/", get(echo))).await });
    let directory = tempfile::tempdir().unwrap();
    let spec = json!({
        "servers": [{ "agent": "millrace", "url": url }],
        "outdir": directory.path(),
        "cases": ["*"],
        // Messages beyond our limit; compression, which we do not offer.
        "exclude-cases": ["9.*", "12.*", "13.*"],
    });
    let path = directory.path().join("spec.json");
    std::fs::write(&path, spec.to_string()).unwrap();
    let suite = std::env::var("MILLRACE_WSTEST").expect("MILLRACE_WSTEST names the suite's program");
    let mut command = tokio::process::Command::new(suite);
    command.args(["-m", "fuzzingclient", "-s"]).arg(&path).current_dir(directory.path());
    let output = command.output().await.unwrap();
    let index = std::fs::read_to_string(directory.path().join("index.json")).unwrap_or_else(|error| {
        panic!(
            "{error}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    });
    let index: Value = serde_json::from_str(&index).unwrap();
    let cases = index["millrace"].as_object().unwrap();
    assert!(cases.len() > 200, "{} cases only", cases.len());
    let well = ["OK", "NON-STRICT", "INFORMATIONAL"];
    for (case, result) in cases {
        for part in ["behavior", "behaviorClose"] {
            assert!(well.contains(&result[part].as_str().unwrap()), "case {case}: {result}");
        }
    }
    server.abort();
}
