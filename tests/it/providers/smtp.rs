//! E-mail: what the server sees, and its connections.

use super::{TITLE, awkward, provider, refused};
use shared::notifications::{
    model::Channel,
    providers::{Failure, Message, Provider},
};
use std::sync::Arc;
use tests::processes::Smtp;

async fn start(mode: &'static str) -> (Smtp, Arc<dyn Provider>) {
    let server = Smtp::start(mode).await;
    let provider = provider(Channel::Email, &server.url());
    (server, provider)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_e_mail_says_who_writes_and_shows_html_to_who_wants_it() {
    let (server, provider) = start("starttls").await;
    let html = "<p>سلام <b>🚀</b></p>\n<p>&amp; =20</p>".to_owned();
    let message = Message { html: Some(html.clone()), ..awkward("ann+x@example.org") };
    provider.send(&message).await.unwrap();
    let mail = &server.messages()[0];
    assert_eq!(mail["from"], "noreply+x@example.com");
    assert_eq!(mail["sender"], "Millrace ⚙ <noreply+x@example.com>");
    assert_eq!(mail["to"], serde_json::json!(["ann+x@example.org"]));
    assert_eq!(mail["subject"], TITLE);
    assert_eq!(mail["id"], format!("<{}@example.com>", message.key));
    assert_eq!(mail["text"].as_str().unwrap().trim_end(), message.body);
    assert_eq!(mail["html"].as_str().unwrap().trim_end(), html);
    assert_eq!((&mail["encrypted"], &mail["login"]), (&true.into(), &"mill@example.com".into()));
    let headers: Vec<&str> =
        mail["headers"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(headers.contains(&"Date") && !headers.contains(&"Bcc"), "{headers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_that_is_not_ascii_is_written_to() {
    let (server, provider) = start("plain").await;
    provider.send(&awkward("علی@пример.рф")).await.unwrap();
    assert_eq!(server.messages()[0]["to"], serde_json::json!(["علی@xn--e1afmkfd.xn--p1ai"]));
    let error = refused(&*provider, &awkward("ann@example.org\r\nRCPT TO:<bob@example.org>")).await;
    assert_eq!(error.failure, Failure::Permanent);
    assert_eq!(server.messages().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_used_again_until_the_server_closes_it() {
    let (server, provider) = start("starttls").await;
    for _ in 0..3 {
        provider.send(&awkward("ann@example.org")).await.unwrap();
    }
    let connections = || -> Vec<i64> {
        server.messages().iter().map(|mail| mail["connection"].as_i64().unwrap()).collect()
    };
    let first = connections();
    assert!(first.iter().all(|connection| *connection == first[0]), "{first:?}");
    // The server hangs up after it. That shows with the next message, and is no failure.
    provider.send(&awkward("last@example.org")).await.unwrap();
    provider.send(&awkward("ann@example.org")).await.unwrap();
    assert!(connections().last() != first.last());
    let ids: std::collections::HashSet<String> =
        server.messages().iter().map(|mail| mail["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids.len(), server.messages().len(), "none arrived twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_all_arrive_once() {
    let (server, provider) = start("tls").await;
    let messages: Vec<Message> = (0..40).map(|number| awkward(&format!("ann{number}@example.org"))).collect();
    let sent = futures::future::join_all(messages.iter().map(|message| provider.send(message))).await;
    assert!(sent.iter().all(Result::is_ok), "{sent:?}");
    let arrived = server.messages();
    let mut to: Vec<&str> = arrived.iter().map(|mail| mail["to"][0].as_str().unwrap()).collect();
    to.sort_unstable();
    to.dedup();
    assert_eq!((to.len(), arrived.len()), (40, 40));
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_say_whose_fault_they_are() {
    let (server, provider) = start("plain").await;
    for (to, code, failure) in [
        ("refused@example.org", 550, Failure::Permanent),
        ("foreign@example.org", 554, Failure::Transient),
        ("spam@example.org", 554, Failure::Permanent),
        ("full@example.org", 452, Failure::Transient),
    ] {
        let error = refused(&*provider, &awkward(to)).await;
        assert_eq!((error.failure, error.status_code), (failure, Some(code)), "{to}: {error:?}");
        assert!(error.response.is_some_and(|response| !response.is_empty()), "{to}");
    }
    assert_eq!(server.messages().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_to_a_server_that_is_not_trusted() {
    for mode in ["starttls", "tls"] {
        let server = Smtp::start(mode).await;
        // Nobody known vouches for its certificate.
        let login = "mill%40example.com:p%40ss%3Aw%2Frd%3F%23%25@";
        let stranger = provider(Channel::Email, &server.url_as(login));
        let error = refused(&*stranger, &awkward("ann@example.org")).await;
        assert_eq!(error.failure, Failure::Transient);
        assert!(error.error.contains("certificate"), "{error:?}");
        // It knows this user by another password.
        let url = server.url().replace("p%40ss", "wrong");
        let error = refused(&*provider(Channel::Email, &url), &awkward("ann@example.org")).await;
        assert_eq!((error.failure, error.status_code), (Failure::Transient, Some(535)), "{error:?}");
        assert!(error.error.contains("login") && !format!("{error:?}").contains("wrong"), "{error:?}");
        assert_eq!(server.messages().len(), 0);
    }
    // One that offers no TLS is not spoken to without it.
    let server = Smtp::start("plain").await;
    let error = refused(&*provider(Channel::Email, &server.url_as("")), &awkward("ann@example.org")).await;
    assert_eq!(error.failure, Failure::Transient);
    assert!(error.error.contains("STARTTLS"), "{error:?}");
    assert_eq!(server.messages().len(), 0);
}
