//! How a request to a destination is signed: one header, made from one secret.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Auth {
    /// Header (HTTP) or metadata key (gRPC), in lower case.
    pub header: &'static str,
    /// How its value is made.
    pub scheme: AuthScheme,
    /// Whether the destination takes nothing without it.
    pub required: bool,
    /// What the secret is called at the vendor, and how it is written.
    pub secret: &'static str,
}

/// How the header's value is made from the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScheme {
    /// The secret itself.
    Plain,
    /// A word and the secret; a secret that begins with one of these words is sent as it is, another gets the first.
    Prefixed(&'static [&'static str]),
    /// `Basic` and base64 of the secret, which is `id:token`; one that begins with a scheme's word is sent as it is.
    Basic,
}

/// A secret that cannot be sent. Never shows the secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AuthError {
    /// Nothing there.
    #[error("the credential is empty")]
    Empty,
    /// Not `id:token`.
    #[error("the credential must be written as id:token")]
    NoColon,
    /// Not for a header.
    #[error("the credential has a character that a header cannot carry (a line break inside it?)")]
    NotVisibleAscii,
}

impl Auth {
    /// The header's value for that secret, which may have white space around it as files have. What comes back is as
    /// secret as what went in.
    pub fn value(&self, secret: &str) -> Result<String, AuthError> {
        let secret = secret.trim();
        if secret.is_empty() {
            return Err(AuthError::Empty);
        }
        if !secret.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(AuthError::NotVisibleAscii);
        }
        Ok(match self.scheme {
            AuthScheme::Plain => secret.to_owned(),
            AuthScheme::Prefixed(words) if has_scheme(secret, words) => secret.to_owned(),
            AuthScheme::Prefixed(words) => format!("{} {secret}", words[0]),
            AuthScheme::Basic if has_scheme(secret, &["Basic", "Bearer"]) => secret.to_owned(),
            AuthScheme::Basic if secret.contains(':') => format!("Basic {}", STANDARD.encode(secret)),
            AuthScheme::Basic => return Err(AuthError::NoColon),
        })
    }
}

/// Whether the secret already names its scheme; schemes are compared without case (RFC 9110 section 11.1).
fn has_scheme(secret: &str, words: &[&str]) -> bool {
    secret.split_once(' ').is_some_and(|(first, _)| words.iter().any(|word| word.eq_ignore_ascii_case(first)))
}

impl fmt::Display for Auth {
    /// As the reference page shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            AuthScheme::Plain => write!(f, "`{}: SECRET`", self.header)?,
            AuthScheme::Prefixed(words) => {
                let shown: Vec<_> =
                    words.iter().map(|word| format!("`{}: {word} SECRET`", self.header)).collect();
                f.write_str(&shown.join(" or "))?;
            }
            AuthScheme::Basic => write!(f, "`{}: Basic base64(SECRET)`", self.header)?,
        }
        f.write_str(if self.required { "" } else { ", optional" })
    }
}
