//! Whose word is taken for where a request came from.

use ipnet::IpNet;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

/// Proxies that are believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// Where a request came from: of what the proxies wrote down, from the last, the first address that is none of
    /// theirs. Who is no proxy of ours is asked nothing.
    pub fn origin(&self, peer: IpAddr, forwarded: &[&str]) -> IpAddr {
        let trusted =
            |address: IpAddr| self.0.iter().any(|network| network.contains(&address.to_canonical()));
        let mut origin = peer;
        let mut told = forwarded.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim);
        while trusted(origin) {
            // What is no address is nobody's.
            let Some(address) = told.next().and_then(address_of) else { break };
            origin = address;
        }
        origin.to_canonical()
    }
}

/// Some proxies write the port, too.
fn address_of(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = |one: &str| {
            let address = one.parse::<IpAddr>().map(IpNet::from);
            one.parse().or(address).map_err(|_| {
                format!("{one:?} is neither an address nor a network; write 10.0.0.5 or 10.0.0.0/8")
            })
        };
        text.split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
            .map(network)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        formatter.write_str(&if words.is_empty() { "none".to_owned() } else { words.join(",") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(proxies: &str, peer: &str, told: &[&str]) -> String {
        let proxies: TrustedProxies = proxies.parse().unwrap();
        proxies.origin(peer.parse().unwrap(), told).to_string()
    }

    #[test]
    fn only_proxies_of_ours_say_who_came() {
        for (proxies, peer, told, expected) in [
            ("", "203.0.113.9", &["198.51.100.1"][..], "203.0.113.9"),
            ("10.0.0.0/8", "203.0.113.9", &["198.51.100.1"], "203.0.113.9"),
            ("10.0.0.0/8", "10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            // What the caller wrote himself stands before what our proxy saw.
            ("10.0.0.0/8", "10.1.2.3", &["192.0.2.66, 198.51.100.1"], "198.51.100.1"),
            ("10.0.0.0/8", "10.1.2.3", &["192.0.2.66", "198.51.100.1, 10.9.9.9"], "198.51.100.1"),
            ("10.0.0.5, fd00::/8", "fd00::1", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.0.0.5", "10.0.0.5", &["unknown"], "10.0.0.5"),
            ("10.0.0.5", "10.0.0.5", &[], "10.0.0.5"),
        ] {
            assert_eq!(origin(proxies, peer, told), expected, "{proxies} {peer} {told:?}");
        }
        let refused = "10.0.0.0/8,lb.example.com".parse::<TrustedProxies>().unwrap_err();
        assert!(refused.contains("\"lb.example.com\" is neither"), "{refused}");
    }
}
