//! A key pair and the request that it signs.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use secrecy::SecretString;

/// A new private key with the request for its certificate.
#[derive(Debug)]
pub struct Requested {
    /// PKCS#8 in PEM. Stays here.
    pub key_pem: SecretString,
    /// PKCS#10 in DER: what is sent.
    pub csr_der: Vec<u8>,
    /// The public key, as SubjectPublicKeyInfo in DER.
    pub public_key_der: Vec<u8>,
}

/// The system gives no random numbers, or the crypto library refuses. Says nothing of the key.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("cannot make a key; does the system give random numbers?")]
pub struct KeyError;

/// Makes an ECDSA P-256 key and a request. The collector passes over what a request says of its subject, so it says nothing.
pub fn request() -> Result<Requested, KeyError> {
    request_of(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|_| KeyError)?)
}

/// A request for a key that was made before; `None` when the text is no key.
pub(super) fn request_again(key_pem: &str) -> Option<Requested> {
    KeyPair::from_pem(key_pem).ok().and_then(|key| request_of(&key).ok())
}

fn request_of(key: &KeyPair) -> Result<Requested, KeyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let csr = params.serialize_request(key).map_err(|_| KeyError)?;
    Ok(Requested {
        key_pem: key.serialize_pem().into(),
        csr_der: csr.der().to_vec(),
        public_key_der: public_key_der(key),
    })
}

/// The public half of a private key; `None` when the text is no key.
pub(super) fn public_key_of(key_pem: &str) -> Option<Vec<u8>> {
    KeyPair::from_pem(key_pem).ok().map(|key| public_key_der(&key))
}

fn public_key_der(key: &KeyPair) -> Vec<u8> {
    use rcgen::PublicKeyData;
    key.subject_public_key_info()
}
