//! The one header that a credential travels in.

use std::fmt;

use arc_swap::ArcSwapOption;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use otlp::profile::{Auth, AuthError, Profile};
use secrecy::{ExposeSecret, SecretString};

use crate::config::destination::{Credential, CredentialError};
use crate::forward::answer::Verdict;

/// Shorter ones are no secrets, and would be found in every text.
const REDACTED_BYTES_MIN: usize = 6;

/// How requests are signed. Never shows what with.
pub(super) struct Signing {
    auth: &'static Auth,
    source: Option<Credential>,
    current: ArcSwapOption<Signature>,
}

struct Signature {
    value: HeaderValue,
    secret: SecretString,
}

/// Why requests cannot be signed. Never shows the credential.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// It cannot be had.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// It is no credential of this kind.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl Signing {
    pub(super) fn new(profile: &'static Profile, source: Option<Credential>) -> Result<Self, SigningError> {
        let signing = Self { auth: &profile.auth, source, current: ArcSwapOption::empty() };
        let signature = signing.read()?;
        signing.current.store(signature.map(Into::into));
        Ok(signing)
    }

    pub(super) fn sign(&self, headers: &mut HeaderMap) {
        if let Some(signature) = &*self.current.load() {
            headers.insert(HeaderName::from_static(self.auth.header), signature.value.clone());
        }
    }

    /// Whether both sign with the same by now.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.current.load(), other.current.load());
        ours.as_ref().map(|signature| &signature.value) == theirs.as_ref().map(|signature| &signature.value)
    }

    pub(super) fn read_again(&self) {
        match self.read() {
            Ok(signature) => self.current.store(signature.map(Into::into)),
            Err(error) => tracing::warn!(%error, "credential of a destination cannot be read again"),
        }
    }

    /// A destination may repeat what it was sent: not into logs and files of ours.
    pub(super) fn redact(&self, mut verdict: Verdict) -> Verdict {
        let text = match &mut verdict {
            Verdict::Delivered { message, .. } => message,
            Verdict::Retry { why, .. }
            | Verdict::Refused { why }
            | Verdict::TooLarge { why }
            | Verdict::Permanent { why } => why,
        };
        if let Some(signature) = &*self.current.load() {
            let sent = signature.value.to_str().unwrap_or_default();
            for secret in [sent, signature.secret.expose_secret()] {
                if secret.len() >= REDACTED_BYTES_MIN && text.contains(secret) {
                    *text = text.replace(secret, "[REDACTED]");
                }
            }
        }
        verdict
    }

    fn read(&self) -> Result<Option<Signature>, SigningError> {
        let Some(source) = &self.source else { return Ok(None) };
        let secret = source.read()?;
        let text: SecretString = self.auth.value(secret.expose_secret())?.into();
        let mut value =
            HeaderValue::from_str(text.expose_secret()).map_err(|_| AuthError::NotVisibleAscii)?;
        value.set_sensitive(true);
        Ok(Some(Signature { value, secret }))
    }
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signing({}, [REDACTED])", self.auth.header)
    }
}
