//! What every provider must do, each against its counterpart.

use super::{TITLE, awkward, dead_port, lost, provider, refused, silent};
use serde_json::Value;
use shared::notifications::{
    model::Channel,
    providers::{Failure, Message},
};
use std::time::{Duration, Instant};
use tests::{
    processes::Smtp,
    receivers::{Case, Receiver},
};

/// A counterpart, and how its provider is set up and its recipients are called.
struct Counterpart {
    channel: Channel,
    /// The provider's URL for the counterpart at a port.
    url: Box<dyn Fn(u16) -> String>,
    port: u16,
    /// Who has each case, with a counterpart at a port.
    to: Box<dyn Fn(Case, u16) -> String>,
    /// What a refusal for good is.
    refusal: Failure,
    /// Whether it can ask for a pause.
    throttles: bool,
    /// The text that arrives of a message.
    arrives: fn(&Message) -> String,
    /// Text and key of what has arrived.
    arrived: Box<dyn Fn() -> Vec<(String, String)>>,
    secret: &'static str,
}

async fn conforms(counterpart: Counterpart) {
    let Counterpart { channel, port, refusal, secret, .. } = counterpart;
    let url = (counterpart.url)(port);
    let to = |case: Case| (counterpart.to)(case, port);
    let provider_in = |url: &str, ms: u32| {
        let sign = if url.contains('?') { '&' } else { '?' };
        provider(channel, &format!("{url}{sign}timeout_ms={ms}"))
    };
    let patient = provider_in(&url, 60_000);

    // What is accepted arrives as it was sent, under the same key each time.
    let message = awkward(&to(Case::Accepted));
    for _ in 0..2 {
        let receipt = patient.send(&message).await.unwrap_or_else(|error| panic!("{error:?}"));
        assert!(!receipt.response.contains(secret), "{receipt:?}");
    }
    let other = awkward(&to(Case::Accepted));
    patient.send(&other).await.unwrap();
    let arrived = (counterpart.arrived)();
    let expected = (counterpart.arrives)(&message);
    assert!(arrived.iter().all(|(text, _)| *text == expected), "{arrived:?}\n{expected:?}");
    let keys: Vec<&str> = arrived.iter().map(|(_, key)| key.as_str()).collect();
    match keys.as_slice() {
        // Telegram knows none.
        ["", "", ""] => assert!(!patient.repeats_safely()),
        [first, again, other] => assert!(first == again && first != other, "{keys:?}"),
        // Kavenegar made one message of two.
        [first, other] => assert!(patient.repeats_safely() && first != other, "{keys:?}"),
        _ => panic!("{keys:?}"),
    }

    // What is not accepted is told apart, and gives nothing away.
    let pause = Failure::Throttled(Some(Duration::from_secs(7)));
    let mut cases =
        vec![(Case::Refused, refusal), (Case::Later, Failure::Transient), (Case::Lost, lost(channel))];
    if counterpart.throttles {
        cases.push((Case::Throttled, pause));
    }
    for (case, failure) in cases {
        let error = refused(&*patient, &awkward(&to(case))).await;
        assert_eq!(error.failure, failure, "{case:?}: {error:?}");
        assert_eq!(error.status_code.is_some(), case != Case::Lost, "{error:?}");
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
    }

    // Silence ends in time: after the message, before it, and where nobody is.
    let ((_listener, silent), dead) = (silent(), dead_port());
    let before = if channel == Channel::Email { Failure::Transient } else { lost(channel) };
    for (what, port, failure) in
        [("hangs", port, lost(channel)), ("silent", silent, before), ("dead", dead, Failure::Transient)]
    {
        let began = Instant::now();
        let impatient = provider_in(&(counterpart.url)(port), 3000);
        let error = refused(&*impatient, &awkward(&(counterpart.to)(Case::Hangs, port))).await;
        assert_eq!(error.failure, failure, "{what}: {error:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: {error:?}");
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
    }
    patient.send(&awkward(&to(Case::Accepted))).await.unwrap();
}

