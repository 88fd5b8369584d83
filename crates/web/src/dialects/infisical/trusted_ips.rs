//! Trusted addresses: from where the tokens of an auth method may be used.
//!
//! The one thing a newcomer would get wrong: requests and answers have different forms. A request names an address or a
//! block as one text; answers hold it taken apart, and a single address has no `prefix` at all.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{self, WireError};

/// Bits before an IPv4 address that is written as an IPv6 one.
const MAPPED_BITS: u8 = 96;

/// An address or a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TrustedIp {
    /// `ipv4` or `ipv6`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The length of the prefix; absent for a single address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<u8>,
    /// The address, of a block its first.
    pub ip_address: String,
}

impl TrustedIp {
    /// From the text of a request.
    ///
    /// # Errors
    /// 400 if it is neither address nor block.
    pub(super) fn parse(text: &str) -> Result<Self, WireError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let invalid = || error::bad_request("The IP is not a valid IPv4, IPv6, or CIDR block");
        let parsed: IpAddr = address.parse().map_err(|_| invalid())?;
        let kind = if parsed.is_ipv4() { "ipv4" } else { "ipv6" };
        let prefix = match prefix {
            None => None,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                let length: u8 = digits.parse().map_err(|_| invalid())?;
                IpNet::new(parsed, length).map_err(|_| invalid())?;
                Some(length)
            }
            Some(_) => return Err(invalid()),
        };
        Ok(Self {
            kind: kind.to_owned(),
            prefix,
            ip_address: address.to_owned(),
        })
    }

    /// As callers are compared with it. An IPv4 address inside IPv6 is the IPv4 address, which is what callers have.
    fn net(&self) -> Option<IpNet> {
        let address: IpAddr = self.ip_address.parse().ok()?;
        match (address.to_canonical(), self.prefix) {
            (plain, None) => Some(IpNet::from(plain)),
            (IpAddr::V4(plain), Some(prefix)) if address.is_ipv6() && prefix >= MAPPED_BITS => {
                IpNet::new(IpAddr::V4(plain), prefix - MAPPED_BITS).ok()
            }
            (_, Some(prefix)) => IpNet::new(address, prefix).ok(),
        }
    }

    fn is_wildcard(&self) -> bool {
        self.prefix == Some(0)
    }
}

/// What a configuration has that names none: everywhere.
pub(super) fn everywhere() -> Vec<TrustedIp> {
    ["0.0.0.0/0", "::/0"]
        .into_iter()
        .map(|text| TrustedIp::parse(text).expect("both are blocks"))
        .collect()
}

/// The engine's list, in which empty is everywhere. An address that is not known is then on it, which it is not on a list
/// of both wildcards.
pub(super) fn addresses(trusted: &[TrustedIp]) -> Vec<IpNet> {
    let all_of = |kind| trusted.iter().any(|ip| ip.kind == kind && ip.is_wildcard());
    if all_of("ipv4") && all_of("ipv6") {
        return Vec::new();
    }
    trusted.iter().filter_map(TrustedIp::net).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn answers_take_the_text_apart() {
        let shown = |text: &str| serde_json::to_string(&TrustedIp::parse(text).unwrap()).unwrap();
        assert_eq!(
            shown("0.0.0.0/0"),
            r#"{"type":"ipv4","prefix":0,"ipAddress":"0.0.0.0"}"#
        );
        assert_eq!(shown("::1"), r#"{"type":"ipv6","ipAddress":"::1"}"#);
    }

    #[test]
    fn rubbish_is_refused() {
        for bad in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "::/129",
            "1.2.3",
            "a/b/c",
        ] {
            assert_eq!(TrustedIp::parse(bad).unwrap_err().status, 400, "{bad}");
        }
    }

    #[test]
    fn half_of_everywhere_is_a_restriction() {
        assert!(addresses(&everywhere()).is_empty());
        assert_eq!(addresses(&everywhere()[..1]).len(), 1);
        let single = TrustedIp::parse("10.1.2.3").unwrap();
        assert_eq!(addresses(&[single])[0].to_string(), "10.1.2.3/32");
    }

    #[test]
    fn an_ipv4_address_inside_ipv6_is_the_ipv4_address() {
        let net = |text: &str| addresses(&[TrustedIp::parse(text).unwrap()])[0].to_string();
        assert_eq!(net("::ffff:10.1.2.3"), "10.1.2.3/32");
        assert_eq!(net("::ffff:10.0.0.0/104"), "10.0.0.0/8");
        assert_eq!(net("::ffff:0:0/96"), "0.0.0.0/0");
        assert_eq!(net("::/0"), "::/0");
        assert_eq!(net("::1"), "::1/128");
        // Answered as it was sent.
        let shown = TrustedIp::parse("::ffff:10.1.2.3").unwrap();
        assert_eq!((shown.kind.as_str(), shown.prefix), ("ipv6", None));
        assert_eq!(shown.ip_address, "::ffff:10.1.2.3");
    }
}
