//! PEM (RFC 7468) from DER.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Digits in a line.
const LINE_DIGITS: usize = 64;

/// Certificates one after the other.
pub(super) fn certificates<'a>(all: impl IntoIterator<Item = &'a [u8]>) -> String {
    all.into_iter().map(certificate).collect()
}

fn certificate(der: &[u8]) -> String {
    let digits = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = digits.as_str();
    while !rest.is_empty() {
        // Base64 has one byte a digit.
        let (line, after) = rest.split_at(rest.len().min(LINE_DIGITS));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}
