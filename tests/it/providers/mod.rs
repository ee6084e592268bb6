//! Providers against what they talk to: a real SMTP server, real HTTP servers, and none at all.

mod conformance;
mod smtp;
mod webhooks;

use shared::notifications::{
    model::Channel,
    providers::{Failure, Message, Provider, SendError, open},
};
use std::sync::Arc;

/// A message with all that breaks protocols.
fn awkward(to: &str) -> Message {
    let lines = "\"Quotes\", 'both' & <tags>\n.\n..\nسلام، گزارش آماده است ۱۲۳\n🚀 {\"json\": \\n}\n=20 =\n";
    let long = "A line that is longer than any line of a mail may be, ".repeat(200);
    let body = format!("{lines}{long}\nEnd");
    Message {
        key: uuid::Uuid::now_v7(),
        to: to.to_owned(),
        title: "Report\r\nBcc: victim@example.com\n🚀 گزارش «نهایی»".to_owned(),
        payload: serde_json::json!({ "type": "report.done", "data": { "text": body, "amount": "10.50" } }),
        body,
        html: None,
        secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()],
    }
}

/// The title of [`awkward`] on its one line.
const TITLE: &str = "Report Bcc: victim@example.com 🚀 گزارش «نهایی»";

fn provider(channel: Channel, url: &str) -> Arc<dyn Provider> {
    open(channel, url).unwrap_or_else(|fault| panic!("{url}: {fault}"))
}

/// Sends what must not be accepted.
async fn refused(provider: &dyn Provider, message: &Message) -> SendError {
    provider.send(message).await.expect_err("it is not accepted")
}

/// The port of a server that is not there.
fn dead_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A server that takes connections and says nothing.
fn silent() -> (std::net::TcpListener, u16) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// What follows if the answer is lost.
fn lost(channel: Channel) -> Failure {
    // An endpoint is asked again whatever it said, and by nobody else.
    if channel == Channel::Webhook { Failure::Transient } else { Failure::Unknown }
}
