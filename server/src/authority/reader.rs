//! Who a certificate is of that the own authority has not issued: the DNS names and URIs among its subject alternative names.
//!
//! Of these the first [`NAMES_MAX`] of at most [`NAME_BYTES_MAX`] bytes are looked at. Its subject says nothing.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls_pki_types::{CertificateDer, ServerName};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::name::SCHEME;

/// Longest name in bytes: that of a SPIFFE ID, the longest that is in use.
pub const NAME_BYTES_MAX: usize = 2_048;
/// Names of one certificate that are looked at: a service has a few, and a handshake has room for thousands.
pub const NAMES_MAX: usize = 64;

/// A name of a reader, as it stands in its certificate. Compared byte by byte; a DNS name is not a URI of the same text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReaderName {
    /// `prometheus.monitoring.svc`
    Dns(String),
    /// `spiffe://cluster.local/ns/monitoring/sa/prometheus`
    Uri(String),
}

/// What a certificate says of its owner, and by which it can be verified again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderCertificate {
    /// Its DNS names and URIs, in its order.
    pub names: Vec<ReaderName>,
    /// It, and those between it and its authority.
    pub chain: Vec<CertificateDer<'static>>,
}

/// Why a text is no name of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAReader {
    /// Empty or too long.
    #[error("has 1 to {NAME_BYTES_MAX} bytes")]
    Length,
    /// Of an agent, which reads nothing.
    #[error("is the name of an agent, which reads nothing")]
    Agent,
    /// An address.
    #[error("is an address: a reader has a DNS name or a URI")]
    Address,
    /// A pattern.
    #[error("has a wildcard: a name is compared as it is, so list each one")]
    Wildcard,
    /// A name with a port, as an address to connect to has one.
    #[error("has a port: a certificate names no port")]
    Port,
    /// Neither a DNS name nor a URI.
    #[error("is neither a DNS name nor a URI")]
    Other,
}

impl ReaderName {
    /// Its text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Dns(text) | Self::Uri(text) => text,
        }
    }
}

impl fmt::Display for ReaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReaderName {
    type Err = NotAReader;

    fn from_str(text: &str) -> Result<Self, NotAReader> {
        if !(1..=NAME_BYTES_MAX).contains(&text.len()) {
            return Err(NotAReader::Length);
        }
        if text.get(..SCHEME.len()).is_some_and(|start| start.eq_ignore_ascii_case(SCHEME)) {
            return Err(NotAReader::Agent);
        }
        if text.parse::<IpAddr>().is_ok() {
            return Err(NotAReader::Address);
        }
        if let Some((scheme, rest)) = text.split_once(':') {
            let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
            if is_scheme && rest.bytes().all(|byte| byte.is_ascii_digit()) && !rest.is_empty() {
                return Err(NotAReader::Port);
            }
            let is_uri = is_scheme && !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic());
            return if is_uri { Ok(Self::Uri(text.to_owned())) } else { Err(NotAReader::Other) };
        }
        if text.contains('*') {
            return Err(NotAReader::Wildcard);
        }
        match ServerName::try_from(text) {
            Ok(ServerName::DnsName(_)) => Ok(Self::Dns(text.to_owned())),
            _ => Err(NotAReader::Other),
        }
    }
}

impl ReaderCertificate {
    /// Reads the first of these, which has been verified through the others.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Self {
        let names = chain.first().map(names).unwrap_or_default();
        Self { names, chain: chain.iter().map(|certificate| certificate.clone().into_owned()).collect() }
    }
}

fn names(certificate: &CertificateDer<'_>) -> Vec<ReaderName> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let Ok(Some(names)) = parsed.subject_alternative_name() else { return Vec::new() };
    let named = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::DNSName(text) if text.len() <= NAME_BYTES_MAX => {
            Some(ReaderName::Dns((*text).to_owned()))
        }
        GeneralName::URI(text) if text.len() <= NAME_BYTES_MAX => Some(ReaderName::Uri((*text).to_owned())),
        _ => None,
    });
    named.take(NAMES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_dns_name_or_a_uri_and_nothing_else() {
        let dns = "prometheus.monitoring.svc";
        assert_eq!(dns.parse(), Ok(ReaderName::Dns(dns.to_owned())));
        for uri in
            ["spiffe://cluster.local/ns/monitoring/sa/prometheus", "urn:uuid:f81d4fae", "https://a.b/c"]
        {
            assert_eq!(uri.parse(), Ok(ReaderName::Uri(uri.to_owned())));
        }
        let long = format!("spiffe://{}", "a".repeat(NAME_BYTES_MAX));
        for (text, why) in [
            ("", NotAReader::Length),
            (long.as_str(), NotAReader::Length),
            ("muster://red/agent/00112233445566778899aabbccddeeff", NotAReader::Agent),
            ("MUSTER://x", NotAReader::Agent),
            ("10.0.0.5", NotAReader::Address),
            ("fe80::1", NotAReader::Address),
            ("*.monitoring.svc", NotAReader::Wildcard),
            ("prometheus.monitoring.svc:9090", NotAReader::Port),
            ("spiffe:", NotAReader::Other),
            ("://x", NotAReader::Other),
            ("spiffe://a b", NotAReader::Other),
            ("prometheus monitoring", NotAReader::Other),
            ("CN=prometheus", NotAReader::Other),
        ] {
            assert_eq!(text.parse::<ReaderName>(), Err(why), "{text}");
        }
    }

    #[test]
    fn so_many_names_of_a_certificate_are_looked_at_and_no_longer_ones() {
        let mut names: Vec<String> = (0..NAMES_MAX + 5).map(|n| format!("n{n}.example")).collect();
        names.insert(1, "10.0.0.5".to_owned());
        names.insert(0, "a".repeat(NAME_BYTES_MAX + 1));
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        let read = ReaderCertificate::of(&[made.cert.der().clone()]).names;
        assert_eq!(read.len(), NAMES_MAX);
        assert_eq!(read[1], ReaderName::Dns("n1.example".to_owned()), "addresses are none of them");
    }
}