/// What stands for each case, in their order.
type Names = [&'static str; 6];

async fn smtp(mode: &'static str) {
    const NAMES: Names = ["accepted", "refused", "later", "", "drop", "hang"];
    let server = Smtp::start(mode).await;
    let (port, url) = (server.port(), server.url());
    conforms(Counterpart {
        channel: Channel::Email,
        url: Box::new(move |other| url.replace(&format!(":{port}?"), &format!(":{other}?"))),
        port,
        to: Box::new(|case, _| format!("{}@example.org", NAMES[case as usize])),
        refusal: Failure::Permanent,
        throttles: false,
        arrives: whole,
        arrived: Box::new(move || {
            let text = |value: &Value| value.as_str().unwrap().trim_end_matches('\n').to_owned();
            let of = |mail: &Value| format!("{}\n{}", text(&mail["subject"]), text(&mail["text"]));
            server.messages().iter().map(|mail| (of(mail), text(&mail["id"]))).collect()
        }),
        secret: Smtp::PASSWORD,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smtp_in_the_clear_conforms() {
    smtp("plain").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smtp_with_starttls_and_a_login_conforms() {
    smtp("starttls").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn smtp_with_tls_and_a_login_conforms() {
    smtp("tls").await;
}

/// A counterpart that speaks HTTP. In `url` and `recipient` PORT is its port; CASE is what stands for a case.
async fn http(
    channel: Channel,
    url: &'static str,
    recipient: &'static str,
    names: Names,
    secret: &'static str,
) {
    let receiver = Receiver::start().await;
    let at = |text: &str, port: u16| text.replace("PORT", &port.to_string());
    conforms(Counterpart {
        channel,
        url: Box::new(move |port| at(url, port)),
        port: receiver.port,
        to: Box::new(move |case, port| at(recipient, port).replace("CASE", names[case as usize])),
        refusal: if channel == Channel::Webhook { Failure::Gone } else { Failure::Permanent },
        throttles: true,
        arrives: match channel {
            Channel::Webhook => |message| message.payload.to_string(),
            Channel::Telegram => |message| cut(message, 4096),
            Channel::Sms => |message| cut(message, 900),
            Channel::Email => unreachable!("it is not sent by HTTP"),
        },
        arrived: Box::new(move || {
            receiver.asked().into_iter().map(|asked| (asked.text, asked.key)).collect()
        }),
        secret,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kavenegar_conforms() {
    let url = "kavenegar+http://SMS-KEY-1234@127.0.0.1:PORT?sender=10004346";
    let names = ["0", "1", "2", "3", "4", "5"];
    http(Channel::Sms, url, "+98912000000CASE", names, "SMS-KEY-1234").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn telegram_conforms() {
    let url = "telegram+http://123456:BOT-TOKEN_1@127.0.0.1:PORT";
    http(Channel::Telegram, url, "10CASE", ["0", "1", "2", "3", "4", "5"], "BOT-TOKEN_1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_conform() {
    let names = ["accepted", "refused", "later", "throttled", "lost", "hangs"];
    let to = "http://127.0.0.1:PORT/hooks/CASE";
    http(Channel::Webhook, "webhook:?allow=127.0.0.1", to, names, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").await;
}

/// Nothing can fail in it, and it keeps nothing.
#[tokio::test]
async fn the_sandbox_accepts_everything() {
    for &channel in Channel::ALL {
        let receipt = provider(channel, "sandbox:").send(&awkward("anyone")).await.unwrap();
        assert_eq!(receipt.response, "kept in the sandbox; nothing was sent");
    }
}

fn whole(message: &Message) -> String {
    format!("{TITLE}\n{}", message.body)
}

/// Where the channel would refuse it, the rocket counting twice.
fn cut(message: &Message, most: usize) -> String {
    let units: Vec<u16> = whole(message).encode_utf16().take(most - 1).collect();
    format!("{}…", String::from_utf16(&units).unwrap())
}
