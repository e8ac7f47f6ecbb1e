//! Tokens: what an agent shows to the collector.
//!
//! ```text
//! mst_agt_<id: 12 digits>_<secret: 43 digits>_<checksum: 6 digits>      (digits are base62)
//! mst_enr_...                                                            the same, to enrol with
//! ```
//!
//! An enrolment token ([`TokenKind::Enrolment`]) is exchanged for a certificate and is accepted nowhere else.
//!
//! The prefix and the CRC-32C checksum let secret scanners find a leaked token without asking anybody. The secret is
//! 256 random bits, so a plain SHA-256 of it is safe to store: there is nothing to guess (a slow password hash would
//! only be a way to burn the collector's CPU). The id names the record; the secret is compared in constant time.
//!
//! A token's text never appears in `Debug`, in an error or in a log.

use std::fmt;
use std::io;
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::private_file;

/// What every token starts with that sends or reads.
pub const TOKEN_PREFIX: &str = "mst_agt_";
/// What every token starts with that an agent enrols with.
pub const ENROLMENT_TOKEN_PREFIX: &str = "mst_enr_";

const ID_DIGITS: usize = 12;
const SECRET_DIGITS: usize = 43;
const CHECKSUM_DIGITS: usize = 6;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// A token file is one line; more is a mistake and is not read into memory.
const TOKEN_FILE_BYTES_MAX: u64 = 4096;

/// Names a token's record at the collector. Not secret.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct TokenId(String);

/// What a token may be shown for; its prefix says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// Sending and reading.
    Access,
    /// Enrolling, and nothing else.
    Enrolment,
}

/// A token with its secret.
#[derive(Clone)]
pub struct Token {
    kind: TokenKind,
    id: TokenId,
    text: SecretString,
}

/// SHA-256 of a token's whole text: what the collector keeps.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TokenHash(#[serde(with = "hex_32")] [u8; 32]);

/// Why a text is no token, or a file gives none. No variant carries what was read.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Wrong prefix, length, digits or checksum.
    #[error(
        "not a Muster token: expected {TOKEN_PREFIX}<id>_<secret>_<checksum>, or {ENROLMENT_TOKEN_PREFIX}... to enrol with; was it cut when it was copied?"
    )]
    Malformed,
    /// One to enrol with, where one that sends is needed.
    #[error(
        "this is an enrolment token ({ENROLMENT_TOKEN_PREFIX}...), which sends nothing: exchange it for a certificate with `muster agent enroll --enroll-token-file FILE`, or make a token that sends with `muster token create --team TEAM`"
    )]
    IsEnrolment,
    /// One that sends, where one to enrol with is needed.
    #[error(
        "this is a token that sends ({TOKEN_PREFIX}...), which needs no enrolment: put it into token_file, or make an enrolment token with `muster token create --enroll --team TEAM`"
    )]
    IsAccess,
    /// Others than the owner can read the file.
    #[error("token file can be read by others (mode {mode:o}); run: chmod 600 {path}")]
    LooseFile {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// The file could not be read.
    #[error("cannot read token file {path}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl TokenKind {
    /// What tokens of this kind start with.
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Access => TOKEN_PREFIX,
            Self::Enrolment => ENROLMENT_TOKEN_PREFIX,
        }
    }

    /// The kind of a token's text, and what follows its prefix.
    fn of(text: &str) -> Option<(Self, &str)> {
        let kinds = [Self::Access, Self::Enrolment];
        kinds.into_iter().find_map(|kind| Some((kind, text.strip_prefix(kind.prefix())?)))
    }
}

impl Token {
    /// Makes a token that sends or reads from 44 random bytes: 12 for the id and 32 for the secret.
    pub fn from_random(random: [u8; 44]) -> Self {
        Self::of_kind(TokenKind::Access, random)
    }

    /// Makes a token of a kind, as [`Token::from_random`].
    pub fn of_kind(kind: TokenKind, mut random: [u8; 44]) -> Self {
        let id: String = random[..12].iter().map(|b| ALPHABET[*b as usize % 62] as char).collect();
        let mut secret = [0_u8; 32];
        secret.copy_from_slice(&random[12..]);
        let mut body = format!("{}{id}_{}", kind.prefix(), base62(secret));
        let text = format!("{body}_{}", checksum(&body));
        random.zeroize();
        secret.zeroize();
        body.zeroize();
        Self { kind, id: TokenId(id), text: text.into() }
    }

