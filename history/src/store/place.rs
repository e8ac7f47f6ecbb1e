//! Where the history lies: a folder, or a bucket of an S3-compatible store.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

/// A place for the history.
#[derive(Debug, Clone)]
pub enum Place {
    /// A folder of this machine.
    Local(PathBuf),
    /// A bucket.
    S3(S3Place),
}

/// A bucket, and how it is reached.
#[derive(Debug, Clone)]
pub struct S3Place {
    /// The bucket.
    pub bucket: String,
    /// What all names in it begin with; empty, or without a slash at its ends.
    pub prefix: String,
    /// The store's address, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// The region, where the environment does not say it.
    pub region: Option<String>,
    /// Whether the bucket is a part of the path (most stores that are not Amazon's) and not of the host's name.
    pub is_path_style: bool,
    /// Whether the endpoint may be `http://`.
    pub allows_http: bool,
    /// Who asks.
    pub credentials: Credentials,
}

/// Who asks an S3-compatible store.
#[derive(Debug, Clone, Default)]
pub enum Credentials {
    /// As the `AWS_*` variables and the machine's role say.
    #[default]
    Environment,
    /// A key.
    Key {
        /// Its name.
        access_key_id: String,
        /// Its secret.
        secret_access_key: SecretString,
        /// What a temporary key has besides.
        session_token: Option<SecretString>,
    },
}

/// A text that is no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no place for the history: {problem}; examples: /var/lib/muster/history, s3://bucket/prefix"
)]
pub struct PlaceError {
    text: String,
    problem: &'static str,
}

impl Place {
    /// A folder, or `s3://bucket/prefix` with credentials of the environment.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        let refused = |problem| Err(PlaceError { text: text.to_owned(), problem });
        let Some(rest) = text.strip_prefix("s3://") else {
            return match text {
                "" => refused("it is empty"),
                _ if text.contains("://") => refused("only s3:// is known, and folders"),
                _ => Ok(Place::Local(PathBuf::from(text))),
            };
        };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_bucket_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        if bucket.is_empty() || !bucket.bytes().all(is_bucket_byte) {
            return refused("a bucket's name has letters, digits, '.', '-' and '_'");
        }
        let prefix = prefix.trim_matches('/');
        if object_store::path::Path::parse(prefix).is_err() {
            return refused("the prefix is no path");
        }
        Ok(Place::S3(S3Place {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            endpoint: None,
            region: None,
            is_path_style: false,
            allows_http: false,
            credentials: Credentials::Environment,
        }))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Local(path) => path.display().fmt(f),
            Place::S3(S3Place { bucket, prefix, .. }) if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Place::S3(S3Place { bucket, prefix, .. }) => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_what_it_prints() {
        for text in ["/var/lib/muster/history", "s3://bucket", "s3://bucket/a/b", "relative/folder"] {
            assert_eq!(Place::parse(text).map(|place| place.to_string()), Ok(text.to_owned()));
        }
        assert_eq!(Place::parse("s3://b/a/").map(|place| place.to_string()), Ok("s3://b/a".to_owned()));
    }

    #[test]
    fn what_is_no_place_is_refused_with_examples() {
        for text in ["", "gs://bucket", "s3://", "s3:///x", "s3://bu cket/x", "s3://bucket/a//b"] {
            let error = Place::parse(text).expect_err(text).to_string();
            assert!(error.contains("s3://bucket/prefix"), "{error}");
        }
    }
}
