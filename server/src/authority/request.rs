//! What is taken of a certificate signing request (PKCS#10, RFC 2986): its public key, once the key has signed it. Subject,
//! names and extensions are passed over: who the agent is comes from its credential.

use rcgen::{PublicKeyData, SubjectPublicKeyInfo};
use rustls::crypto::ring;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use super::sha256_hex;

/// A request for a P-384 key has about 300 bytes.
pub const REQUEST_BYTES_MAX: usize = 4 << 10;
/// P-256 and P-384 (as named curves), and Ed25519. RSA is refused: an agent makes its own key, and none of ours makes such.
const KEYS: [&str; 3] = ["1.2.840.10045.3.1.7", "1.3.132.0.34", "1.3.101.112"];
const EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";

/// A public key whose owner has proved that it has the private one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey(pub(super) SubjectPublicKeyInfo);

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Longer than any.
    #[error("certificate request has more than {REQUEST_BYTES_MAX} bytes")]
    TooLarge,
    /// Not PKCS#10 in DER.
    #[error("certificate request is not PKCS#10 in DER")]
    Malformed,
    /// Of another kind.
    #[error("certificate request has a key that is not taken: ECDSA on P-256 or P-384, or Ed25519")]
    Key,
    /// Not by the key in it.
    #[error("certificate request is not signed by its own key")]
    Signature,
}

impl ProvenKey {
    /// Reads and verifies a request.
    pub fn of_request(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > REQUEST_BYTES_MAX {
            return Err(RequestError::TooLarge);
        }
        let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| RequestError::Malformed)?;
        if !rest.is_empty() {
            return Err(RequestError::Malformed);
        }
        let info = &request.certification_request_info;
        let key = &info.subject_pki;
        let curve = key.algorithm.parameters.as_ref().and_then(|any| any.as_oid().ok());
        let algorithm = key.algorithm.algorithm.to_id_string();
        let kind =
            if algorithm == EC_PUBLIC_KEY { curve.map(|oid| oid.to_id_string()) } else { Some(algorithm) };
        if !kind.is_some_and(|kind| KEYS.contains(&kind.as_str())) {
            return Err(RequestError::Key);
        }
        if key.subject_public_key.unused_bits != 0 || request.signature_value.unused_bits != 0 {
            return Err(RequestError::Malformed);
        }
        let taken = SubjectPublicKeyInfo::from_der(key.raw).map_err(|_| RequestError::Key)?;
        let (public, signature) = (&key.subject_public_key.data, &request.signature_value.data);
        let provider = ring::default_provider();
        let verifies = provider.signature_verification_algorithms.all.iter().any(|verifier| {
            is_of(&verifier.signature_alg_id(), request.signature_algorithm.algorithm.as_bytes())
                && verifier.verify_signature(public, info.raw, signature).is_ok()
        });
        if verifies { Ok(Self(taken)) } else { Err(RequestError::Signature) }
    }

    /// SHA-256 of the key (SubjectPublicKeyInfo in DER) in hexadecimal digits.
    pub(crate) fn sha256(&self) -> String {
        sha256_hex(&self.0.subject_public_key_info())
    }
}

/// Whether an algorithm identifier (DER without its outer sequence) begins with this object identifier.
fn is_of(identifier: &[u8], oid: &[u8]) -> bool {
    matches!(identifier, [0x06, len, rest @ ..] if usize::from(*len) == oid.len() && rest.starts_with(oid))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    fn request(algorithm: &'static SignatureAlgorithm) -> (KeyPair, Vec<u8>) {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        // Names that nobody may choose are passed over, whatever they are.
        let params = CertificateParams::new(["admin.example".to_owned()]).expect("params");
        let der = params.serialize_request(&key).expect("a request").der().to_vec();
        (key, der)
    }

    #[test]
    fn the_key_of_a_signed_request_is_taken() {
        for algorithm in
            [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519]
        {
            let (key, der) = request(algorithm);
            let taken = ProvenKey::of_request(&der).expect("taken");
            assert_eq!(taken.0.der_bytes(), key.der_bytes());
        }
    }

    #[test]
    fn a_request_with_any_bit_changed_gives_no_other_key() {
        let (_, der) = request(&rcgen::PKCS_ECDSA_P256_SHA256);
        let key = ProvenKey::of_request(&der).expect("taken");
        for at in 0..der.len() {
            let mut changed = der.clone();
            changed[at] ^= 1;
            // What is not signed, such as the tag before the algorithm, may be another.
            let taken = ProvenKey::of_request(&changed);
            assert!(taken.is_err() || taken == Ok(key.clone()), "byte {at}");
            assert!(ProvenKey::of_request(&der[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(ProvenKey::of_request(&[der.as_slice(), &[0]].concat()), Err(RequestError::Malformed));
        assert_eq!(ProvenKey::of_request(&[0; REQUEST_BYTES_MAX + 1]), Err(RequestError::TooLarge));
    }

    #[test]
    fn another_keys_signature_is_refused() {
        let ((_, mut mine), (_, theirs)) = (request(&rcgen::PKCS_ED25519), request(&rcgen::PKCS_ED25519));
        let signature_at = mine.len() - 64;
        mine[signature_at..].copy_from_slice(&theirs[theirs.len() - 64..]);
        assert_eq!(ProvenKey::of_request(&mine), Err(RequestError::Signature));
    }

    #[test]
    fn an_rsa_key_is_refused() {
        // Of 2048 bits, made with `openssl req -new -newkey rsa:2048 -nodes -outform DER -subj /CN=x`.
        let der = include_bytes!("fixtures/rsa.csr");
        assert_eq!(ProvenKey::of_request(der), Err(RequestError::Key));
    }
}