    /// Reads a token's text and checks its form. Says nothing about whether a collector knows it.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        let (body, given) = text.rsplit_once('_').ok_or(TokenError::Malformed)?;
        let (kind, rest) = TokenKind::of(body).ok_or(TokenError::Malformed)?;
        let (id, secret) = rest.split_once('_').ok_or(TokenError::Malformed)?;
        let digits = |t: &str, len| t.len() == len && t.bytes().all(|b| b.is_ascii_alphanumeric());
        if !digits(id, ID_DIGITS) || !digits(secret, SECRET_DIGITS) || given != checksum(body) {
            return Err(TokenError::Malformed);
        }
        Ok(Self { kind, id: TokenId(id.to_owned()), text: text.to_owned().into() })
    }

    /// Reads a token from a file that is private ([`private_file`]).
    pub fn from_file(path: &Path) -> Result<Self, TokenError> {
        use std::io::Read;
        let io_error = |source| TokenError::Io { path: path.display().to_string(), source };
        let file = std::fs::File::open(path).map_err(io_error)?;
        if let Some(mode) = private_file::loose_mode(&file).map_err(io_error)? {
            return Err(TokenError::LooseFile { path: path.display().to_string(), mode });
        }
        let mut text = String::new();
        file.take(TOKEN_FILE_BYTES_MAX).read_to_string(&mut text).map_err(io_error)?;
        let token = Self::parse(&text);
        text.zeroize();
        token
    }

    /// Refuses a token of another kind, in words that say what to do with it.
    pub fn must_be(self, kind: TokenKind) -> Result<Self, TokenError> {
        match self.kind {
            own if own == kind => Ok(self),
            TokenKind::Access => Err(TokenError::IsAccess),
            TokenKind::Enrolment => Err(TokenError::IsEnrolment),
        }
    }

    /// What it may be shown for.
    pub fn kind(&self) -> TokenKind {
        self.kind
    }

    /// Which record it belongs to.
    pub fn id(&self) -> &TokenId {
        &self.id
    }

    /// The whole text, for the one header it travels in and the one time it is shown.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// What to store of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash(Sha256::digest(self.expose().as_bytes()).into())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({}, [REDACTED])", self.id.0)
    }
}

impl TokenId {
    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TokenHash {
    /// Whether this is the hash of `token`, in time that does not depend on where they differ.
    pub fn matches(&self, token: &Token) -> bool {
        self.0.ct_eq(&token.hash().0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash([REDACTED])")
    }
}

/// 256 bits as 43 base62 digits, most significant first.
fn base62(mut number: [u8; 32]) -> String {
    let mut digits = [0_u8; SECRET_DIGITS];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_u32;
        for byte in &mut number {
            let value = remainder * 256 + u32::from(*byte);
            *byte = (value / 62) as u8;
            remainder = value % 62;
        }
        *digit = ALPHABET[remainder as usize];
    }
    digits.iter().map(|d| *d as char).collect()
}

fn checksum(body: &str) -> String {
    let mut crc = crc32c::crc32c(body.as_bytes());
    let mut digits = [b'0'; CHECKSUM_DIGITS];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(crc % 62) as usize];
        crc /= 62;
    }
    digits.iter().map(|d| *d as char).collect()
}

mod hex_32 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        let text: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        serializer.serialize_str(&text)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(D::Error::custom("expected 64 hexadecimal digits"));
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(D::Error::custom)?;
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token::from_random(std::array::from_fn(|n| (n * 37 + 11) as u8))
    }

    #[test]
    fn a_token_reads_back_and_matches_only_its_own_hash() {
        let token = token();
        let read = Token::parse(&format!("{}\n", token.expose())).expect("own text");
        assert_eq!(read.id(), token.id());
        assert!(token.hash().matches(&read));
        assert!(!token.hash().matches(&Token::from_random([7; 44])));
    }

    #[test]
    fn a_token_with_any_digit_changed_or_missing_is_refused() {
        let text = token().expose().to_owned();
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            assert!(Token::parse(std::str::from_utf8(&changed).expect("ascii")).is_err(), "digit {at}");
            assert!(Token::parse(&text[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn the_prefix_says_the_kind_and_is_a_part_of_the_checksum() {
        let token = Token::of_kind(TokenKind::Enrolment, [9; 44]);
        assert!(token.expose().starts_with(ENROLMENT_TOKEN_PREFIX));
        assert_eq!(Token::parse(token.expose()).expect("own text").kind(), TokenKind::Enrolment);
        let renamed = token.expose().replacen(ENROLMENT_TOKEN_PREFIX, TOKEN_PREFIX, 1);
        assert!(Token::parse(&renamed).is_err(), "one kind cannot be made of the other");
        assert_eq!(self::token().kind(), TokenKind::Access);
        assert!(matches!(token.must_be(TokenKind::Access), Err(TokenError::IsEnrolment)));
        assert!(matches!(self::token().must_be(TokenKind::Enrolment), Err(TokenError::IsAccess)));
        assert!(self::token().must_be(TokenKind::Access).is_ok());
    }

    #[test]
    fn neither_debug_nor_error_shows_the_secret() {
        let token = token();
        let secret = token.expose().rsplit('_').nth(1).expect("secret part").to_owned();
        assert!(!format!("{token:?} {:?}", token.hash()).contains(&secret));
        let error = Token::parse(&token.expose()[..60]).expect_err("cut");
        assert!(!format!("{error} {error:?}").contains(&secret[..20]));
    }

    #[cfg(unix)]
    #[test]
    fn a_token_file_that_others_can_read_is_refused_with_the_command_that_helps() -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("token");
        crate::atomic_file::replace(&path, token().expose().as_bytes(), crate::atomic_file::Access::Owner)?;
        assert!(Token::from_file(&path).is_ok());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640))?;
        let error = Token::from_file(&path).expect_err("group can read it").to_string();
        assert!(error.contains("chmod 600"), "{error}");
        Ok(())
    }
}
