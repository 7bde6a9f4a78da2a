//! Whose request it is: the peer's, or that of the client for whom a trusted proxy asks.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The nearest address that is not a trusted proxy's. What stands further left in the headers was
/// written by somebody whom nobody vouches for. Where a hop can't be read, the client is who that
/// hop's proxy is.
///
/// `X-Forwarded-For` wins over `Forwarded` where both came: it is what proxies add without being
/// asked.
pub(crate) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut nearest = peer.to_canonical();
    if !is_trusted(&nearest) {
        return nearest;
    }
    let (name, read): (_, fn(&str) -> Option<IpAddr>) = if headers.contains_key(X_FORWARDED_FOR) {
        (X_FORWARDED_FOR, hop)
    } else {
        (header::FORWARDED, forwarded)
    };
    let lines: Vec<&str> = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or("?")).collect();
    // From the right, and without regard to quotes: a quote that the client left open must not
    // swallow what the proxy added behind it.
    let hops =
        lines.iter().rev().flat_map(|line| line.rsplit(',')).map(str::trim).filter(|hop| !hop.is_empty());
    for text in hops {
        match read(text) {
            Some(address) => nearest = address.to_canonical(),
            None => return nearest,
        }
        if !is_trusted(&nearest) {
            return nearest;
        }
    }
    nearest
}

/// What an address is counted as. An IPv6 customer has at least a /64, and could take another
/// address of it for each connection.
pub(crate) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

/// `for=…` of one element of `Forwarded` (RFC 7239).
fn forwarded(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    hop(node.trim().trim_matches('"'))
}

/// An address with or without a port, IPv6 with or without brackets.
fn hop(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().map(IpAddr::V6).ok();
    }
    text.parse().ok().or_else(|| text.split_once(':')?.0.parse().map(IpAddr::V4).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8"].map(|network| network.parse().unwrap());
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn a_strangers_word_is_not_taken() {
        let lines = [("x-forwarded-for", "192.0.2.9"), ("forwarded", "for=192.0.2.9")];
        assert_eq!(ask("198.51.100.1", &lines), "198.51.100.1");
        assert_eq!(ask("10.0.0.1", &lines), "192.0.2.9");
        assert_eq!(ask("::ffff:10.0.0.1", &lines), "192.0.2.9");
    }

    #[test]
    fn the_rightmost_stranger_is_the_client() {
        let ask = |value| ask("10.0.0.1", &[("x-forwarded-for", value)]);
        assert_eq!(ask("1.1.1.1, 192.0.2.9, 10.2.3.4"), "192.0.2.9");
        assert_eq!(ask("10.9.9.9, 10.2.3.4"), "10.9.9.9", "all of them proxies: the first of them asks");
        assert_eq!(ask("1.1.1.1, unknown, 10.2.3.4"), "10.2.3.4", "nobody vouches for what is left of a gap");
        assert_eq!(ask("192.0.2.9:5678, ,"), "192.0.2.9");
        assert_eq!(ask("[2001:db8::1]:443"), "2001:db8::1");
        assert_eq!(ask("2001:db8::1,fd00::1"), "2001:db8::1");
        assert_eq!(ask(""), "10.0.0.1");
        assert_eq!(ask("999.0.0.1"), "10.0.0.1");
    }

    #[test]
    fn lines_are_one_list() {
        let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "192.0.2.9, 10.0.0.2")];
        assert_eq!(ask("10.0.0.1", &lines), "192.0.2.9");
    }

    #[test]
    fn forwarded_is_read_where_it_stands_alone() {
        let ask = |value| ask("127.0.0.1", &[("forwarded", value)]);
        assert_eq!(ask("for=1.1.1.1, For=192.0.2.9;proto=https;by=10.0.0.2"), "192.0.2.9");
        assert_eq!(ask("proto=https; for=\"[2001:db8::17]:4711\""), "2001:db8::17");
        assert_eq!(ask("for=_hidden"), "127.0.0.1");
        assert_eq!(ask("for=\"1.1.1.1, for=192.0.2.9"), "192.0.2.9", "an open quote swallows nothing");
    }

    #[test]
    fn what_is_counted() {
        let counted = |text: &str| counted(text.parse().unwrap()).to_string();
        assert_eq!(counted("192.0.2.1"), "192.0.2.1");
        assert_eq!(counted("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
