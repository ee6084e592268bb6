//! Which addresses are those of the public Internet: all but what IANA's registries of special-purpose
//! addresses hold (RFC 6890 and its updates), and a cloud's own service that hides among public ones.

use std::net::{Ipv4Addr, Ipv6Addr};

const fn v4(a: u8, b: u8, c: u8, d: u8) -> Ipv4Addr {
    Ipv4Addr::new(a, b, c, d)
}

/// An address by its first segments; the rest is zero.
const fn v6(a: u16, b: u16, c: u16, d: u16) -> Ipv6Addr {
    Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)
}

const V4: &[(Ipv4Addr, u32, &str)] = &[
    (v4(0, 0, 0, 0), 8, "an unspecified address"),
    (v4(10, 0, 0, 0), 8, "a private address"),
    (v4(100, 64, 0, 0), 10, "a carrier's private address"),
    (v4(127, 0, 0, 0), 8, "a loopback address"),
    (v4(168, 63, 129, 16), 32, "the address of a cloud's own service"),
    (v4(169, 254, 0, 0), 16, "a link-local address"),
    (v4(172, 16, 0, 0), 12, "a private address"),
    (v4(192, 0, 0, 0), 24, "a reserved address"),
    (v4(192, 0, 2, 0), 24, "an address for documentation"),
    (v4(192, 88, 99, 0), 24, "a reserved address"),
    (v4(192, 168, 0, 0), 16, "a private address"),
    (v4(198, 18, 0, 0), 15, "an address for benchmarks"),
    (v4(198, 51, 100, 0), 24, "an address for documentation"),
    (v4(203, 0, 113, 0), 24, "an address for documentation"),
    (v4(224, 0, 0, 0), 4, "a multicast address"),
    (v4(240, 0, 0, 0), 4, "a reserved address"),
];

const V6: &[(Ipv6Addr, u32, &str)] = &[
    (v6(0xfc00, 0, 0, 0), 7, "a private address"),
    (v6(0xfe80, 0, 0, 0), 10, "a link-local address"),
    (v6(0xfec0, 0, 0, 0), 10, "a site-local address"),
    (v6(0xff00, 0, 0, 0), 8, "a multicast address"),
    (v6(0x0064, 0xff9b, 1, 0), 48, "a private address"),
    (v6(0x0100, 0, 0, 0), 64, "an address that discards"),
    (v6(0x2001, 0, 0, 0), 23, "a reserved address"),
    (v6(0x2001, 0x0db8, 0, 0), 32, "an address for documentation"),
    (v6(0x3fff, 0, 0, 0), 20, "an address for documentation"),
];

/// Why an IPv4 address is none of the public Internet.
pub(super) fn v4_fault(address: Ipv4Addr) -> Option<&'static str> {
    let within = |network: Ipv4Addr, bits: u32| (network.to_bits() ^ address.to_bits()) >> (32 - bits) == 0;
    V4.iter().find_map(|&(network, bits, why)| within(network, bits).then_some(why))
}

/// Why an IPv6 address that carries no IPv4 address is none of the public Internet.
pub(super) fn v6_fault(address: Ipv6Addr) -> Option<&'static str> {
    if address == Ipv6Addr::LOCALHOST {
        return Some("a loopback address");
    }
    if address == Ipv6Addr::UNSPECIFIED {
        return Some("an unspecified address");
    }
    let within = |network: Ipv6Addr, bits: u32| (network.to_bits() ^ address.to_bits()) >> (128 - bits) == 0;
    let found = V6.iter().find_map(|&(network, bits, why)| within(network, bits).then_some(why));
    // Nothing else has been given out for public use.
    found.or_else(|| (!within(v6(0x2000, 0, 0, 0), 3)).then_some("a reserved address"))
}

/// IPv4 addresses that are reached by an IPv6 one, which is as good or bad as they are.
pub(super) fn carried(address: Ipv6Addr) -> Vec<Ipv4Addr> {
    let of = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match address.segments() {
        // They look like the IPv4-compatible ones.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Vec::new(),
        // IPv4-compatible, mapped, translated (RFC 4291, 2765) and NAT64's (RFC 6052).
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => vec![of(high, low)],
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => vec![of(high, low)],
        // Teredo (RFC 4380): the server, and the client with its bits turned.
        [0x2001, 0, high, low, _, _, turned_high, turned_low] => {
            vec![of(high, low), of(!turned_high, !turned_low)]
        }
        _ => Vec::new(),
    }
}

/// The IPv4 address of an ISATAP interface (RFC 5214), which may stand in any network.
pub(super) fn isatap(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => {
            Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::guard::Guard;
    use std::net::IpAddr;

    fn refused(address: &str) -> bool {
        Guard::default().check("host", address.parse::<IpAddr>().unwrap()).is_err()
    }

    #[test]
    fn special_addresses_are_refused_to_their_edges() {
        for address in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.7",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::2",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:192.168.1.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::1",
            "100::1",
            "2001:2::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
            // Teredo by a private server, and of a client at 10.0.0.1.
            "2001:0:a00:1::f7f7:f7f7",
            "2001:0:808:808::f5ff:fffe",
            "2606:4700::5efe:10.0.0.1",
            "2606:4700::200:5efe:192.168.0.1",
        ] {
            assert!(refused(address), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_called() {
        for address in [
            "1.0.0.0",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
            "2001:0:808:808::f7f7:f7f7",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001:830::200e",
        ] {
            assert!(!refused(address), "{address}");
        }
    }
}
