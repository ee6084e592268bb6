//! E-mail by SMTP, one command at a time, so that it is known how far a message came: until its content is
//! under way it surely was not accepted; once it is, a lost answer leaves that open.
//!
//! URL: `smtps://user:password@host:465?from=Millrace%20<noreply@example.com>` (TLS from the start),
//! `smtp://user:password@host:587?from=…` (STARTTLS, without which nothing is sent);
//! `tls=none`: in the clear (port 25), with a login only to this machine;
//! `ca=/path.pem`: certificates to trust besides the system's; `timeout_ms`.

use super::{
    Failure, Kind, Message, Provider, Receipt, SendError, addresses,
    email::{Email, compose},
    smtp_dialogue::{Connection, Security, Step, failed},
    texts, urls,
};
use crate::notifications::model::Channel;
use futures::future::BoxFuture;
use lettre::{
    message::Mailbox,
    transport::smtp::{
        authentication::Credentials,
        client::{Certificate, TlsParameters},
        extension::ClientId,
    },
};
use std::{
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};
use url::Url;

/// How long a message may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Within it a connection is used again; servers wait minutes, what lies between may not.
const IDLE: Duration = Duration::from_secs(20);
/// Idle connections that are kept.
const MOST_IDLE: usize = 8;

pub(super) const fn kind(scheme: &'static str) -> Kind {
    Kind { scheme, channels: &[Channel::Email], parameters: &["from", "tls", "ca", "timeout_ms"], open }
}

/// Where e-mail is handed in, and as whom.
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) login: Option<Credentials>,
    pub(super) hello: ClientId,
    pub(super) secrets: urls::Secrets,
}

struct Smtp {
    server: Server,
    from: Mailbox,
    time_limit: Duration,
    /// The one used last at the end.
    idle: Mutex<Vec<(Instant, Connection)>>,
}

fn open(_: Channel, url: &Url) -> Result<Arc<dyn Provider>, String> {
    let host = urls::host(url)?.trim_matches(['[', ']']).to_owned();
    if !matches!(url.path(), "" | "/") {
        return Err("it has a path, which means nothing".to_owned());
    }
    let (security, usual_port) = security(url, &host)?;
    let from = from(url)?;
    let user = urls::decoded(url.username());
    let password = url.password().map(urls::decoded);
    let login = match (user.is_empty(), password.clone()) {
        (true, _) => None,
        (false, None) => return Err("it has a user and no password".to_owned()),
        (false, Some(password)) => Some(Credentials::new(user, password)),
    };
    if login.is_some() && matches!(security, Security::None) && !is_this_machine(&host) {
        return Err(
            "with tls=none a password would be sent in the clear; only this machine may be told one so"
                .to_owned(),
        );
    }
    let server = Server {
        host,
        port: url.port().unwrap_or(usual_port),
        security,
        login,
        hello: ClientId::Domain(from.email.domain().to_owned()),
        secrets: urls::Secrets::new(password),
    };
    let time_limit = urls::time_limit(url, TIME_LIMIT)?;
    Ok(Arc::new(Smtp { server, from, time_limit, idle: Mutex::default() }))
}

fn from(url: &Url) -> Result<Mailbox, String> {
    let text = urls::parameter(url, "from").ok_or("it has no from=, the sender's address")?;
    let mailbox: Mailbox = text
        .parse()
        .map_err(|_| format!("from={text} is no mailbox; write it like Millrace%20<noreply@example.com>"))?;
    // A header cannot be written with a line break in it.
    let name = mailbox.name.map(|name| texts::one_line(&name));
    Ok(Mailbox::new(name, addresses::mailbox(mailbox.email.as_ref())?))
}

/// How a connection is protected, and the port that is usual for it.
fn security(url: &Url, host: &str) -> Result<(Security, u16), String> {
    let tls = urls::parameter(url, "tls");
    match (url.scheme(), tls.as_deref()) {
        ("smtps", None) => Ok((Security::Implicit(tls_to(url, host)?), 465)),
        ("smtps", Some(_)) => Err("tls= is for smtp://; smtps:// is TLS from the start".to_owned()),
        (_, None | Some("starttls")) => Ok((Security::StartTls(tls_to(url, host)?), 587)),
        (_, Some("none")) if urls::parameter(url, "ca").is_some() => {
            Err("ca= means nothing with tls=none".to_owned())
        }
        (_, Some("none")) => Ok((Security::None, 25)),
        (_, Some(other)) => Err(format!("tls={other} is none of starttls, none")),
    }
}

