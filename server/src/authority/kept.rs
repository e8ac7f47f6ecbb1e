//! What of the authority is on disk: `<data_dir>/authority/authority.json`, for its owner alone.
//!
//! Key and certificate are in one file, so that a crash cannot part them, and a rotation is one replacement.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::record_file::Document;

const VERSION: u32 = 1;

/// The document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    version: u32,
    /// The authority that the collector made; `None` before its first start, and while one is brought along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) own: Option<Own>,
    /// The certificate of the authority that was brought along, as it was last seen: when it is another, that one goes on
    /// being trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) brought_pem: Option<String>,
    /// Those before, while certificates of theirs may live.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) retired: Vec<Retired>,
}

/// An authority of the collector's own.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Own {
    pub(super) certificate_pem: String,
    pub(super) key_pem: KeyPem,
}

/// An authority that issues nothing any more.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retired {
    pub(super) certificate_pem: String,
    /// The authority after it, signed by it: who trusts only this one trusts the next by that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bridge_pem: Option<String>,
    /// When the last certificate of it has ended, in microseconds since the epoch.
    pub(super) trusted_until_us: u64,
}

/// A private key.
pub(super) struct KeyPem(Zeroizing<String>);

impl KeyPem {
    pub(super) fn new(pem: String) -> Self {
        Self(Zeroizing::new(pem))
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for KeyPem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyPem([REDACTED])")
    }
}

impl Serialize for KeyPem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyPem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl Default for Kept {
    fn default() -> Self {
        Self { version: VERSION, own: None, brought_pem: None, retired: Vec::new() }
    }
}

impl Document for Kept {
    const PATH: &'static str = "authority/authority.json";
    const LOCK: &'static str = "authority/authority.lock";
    const WHAT: &'static str = "file of the authority, with its private key,";
    /// A page for each of many rotations.
    const BYTES_MAX: u64 = 1 << 20;
    const IS_SECRET: bool = true;

    fn problem(&self) -> Option<String> {
        (self.version != VERSION).then(|| format!("version {} is not {VERSION}", self.version))
    }
}
