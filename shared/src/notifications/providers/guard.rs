//! Keeps webhooks out of our own network: whoever may register an endpoint could otherwise have this
//! server ask what only it can reach (server-side request forgery). Only addresses of the public Internet
//! are called, and those that the operator allows.
//!
//! A name is looked up once: the connection goes to the very addresses that were checked, so an answer
//! that changes meanwhile (DNS rebinding) gains nothing. If one address of a name is refused, all are:
//! a name that is inside and outside at once is a mistake or an attack, and to call one half of it would
//! only hide that.

use super::ranges;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};
use url::{Host, Url};

/// Longest URL of an endpoint.
const URL_BYTES: usize = 2048;

/// Which addresses may be called.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    allowed: Vec<IpNet>,
}

/// An address that may not be called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{host} is {address}, {why}, and not called; the operator can allow it by MILLRACE_WEBHOOK=webhook:?allow={}",
    written(IpNet::from(*address))
)]
pub struct Refused {
    host: String,
    address: IpAddr,
    why: &'static str,
}

impl Guard {
    /// Allows networks besides the public ones: `10.0.0.0/8,127.0.0.1,[::1]/128`.
    pub fn parse(allow: &str) -> Result<Self, String> {
        let parts = allow.split(',').map(str::trim).filter(|part| !part.is_empty());
        Ok(Self { allowed: parts.map(network).collect::<Result<_, _>>()? })
    }

    /// The same from `webhook:?allow=…`, `webhook://?allow=…`.
    pub fn of(url: &Url) -> Result<Self, String> {
        Self::parse(&super::urls::parameter(url, "allow").unwrap_or_default())
    }

    /// Checks what can be known of an endpoint's URL before its name is looked up; the URL as it will
    /// be called.
    pub fn check_url(&self, text: &str) -> Result<Url, String> {
        if text.len() > URL_BYTES {
            return Err(format!("it is longer than {URL_BYTES} bytes"));
        }
        // Parsers drop line ends and tabs in silence.
        if text.trim().contains(|letter: char| letter.is_control() || letter.is_whitespace()) {
            return Err("it holds white space or a line's end; write those as %20 and the like".to_owned());
        }
        let mut url = Url::parse(text.trim())
            .map_err(|error| format!("it is no URL ({error}); write it like https://example.com/hooks"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("its scheme is {:?}; only http and https are called", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("it holds a name or a password; the signature tells who calls".to_owned());
        }
        if url.port() == Some(0) {
            return Err("its port is 0, at which nobody listens".to_owned());
        }
        let host = url.host_str().unwrap_or_default().to_owned();
        match url.host() {
            None => return Err("it names no host".to_owned()),
            Some(Host::Ipv4(address)) => self.check(&host, address.into()),
            Some(Host::Ipv6(address)) => self.check(&host, address.into()),
            Some(Host::Domain(name)) if is_localhost(name) => self.check(&host, Ipv4Addr::LOCALHOST.into()),
            Some(Host::Domain(_)) => Ok(()),
        }
        .map_err(|refused| refused.to_string())?;
        url.set_fragment(None);
        Ok(url)
    }

    /// Checks an address that a host has.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Refused> {
        match self.fault(address) {
            None => Ok(()),
            Some(why) => Err(Refused { host: host.to_owned(), address, why }),
        }
    }

    /// Why an address is not called.
    fn fault(&self, address: IpAddr) -> Option<&'static str> {
        if self.allowed.iter().any(|network| network.contains(&address)) {
            return None;
        }
        let v6 = match address {
            IpAddr::V4(v4) => return ranges::v4_fault(v4),
            IpAddr::V6(v6) => v6,
        };
        let inside = ranges::carried(v6);
        if !inside.is_empty() {
            return inside.into_iter().find_map(|v4| self.fault(v4.into()));
        }
        ranges::isatap(v6).and_then(|v4| self.fault(v4.into())).or_else(|| ranges::v6_fault(v6))
    }

    /// Looks a name up and checks what it is.
    async fn look_up(&self, name: &str) -> Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
        // The port is set later, to that of the URL.
        let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
        for address in &found {
            self.check(name, address.ip())?;
        }
        Ok(found)
    }
}

