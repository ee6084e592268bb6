//! HTTP servers in the places of Kavenegar, Telegram and a webhook's receiver. What they answer the
//! address says.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use axum::{
    Form, Json, Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashSet},
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How a message is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// At once.
    Accepted,
    /// For good.
    Refused,
    /// Not now.
    Later,
    /// With a pause of 7 seconds.
    Throttled,
    /// The connection is closed when the message is there.
    Lost,
    /// The message is there, and nothing follows.
    Hangs,
    /// It is accepted when the test says so ([`Receiver::gate`]).
    Held,
}

impl Case {
    fn of(text: &str) -> Self {
        match text {
            "refused" | "+989120000001" | "101" => Self::Refused,
            "later" | "+989120000002" | "102" => Self::Later,
            "throttled" | "+989120000003" | "103" => Self::Throttled,
            "lost" | "+989120000004" | "104" => Self::Lost,
            "hangs" | "+989120000005" | "105" => Self::Hangs,
            "held" | "106" => Self::Held,
            _ => Self::Accepted,
        }
    }

    async fn without_answer(self) {
        match self {
            // Unwinds through the connection, without the noise of a panic.
            Self::Lost => std::panic::resume_unwind(Box::new(())),
            Self::Hangs => std::future::pending().await,
            _ => {}
        }
    }
}

/// What a server was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What the recipient sees.
    pub text: String,
    /// The idempotency key.
    pub key: String,
    /// Headers.
    pub headers: HeaderMap,
}

/// A server and what it was asked.
#[derive(Clone, Default)]
pub struct Receiver {
    /// Where it listens on 127.0.0.1.
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    known: Arc<Mutex<HashSet<String>>>,
    /// Lets one that is held be answered.
    pub gate: Arc<tokio::sync::Notify>,
    /// Megabytes that were taken of an endless answer.
    pub megabytes: Arc<AtomicUsize>,
}

impl Receiver {
    /// Starts one.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let receiver = Self { port: listener.local_addr().unwrap().port(), ..Self::default() };
        let app = Router::new()
            .route("/hooks/{case}", post(webhook))
            .route("/v1/{key}/sms/send.json", post(kavenegar))
            .route("/{bot}/sendMessage", post(telegram))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        receiver
    }

    /// All that it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How much that is.
    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    fn note(&self, text: &str, key: &str, headers: &HeaderMap) {
        let asked = Asked { text: text.to_owned(), key: key.to_owned(), headers: headers.clone() };
        self.asked.lock().unwrap().push(asked);
    }
}

async fn webhook(
    State(receiver): State<Receiver>,
    Path(case): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let key = headers.get("webhook-id").map(|id| id.to_str().unwrap()).unwrap_or_default();
    receiver.note(&body, key, &headers);
    let retry = |status, after: &str| (status, [(header::RETRY_AFTER, after.to_owned())]).into_response();
    match case.as_str() {
        "unavailable" => return retry(StatusCode::SERVICE_UNAVAILABLE, "Tue, 31 Dec 2999 23:59:59 GMT"),
        "busy" => return StatusCode::TOO_MANY_REQUESTS.into_response(),
        "unknown" => return (StatusCode::NOT_FOUND, "no such hook").into_response(),
        "moved" => {
            let inside = "http://169.254.169.254/latest/meta-data/";
            return (StatusCode::FOUND, [(header::LOCATION, inside)]).into_response();
        }
        "large" => return large(StatusCode::OK, receiver),
        "large_error" => return large(StatusCode::INTERNAL_SERVER_ERROR, receiver),
        "slow" => {
            let never = futures::stream::pending::<Result<Bytes, Infallible>>();
            return Body::from_stream(never).into_response();
        }
        _ => {}
    }
    let case = Case::of(&case);
    case.without_answer().await;
    match case {
        Case::Refused => StatusCode::GONE.into_response(),
        Case::Later => (StatusCode::INTERNAL_SERVER_ERROR, "out of order").into_response(),
        Case::Throttled => retry(StatusCode::TOO_MANY_REQUESTS, "7"),
        _ => StatusCode::NO_CONTENT.into_response(),
    }
}

/// 100 MB.
fn large(status: StatusCode, receiver: Receiver) -> Response {
    let chunks = (0..100).map(move |_| {
        receiver.megabytes.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(Bytes::from(vec![b'x'; 1 << 20]))
    });
    (status, Body::from_stream(futures::stream::iter(chunks))).into_response()
}

async fn kavenegar(
    State(receiver): State<Receiver>,
    Path(key): Path<String>,
    headers: HeaderMap,
    Form(form): Form<BTreeMap<String, String>>,
) -> Response {
    let reply = |status: u16, message: &str| {
        // A server may quote what it was sent.
        let body =
            json!({ "return": { "status": status, "message": format!("{message} ({key})") }, "entries": [] });
        (StatusCode::from_u16(status).unwrap(), Json(body)).into_response()
    };
    let (Some(to), Some(local_id)) = (form.get("receptor"), form.get("localid")) else {
        return reply(400, "parameters are missing");
    };
    if key != "SMS-KEY-1234" {
        return reply(403, "the key is not valid");
    }
    assert!(local_id.parse::<i64>().unwrap() > 0);
    assert_eq!(form["sender"], "10004346");
    let case = Case::of(to);
    // The second time it is the same message.
    if case != Case::Accepted || receiver.known.lock().unwrap().insert(local_id.clone()) {
        receiver.note(&form["message"], local_id, &headers);
    }
    case.without_answer().await;
    match case {
        Case::Refused => reply(411, "the receptor is not valid"),
        Case::Later => reply(418, "credit is low"),
        Case::Throttled => {
            let mut response = reply(429, "too many requests");
            response.headers_mut().insert(header::RETRY_AFTER, "7".parse().unwrap());
            response
        }
        _ => reply(200, "approved"),
    }
}

async fn telegram(
    State(receiver): State<Receiver>,
    Path(bot): Path<String>,
    headers: HeaderMap,
    Json(request): Json<Value>,
) -> Response {
    let refuse = |code: u16, description: &str, parameters: Value| {
        let description = format!("{description} ({bot})");
        let body =
            json!({ "ok": false, "error_code": code, "description": description, "parameters": parameters });
        (StatusCode::from_u16(code).unwrap(), Json(body)).into_response()
    };
    if bot != "bot123456:BOT-TOKEN_1" {
        return refuse(401, "Unauthorized", Value::Null);
    }
    let text = request["text"].as_str().unwrap();
    if text.encode_utf16().count() > 4096 {
        return refuse(400, "Bad Request: message is too long", Value::Null);
    }
    assert_eq!(request["disable_web_page_preview"], true);
    receiver.note(text, "", &headers);
    let case = Case::of(request["chat_id"].as_str().unwrap());
    if case == Case::Held {
        receiver.gate.notified().await;
    }
    case.without_answer().await;
    match case {
        Case::Refused => refuse(403, "Forbidden: bot was blocked by the user", Value::Null),
        Case::Later => refuse(502, "Bad Gateway", Value::Null),
        Case::Throttled => refuse(429, "Too Many Requests", json!({ "retry_after": 7 })),
        _ => Json(json!({ "ok": true, "result": { "message_id": 1, "text": text } })).into_response(),
    }
}
