//! Allowed addresses: IPv4, IPv6 and CIDR blocks, as texts.
//!
//! The one thing a newcomer would get wrong: an IPv4 address inside IPv6 (`::ffff:10.0.0.1`) is the IPv4 address; kept as it
//! came it would match nobody, because callers are compared by their plain address.

use std::net::IpAddr;

use ipnet::IpNet;

/// Bits before an IPv4 address that is written as an IPv6 one.
const MAPPED_BITS: u8 = 96;

/// An address or a block.
pub(super) fn parse(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(IpNet::from(address.to_canonical()));
    }
    let net: IpNet = text.parse().ok()?;
    match (net.addr().to_canonical(), net.addr()) {
        (IpAddr::V4(address), IpAddr::V6(_)) if net.prefix_len() >= MAPPED_BITS => {
            IpNet::new(IpAddr::V4(address), net.prefix_len() - MAPPED_BITS).ok()
        }
        _ => Some(net),
    }
}

/// An address without a prefix length that says nothing, or a block.
pub(super) fn to_text(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() {
        net.addr().to_string()
    } else {
        net.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        for text in ["10.0.0.1", "10.0.0.0/8", "2001:db8::1", "2001:db8::/32"] {
            assert_eq!(to_text(&parse(text).unwrap()), text);
        }
        assert_eq!(to_text(&parse("10.0.0.1/32").unwrap()), "10.0.0.1");
        assert_eq!(to_text(&parse("::ffff:10.0.0.1").unwrap()), "10.0.0.1");
        assert_eq!(
            to_text(&parse("::ffff:10.0.0.0/104").unwrap()),
            "10.0.0.0/8"
        );
    }

    #[test]
    fn anything_else_is_no_address() {
        for text in [
            "",
            "10.0.0",
            "10.0.0.256",
            "10.0.0.0/33",
            "10.0.0.0/",
            "example.com",
            " 10.0.0.1",
            "10.0.0.1-10.0.0.9",
            "2001:db8::/129",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
