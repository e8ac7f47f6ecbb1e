//! What a peer shows: a token in the request, a certificate in the handshake.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{Extensions, HeaderMap, HeaderValue};
use muster::credential::TokenKind;

use crate::authority::PeerCertificate;
use crate::ingest::Peer;

/// What a peer shows of itself.
#[derive(Debug, Clone, Copy)]
pub struct Presented<'a> {
    /// Where it is.
    pub ip: IpAddr,
    /// The request's `authorization` header.
    pub header: Option<&'a [u8]>,
    /// The connection's certificate.
    pub certificate: Option<&'a PeerCertificate>,
}

impl<'a> Presented<'a> {
    /// A token alone, or nothing.
    pub fn token(ip: IpAddr, header: Option<&'a [u8]>) -> Self {
        Self { ip, header, certificate: None }
    }

    /// What a request shows; `None` if it has no peer.
    pub(crate) fn by(extensions: &'a Extensions, headers: &'a HeaderMap) -> Option<Self> {
        let Peer(peer) = extensions.get::<Peer>()?;
        let header = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes);
        let certificate = extensions.get::<Arc<PeerCertificate>>().map(AsRef::as_ref);
        Some(Self { ip: peer.ip(), header, certificate })
    }
}

/// Whether an `authorization` header has the form of a token of ours, right or not.
pub(crate) fn is_bearer_of_ours(header: &[u8]) -> bool {
    let text = std::str::from_utf8(header).ok().and_then(strip_bearer);
    let kinds = [TokenKind::Access, TokenKind::Enrolment];
    text.is_some_and(|text| kinds.iter().any(|kind| text.starts_with(kind.prefix())))
}

pub(super) fn strip_bearer(header: &str) -> Option<&str> {
    let (scheme, text) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(text)
}