fn tls_to(url: &Url, host: &str) -> Result<TlsParameters, String> {
    crate::storage::prepare_tls();
    let mut tls = TlsParameters::builder(host.to_owned());
    if let Some(path) = urls::parameter(url, "ca") {
        let pem = std::fs::read(&path).map_err(|error| format!("ca={path} cannot be read: {error}"))?;
        let certificate = Certificate::from_pem(&pem).map_err(|error| format!("ca={path}: {error}"))?;
        tls = tls.add_root_certificate(certificate);
    }
    tls.build_rustls().map_err(|error| error.to_string())
}

/// Whether what is sent there leaves the machine.
fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Provider for Smtp {
    fn repeats_safely(&self) -> bool {
        false
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(async {
            let email = compose(&self.from, message).map_err(|error| SendError {
                failure: Failure::Permanent,
                error,
                status_code: None,
                response: None,
            })?;
            let began = Instant::now();
            let connection = self.announced(&email).await?;
            self.hand_over(connection, &email, began + self.time_limit).await
        })
    }
}

impl Smtp {
    /// A connection whose server waits for the content.
    async fn announced(&self, email: &Email) -> Result<Connection, SendError> {
        if let Some(mut connection) = self.reused() {
            // One that the server has given up meanwhile is replaced. Nothing was sent, so that is no
            // failure; nor is silence, which is what remains of a connection that a router has forgotten.
            match timeout(self.time_limit / 4, connection.announce(email)).await {
                Ok(Ok(())) => return Ok(connection),
                Ok(Err((step, error))) if connection.is_alive_after(&error) => {
                    return Err(failed(&self.server, step, &error));
                }
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let connecting = async {
            let mut connection = Connection::open(&self.server).await?;
            connection.announce(email).await?;
            Ok(connection)
        };
        // The rest of the time is for the content: it is there where time must not run out.
        match timeout(self.time_limit / 2, connecting).await {
            Ok(connected) => connected.map_err(|(step, error)| failed(&self.server, step, &error)),
            Err(_) => Err(SendError {
                failure: Failure::Transient,
                error: format!("{} did not answer within {:?}", self.server.host, self.time_limit / 2),
                status_code: None,
                response: None,
            }),
        }
    }

    async fn hand_over(
        &self,
        mut connection: Connection,
        email: &Email,
        deadline: Instant,
    ) -> Result<Receipt, SendError> {
        match tokio::time::timeout_at(deadline, connection.hand_over(email)).await {
            Ok(Ok(receipt)) => {
                self.keep(connection);
                Ok(Receipt { response: self.server.secrets.hide(&receipt.response), ..receipt })
            }
            Ok(Err(error)) => Err(failed(&self.server, Step::Content, &error)),
            Err(_) => Err(SendError {
                failure: Failure::Unknown,
                error: format!("{} did not say in time whether it took the message", self.server.host),
                status_code: None,
                response: None,
            }),
        }
    }

    fn reused(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(since, _)| since.elapsed() < IDLE);
        idle.pop().map(|(_, connection)| connection)
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MOST_IDLE {
            idle.push((Instant::now(), connection));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use crate::notifications::model::Channel;

    #[test]
    fn urls_are_checked() {
        let fault = |url: &str| open(Channel::Email, url).err().unwrap_or_default();
        for url in [
            "smtps://user%40example.com:pass@mail.example.com?from=Millrace%20<a+b@example.com>",
            "smtp://mail.example.com:2525?from=a@example.com&tls=starttls",
            "smtp://mail.example.com?from=a@example.com&tls=none&timeout_ms=500&name=x&rate=5",
            "smtp://user:pass@127.0.0.1?from=a@example.com&tls=none",
            "smtp://user:pass@[::1]?from=a@example.com&tls=none",
        ] {
            assert_eq!(fault(url), "", "{url}");
        }
        for (url, part) in [
            ("smtp://user:pass@mail.example.com?from=a@example.com&tls=none", "in the clear"),
            ("smtp://user:pass@10.0.0.1?from=a@example.com&tls=none", "in the clear"),
            ("smtp://mail.example.com", "from="),
            ("smtp://mail.example.com?from=nobody", "from=nobody"),
            ("smtp://mail.example.com?from=a@example.com&tls=maybe", "tls=maybe"),
            ("smtp://mail.example.com?from=a@example.com&tsl=none", "\"tsl\""),
            ("smtps://mail.example.com?from=a@example.com&tls=none", "smtps://"),
            ("smtp://mail.example.com?from=a@example.com&ca=/nowhere.pem", "ca=/nowhere.pem"),
            ("smtp://user@mail.example.com?from=a@example.com", "no password"),
            ("smtp://mail.example.com?from=a@example.com&timeout_ms=0", "timeout_ms"),
            ("smtp:?from=a@example.com", "host"),
        ] {
            let fault = fault(url);
            assert!(fault.contains(part), "{url}: {fault}");
            assert!(!fault.contains("pass@"), "{fault}");
        }
    }
}
