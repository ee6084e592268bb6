//! A message as an e-mail.

use super::{Message, addresses, texts};
use crate::clock::{Clock, SystemClock};
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
        .subject(texts::one_line(&message.title))
        .date(SystemClock.now().into())
        .message_id(Some(format!("<{}@{}>", message.key, from.email.domain())))
        // So that nobody's absence is answered to us (RFC 3834).
        .raw_header(no_replies);
    let body = message.body.clone();
    let built = match &message.html {
        None => builder.singlepart(SinglePart::plain(body)),
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(body, html.clone())),
    };
    let built = built.map_err(|error| format!("it makes no e-mail: {error}"))?;
    Ok(Email { envelope: built.envelope().clone(), content: built.formatted() })
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
}
