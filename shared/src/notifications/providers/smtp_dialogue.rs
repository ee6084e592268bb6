//! What is said to an SMTP server, step by step, and what its refusals mean.

use super::{Failure, Receipt, SendError, email::Email, smtp::Server, texts};
use lettre::transport::smtp::{
    Error,
    authentication::DEFAULT_MECHANISMS,
    client::{AsyncSmtpConnection, TlsParameters},
    commands::{Data, Mail, Rcpt},
    extension::{Extension, MailParameter},
};
use std::{error::Error as _, fmt};

/// How a connection is protected.
pub(super) enum Security {
    /// Not at all.
    None,
    /// By TLS after STARTTLS, without which nothing is said.
    StartTls(TlsParameters),
    /// By TLS from the start.
    Implicit(TlsParameters),
}

/// How far a message came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Login,
    Sender,
    Recipient,
    Data,
    Content,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "the connection",
            Self::Login => "the login",
            Self::Sender => "the sender",
            Self::Recipient => "the recipient",
            Self::Data => "the message",
            Self::Content => "the message's content",
        })
    }
}

/// A connection that has been greeted and has logged in.
pub(super) struct Connection(AsyncSmtpConnection);

/// What failed, and where.
type Stopped = (Step, Error);

impl Connection {
    /// Connects, turns TLS on and logs in.
    pub(super) async fn open(server: &Server) -> Result<Self, Stopped> {
        let at = |step| move |error| (step, error);
        let place = (server.host.as_str(), server.port);
        let tls = match &server.security {
            Security::Implicit(tls) => Some(tls.clone()),
            Security::None | Security::StartTls(_) => None,
        };
        let connecting = AsyncSmtpConnection::connect_tokio1(place, None, &server.hello, tls, None);
        let mut connection = connecting.await.map_err(at(Step::Connect))?;
        if let Security::StartTls(tls) = &server.security {
            connection.starttls(tls.clone(), &server.hello).await.map_err(at(Step::Connect))?;
        }
        if let Some(login) = &server.login {
            connection.auth(DEFAULT_MECHANISMS, login).await.map_err(at(Step::Login))?;
        }
        Ok(Self(connection))
    }

    /// Names sender and recipient, up to where the server asks for the content.
    pub(super) async fn announce(&mut self, email: &Email) -> Result<(), Stopped> {
        let utf8 = email.envelope.to().iter().chain(email.envelope.from()).any(|address| {
            let text: &str = address.as_ref();
            !text.is_ascii()
        });
        // A server that does not offer it is asked nevertheless: its refusal says so better than we could.
        let utf8 = utf8 && self.0.server_info().supports_feature(Extension::SmtpUtfEight);
        let options = if utf8 { vec![MailParameter::SmtpUtfEight] } else { Vec::new() };
        let sender = Mail::new(email.envelope.from().cloned(), options);
        self.0.command(sender).await.map_err(|error| (Step::Sender, error))?;
        for recipient in email.envelope.to() {
            let recipient = Rcpt::new(recipient.clone(), Vec::new());
            self.0.command(recipient).await.map_err(|error| (Step::Recipient, error))?;
        }
        self.0.command(Data).await.map_err(|error| (Step::Data, error))?;
        Ok(())
    }

    /// Sends the content, and hears whether it was taken.
    pub(super) async fn hand_over(&mut self, email: &Email) -> Result<Receipt, Error> {
        let answer = self.0.message(&email.content).await?;
        let lines: Vec<&str> = answer.message().collect();
        let status_code = Some(u16::from(answer.code()));
        Ok(Receipt { status_code, response: texts::kept(lines.join("\n").as_bytes()) })
    }

    /// Whether the server, in failing, spoke about the message: 421 says that it hangs up.
    pub(super) fn is_alive_after(&self, error: &Error) -> bool {
        error.status().is_some_and(|code| u16::from(code) != 421)
    }
}

/// What it means that a message came no further.
pub(super) fn failed(server: &Server, step: Step, error: &Error) -> SendError {
    let status_code = error.status().map(u16::from);
    let Some(code) = status_code else {
        let failure = if step == Step::Content { Failure::Unknown } else { Failure::Transient };
        let error = format!("{step} failed at {}: {}", server.host, texts::causes(error));
        return SendError { failure, error: server.secrets.hide(&error), status_code, response: None };
    };
    let said = error.source().map(ToString::to_string).unwrap_or_default();
    let said = server.secrets.hide(&texts::kept(said.as_bytes()));
    let line = texts::cut(texts::one_line(&said), 300);
    let error = format!("{} refused {step} with {code}: {line}", server.host);
    SendError { failure: failure(step, code, &said), error, status_code, response: Some(said) }
}

/// Only what is said of recipient or message is for good; the rest is between us and the server, and
/// another server may do it.
fn failure(step: Step, code: u16, said: &str) -> Failure {
    let about_message = matches!(step, Step::Recipient | Step::Data | Step::Content);
    // Commands or a login that it misses; a server that passes on nothing of ours says so by 550 or 554.
    let about_us =
        matches!(code, 502 | 503 | 530 | 534 | 535 | 538) || said.to_ascii_lowercase().contains("relay");
    if about_message && code >= 500 && !about_us { Failure::Permanent } else { Failure::Transient }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_recipient_and_message_are_refused_for_good() {
        for (step, code, said, expected) in [
            (Step::Connect, 554, "no service", Failure::Transient),
            (Step::Login, 535, "bad credentials", Failure::Transient),
            (Step::Sender, 550, "not your address", Failure::Transient),
            (Step::Recipient, 550, "5.1.1 no such user", Failure::Permanent),
            (Step::Recipient, 554, "5.7.1 Relay access denied", Failure::Transient),
            (Step::Recipient, 530, "authentication required", Failure::Transient),
            (Step::Recipient, 450, "greylisted", Failure::Transient),
            (Step::Data, 554, "no valid recipients", Failure::Permanent),
            (Step::Content, 552, "too big", Failure::Permanent),
            (Step::Content, 452, "disk full", Failure::Transient),
            (Step::Content, 421, "shutting down", Failure::Transient),
        ] {
            assert_eq!(failure(step, code, said), expected, "{step:?} {code}");
        }
    }
}