/// Looks names up for an HTTP client.
pub(super) struct Resolver(pub(super) Arc<Guard>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let found = guard.look_up(name.as_str()).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The refusal that made an HTTP client fail, if one did.
pub(super) fn refusal<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e Refused> {
    let mut causes = std::iter::successors(Some(error), |error| error.source());
    causes.find_map(|error| error.downcast_ref())
}

/// Whether it is this machine by definition (RFC 6761).
fn is_localhost(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// A network as it is written in a list: an address, or with `/` and the bits that count.
fn network(text: &str) -> Result<IpNet, String> {
    let plain = text.replace(['[', ']'], "");
    let parsed = plain.parse().or_else(|_| plain.parse::<IpAddr>().map(IpNet::from));
    parsed.map_err(|_| format!("allow={text} is no network; write it like 10.0.0.0/8 or [fd00::]/8"))
}

fn written(network: IpNet) -> String {
    match network {
        IpNet::V4(v4) => v4.to_string(),
        IpNet::V6(v6) => format!("[{}]/{}", v6.addr(), v6.prefix_len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_refused_however_the_address_is_spelt() {
        let guard = Guard::default();
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f000001/",
            "http://0x7f.0.0.1:8080/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://127%2e0.0.1/",
            "http://１２７.０.０.１/",
            "http://0/",
            "http://localhost/",
            "https://LOCALHOST./",
            "http://api.localhost/",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[0:0:0:0:0:ffff:a9fe:a9fe]/latest/meta-data/",
            "http://169.254.169.254/latest/meta-data/",
            "http://[64:ff9b::10.0.0.1]/",
            "http://[2002:c0a8:0101::1]/",
        ] {
            let error = guard.check_url(url).expect_err(url);
            assert!(error.contains("MILLRACE_WEBHOOK=webhook:?allow="), "{url}: {error}");
        }
        for (url, part) in [
            ("ftp://example.com/", "scheme"),
            ("file:///etc/passwd", "scheme"),
            ("gopher://example.com/", "scheme"),
            ("https://user:pass@example.com/", "password"),
            ("https://user@example.com/", "password"),
            ("https://example.com/a\r\nb", "line's end"),
            ("https://example.com/a b", "white space"),
            ("https://example.com:0/", "port"),
            ("/relative", "no URL"),
            ("https://", "no URL"),
            ("http://256.256.256.256/", "no URL"),
        ] {
            let error = guard.check_url(url).expect_err(url);
            assert!(error.contains(part), "{url}: {error}");
        }
        let url = guard.check_url("https://Example.com:8443/hooks?a=b#part").unwrap();
        assert_eq!(url.as_str(), "https://example.com:8443/hooks?a=b");
        assert!(guard.check_url("http://93.184.215.14/").is_ok());
        assert!(guard.check_url("http://[2606:4700:4700::1111]/").is_ok());
    }

    #[test]
    fn the_operator_allows_networks() {
        let guard = Guard::parse("10.0.0.0/8, 127.0.0.1,[::1]/128,fd00::/8").unwrap();
        for url in [
            "http://10.1.2.3/",
            "http://127.0.0.1/",
            "http://[::1]/",
            "http://[fd00::5]/",
            "http://localhost/",
        ] {
            assert!(guard.check_url(url).is_ok(), "{url}");
        }
        assert!(guard.check_url("http://[::ffff:10.1.2.3]/").is_ok());
        for url in ["http://127.0.0.2/", "http://192.168.0.1/", "http://[fe80::1]/"] {
            assert!(guard.check_url(url).is_err(), "{url}");
        }
        for bad in ["10.0.0.0/40", "example.com", "10.0.0"] {
            assert!(Guard::parse(bad).unwrap_err().contains(bad));
        }
        for url in ["webhook:?allow=127.0.0.1/32,[::1]/128", "webhook://?allow=127.0.0.1/32,[::1]/128"] {
            assert!(Guard::of(&Url::parse(url).unwrap()).unwrap().check_url("http://[::1]/").is_ok());
        }
    }

    #[test]
    fn a_refusal_says_what_would_allow_it() {
        let error = Guard::default().check_url("http://[fd00::5]/").unwrap_err();
        assert!(error.ends_with("MILLRACE_WEBHOOK=webhook:?allow=[fd00::5]/128"), "{error}");
        let error = Guard::default().check_url("http://10.0.0.5/").unwrap_err();
        assert!(error.ends_with("MILLRACE_WEBHOOK=webhook:?allow=10.0.0.5/32"), "{error}");
    }

    #[tokio::test]
    async fn names_are_judged_by_all_that_they_are() {
        let refused = Guard::default().look_up("localhost").await.expect_err("it is this machine");
        assert!(refusal(&*refused).is_some(), "{refused}");
        let found = Guard::parse("127.0.0.0/8,[::1]").unwrap().look_up("localhost").await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        assert!(!found.is_empty());
    }
}
