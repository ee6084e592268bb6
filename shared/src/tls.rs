//! TLS to PostgreSQL and Redis. PostgreSQL is spoken to by TLS if its URL says `sslmode=require`, `verify-ca` or
//! `verify-full`, Redis if its URL begins with `rediss://`. The certificate must be of the host's name, and of an
//! authority that the system trusts (`SSL_CERT_FILE` names others) or that `MILLRACE_CA` adds.

use crate::{config::ConfigError, storage::prepare_tls};
use base64::Engine;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{fmt::Write, str::FromStr};
use tokio_postgres::{Client, Config, Connection, Socket, config::SslMode, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// The connection that moves the bytes of a client of PostgreSQL.
pub type PostgresConnection = Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>;

const CA: &str = "MILLRACE_CA";

/// `MILLRACE_CA` (none): certificates of authorities that PostgreSQL and Redis may have theirs from, besides those that
/// the system trusts: PEM, or the path of a file of it. A managed database often has an authority of its own; one that
/// is trusted without need can pretend to be the database.
fn added() -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let Some(text) = crate::config::text(CA) else { return Ok(Vec::new()) };
    // Certificates are no secret, and long.
    let refused = |reason: String| ConfigError { name: CA, value: text.chars().take(60).collect(), reason };
    let pem = if text.starts_with("-----BEGIN") {
        text.clone().into_bytes()
    } else {
        std::fs::read(&text).map_err(|error| refused(format!("the file cannot be read: {error}")))?
    };
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| refused(format!("it is no PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(refused("it holds no certificate; write PEM, or the path of a file of it".to_owned()));
    }
    Ok(certificates)
}

/// Refuses a `MILLRACE_CA` that cannot be used.
pub fn check() -> Result<(), ConfigError> {
    added().map(drop)
}

/// Those that the system trusts, and those that were added.
fn authorities() -> Vec<CertificateDer<'static>> {
    let mut certificates = rustls_native_certs::load_native_certs().certs;
    // What cannot be used was refused when the configuration was read.
    certificates.extend(added().unwrap_or_default());
    certificates
}

fn client_config() -> ClientConfig {
    prepare_tls();
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(authorities());
    ClientConfig::builder().with_root_certificates(store).with_no_client_auth()
}

/// A connection to PostgreSQL.
pub async fn connect_postgres(url: &str) -> Result<(Client, PostgresConnection), tokio_postgres::Error> {
    // libpq has two more words for what is always done here.
    let url = ["sslmode=verify-full", "sslmode=verify-ca"]
        .iter()
        .fold(url.to_owned(), |url, word| url.replace(word, "sslmode=require"));
    let mut config = Config::from_str(&url)?;
    let tls = if config.get_ssl_mode() == SslMode::Require {
        client_config()
    } else {
        // Nobody asked for it: a server's certificate of its own making must not be in the way.
        config.ssl_mode(SslMode::Disable);
        prepare_tls();
        ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    };
    config.connect(MakeRustlsConnect::new(tls)).await
}

/// A client of Redis; it is not connected yet.
pub fn redis_client(url: &str) -> Result<redis::Client, redis::RedisError> {
    if !url.starts_with("rediss:") || crate::config::text(CA).is_none() {
        prepare_tls();
        return redis::Client::open(url);
    }
    prepare_tls();
    let pem = authorities().iter().fold(String::new(), |mut pem, certificate| {
        let body = base64::engine::general_purpose::STANDARD.encode(certificate);
        // Writing to a text cannot fail.
        let _ = write!(pem, "-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        pem
    });
    let trusted = redis::TlsCertificates { client_tls: None, root_cert: Some(pem.into_bytes()) };
    redis::Client::build_with_tls(url, trusted)
}
