//! A message as an e-mail.

use super::{Message, addresses, texts};
use crate::clock::{Clock, SystemClock};
use base64::Engine;
use lettre::{
    address::Envelope,
    message::{
        Mailbox, MultiPart, SinglePart,
        header::{HeaderName, HeaderValue},
    },
};

/// An e-mail as it goes over the wire.
pub(super) struct Email {
    pub(super) envelope: Envelope,
    pub(super) content: Vec<u8>,
}

/// Makes one, or says what is wrong with the message. Its id is the same for each attempt, by which some
/// mailboxes know a repetition.
pub(super) fn compose(from: &Mailbox, message: &Message) -> Result<Email, String> {
    let to = addresses::mailbox(&message.to)?;
    let no_replies =
        HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let builder = lettre::Message::builder()
        .from(from.clone())
        .to(Mailbox::new(None, to))
        .date(SystemClock.now().into())
        .message_id(Some(format!("<{}@{}>", message.key, from.email.domain())))
        // So that nobody's absence is answered to us (RFC 3834).
        .raw_header(no_replies);
    let title = texts::one_line(&message.title);
    // What looks like an encoded word would be decoded where it is read, to something that is on no record.
    let builder = match title.contains("=?") {
        false => builder.subject(title),
        true => {
            let subject = HeaderName::new_from_ascii_str("Subject");
            let encoded = encoded_words(&title);
            builder.raw_header(HeaderValue::dangerous_new_pre_encoded(subject, title, encoded))
        }
    };
    let body = message.body.clone();
    let built = match &message.html {
        None => builder.singlepart(SinglePart::plain(body)),
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(body, html.clone())),
    };
    let built = built.map_err(|error| format!("it makes no e-mail: {error}"))?;
    Ok(Email { envelope: built.envelope().clone(), content: built.formatted() })
}

/// A text as encoded words (RFC 2047), each at most 75 characters, on lines of their own.
fn encoded_words(text: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        // 45 bytes become 60 letters.
        let (word, after) = rest.split_at(rest.floor_char_boundary(45));
        words.push(format!("=?utf-8?b?{}?=", base64::engine::general_purpose::STANDARD.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_message_becomes_a_header() {
        let message = Message {
            key: uuid::Uuid::nil(),
            to: "ann@example.org".to_owned(),
            title: "Done\r\nBcc: victim@example.com\r\n\r\nHello".to_owned(),
            body: ".\r\n.\nline".to_owned(),
            html: None,
            payload: serde_json::Value::Null,
            secrets: Vec::new(),
        };
        let from = Mailbox::new(Some("Millrace".to_owned()), "a@example.com".parse().unwrap());
        let email = compose(&from, &message).unwrap();
        let text = String::from_utf8(email.content).unwrap();
        let headers = text.split("\r\n\r\n").next().unwrap();
        assert!(!headers.lines().any(|line| line.starts_with("Bcc")), "{headers}");
        assert!(
            headers.contains("Message-ID: <00000000-0000-0000-0000-000000000000@example.com>"),
            "{headers}"
        );
        assert_eq!(email.envelope.to().len(), 1);
    }

    #[test]
    fn what_looks_encoded_arrives_as_it_is_written() {
        let title = format!("=?utf-8?q?pay=E2=80=AEfdp.exe?= {}é", "x".repeat(100));
        let message = Message {
            key: uuid::Uuid::nil(),
            to: "ann@example.org".to_owned(),
            title: title.clone(),
            body: "b".to_owned(),
            html: None,
            payload: serde_json::Value::Null,
            secrets: Vec::new(),
        };
        let from = Mailbox::new(None, "a@example.com".parse().unwrap());
        let text = String::from_utf8(compose(&from, &message).unwrap().content).unwrap();
        let subject = text.split("Subject: ").nth(1).unwrap().split("\r\nDate").next().unwrap();
        let words = subject.split("\r\n ").flat_map(|line| line.split("\r\n").take(1));
        let read: String = words
            .map(|word| {
                assert!(word.len() <= 75, "{word}");
                let word = word.strip_prefix("=?utf-8?b?").unwrap().strip_suffix("?=").unwrap();
                String::from_utf8(base64::engine::general_purpose::STANDARD.decode(word).unwrap()).unwrap()
            })
            .collect();
        assert_eq!(read, title);
    }
}
