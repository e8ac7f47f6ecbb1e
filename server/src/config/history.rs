//! `[history]`: where rows are kept, and for how long.
//!
//! Secrets are named by the file they are in and read when the collector starts; the configuration never holds one.

use std::path::PathBuf;
use std::time::Duration;

use history::data_dir::HISTORY_FOLDER;
use history::store::{Place, PlaceError, Retention};

use super::destination::{Credential, CredentialError};
use super::{ConfigError, raw::within};

/// All that `[history]` may have.
pub(super) const KEYS: [&str; 14] = [
    "enabled",
    "place",
    "endpoint",
    "region",
    "path_style",
    "allow_http",
    "access_key_id",
    "secret_access_key_file",
    "session_token_file",
    "flush_interval_seconds",
    "retention_days",
    "retention_bytes_max",
    "compaction",
    "reader_stall_seconds",
];

/// Rare enough for large files; what is younger is read from the journal.
const FLUSH_SECONDS_DEFAULT: u64 = 600;
const FLUSH_SECONDS_RANGE: std::ops::RangeInclusive<u64> = 1..=86_400;
/// A year, and the month before it to compare with.
const RETENTION_DAYS_DEFAULT: u32 = 400;
const RETENTION_DAYS_RANGE: std::ops::RangeInclusive<u32> = 1..=36_500;
/// Billions of runs.
const RETENTION_BYTES_DEFAULT: u64 = 64 << 30;
const RETENTION_BYTES_RANGE: std::ops::RangeInclusive<u64> = 1 << 20..=u64::MAX;

/// A reader that is alive takes something within a minute.
const READER_STALL_SECONDS_DEFAULT: u64 = 60;
const READER_STALL_SECONDS_RANGE: std::ops::RangeInclusive<u64> = 1..=3_600;

/// How the history is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistorySettings {
    /// Whether there is one.
    pub enabled: bool,
    /// A folder, or a bucket.
    pub place: PlaceSettings,
    /// How long rows may be in the journal alone.
    pub flush_interval: Duration,
    /// Days go when they are older than this.
    pub retention_days: u32,
    /// The oldest days go when all files are larger than this.
    pub retention_bytes_max: u64,
    /// Whether small files are merged.
    pub compaction: bool,
    /// How long a reader of rows may take nothing before its stream is cut.
    pub reader_stall: Duration,
}

/// Where the history is, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlaceSettings {
    /// A folder.
    Folder(PathBuf),
    /// A bucket.
    Bucket(BucketSettings),
}

/// A bucket, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketSettings {
    /// `s3://bucket/prefix`.
    url: String,
    endpoint: Option<String>,
    region: Option<String>,
    is_path_style: bool,
    allows_http: bool,
    key: Option<KeySettings>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct KeySettings {
    access_key_id: String,
    secret_access_key: Credential,
    session_token: Option<Credential>,
}

/// Why the place cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceSettingsError {
    /// A secret cannot be read.
    #[error("history: {0}")]
    Credential(#[from] CredentialError),
    /// It is none.
    #[error(transparent)]
    Place(#[from] PlaceError),
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct RawHistory {
    enabled: Option<bool>,
    place: Option<String>,
    endpoint: Option<String>,
    region: Option<String>,
    path_style: Option<bool>,
    allow_http: bool,
    access_key_id: Option<String>,
    secret_access_key_file: Option<PathBuf>,
    session_token_file: Option<PathBuf>,
    flush_interval_seconds: Option<u64>,
    retention_days: Option<u32>,
    retention_bytes_max: Option<u64>,
    compaction: Option<bool>,
    reader_stall_seconds: Option<u64>,
}

impl HistorySettings {
    /// What the store takes of it.
    pub fn retention(&self) -> Retention {
        Retention { days_max: Some(self.retention_days), bytes_max: Some(self.retention_bytes_max) }
    }
}

impl PlaceSettings {
    /// The place with its secrets, which are read now.
    pub fn read(&self) -> Result<Place, PlaceSettingsError> {
        use history::store::Credentials;
        let bucket = match self {
            PlaceSettings::Folder(path) => return Ok(Place::Local(path.clone())),
            PlaceSettings::Bucket(bucket) => bucket,
        };
        let mut place = Place::parse(&bucket.url)?;
        if let Place::S3(s3) = &mut place {
            s3.endpoint.clone_from(&bucket.endpoint);
            s3.region.clone_from(&bucket.region);
            s3.is_path_style = bucket.is_path_style;
            s3.allows_http = bucket.allows_http;
            if let Some(key) = &bucket.key {
                s3.credentials = Credentials::Key {
                    access_key_id: key.access_key_id.clone(),
                    secret_access_key: key.secret_access_key.read()?,
                    session_token: key.session_token.as_ref().map(Credential::read).transpose()?,
                };
            }
        }
        Ok(place)
    }
}

impl RawHistory {
    pub(super) fn validate(self, data_dir: &std::path::Path) -> Result<HistorySettings, ConfigError> {
        let flush_seconds = within(
            "history.flush_interval_seconds",
            self.flush_interval_seconds,
            FLUSH_SECONDS_DEFAULT,
            &FLUSH_SECONDS_RANGE,
        )?;
        let retention_days = within(
            "history.retention_days",
            self.retention_days,
            RETENTION_DAYS_DEFAULT,
            &RETENTION_DAYS_RANGE,
        )?;
        let retention_bytes_max = within(
            "history.retention_bytes_max",
            self.retention_bytes_max,
            RETENTION_BYTES_DEFAULT,
            &RETENTION_BYTES_RANGE,
        )?;
        let reader_stall_seconds = within(
            "history.reader_stall_seconds",
            self.reader_stall_seconds,
            READER_STALL_SECONDS_DEFAULT,
            &READER_STALL_SECONDS_RANGE,
        )?;
        Ok(HistorySettings {
            enabled: self.enabled.unwrap_or(true),
            flush_interval: Duration::from_secs(flush_seconds),
            retention_days,
            retention_bytes_max,
            compaction: self.compaction.unwrap_or(true),
            reader_stall: Duration::from_secs(reader_stall_seconds),
            place: self.place(data_dir)?,
        })
    }

    fn place(self, data_dir: &std::path::Path) -> Result<PlaceSettings, ConfigError> {
        let invalid = |setting, problem: String| ConfigError::Invalid { setting, problem };
        let Some(text) = &self.place else {
            self.refuse_bucket_keys()?;
            return Ok(PlaceSettings::Folder(data_dir.join(HISTORY_FOLDER)));
        };
        let parsed = Place::parse(text).map_err(|error| invalid("history.place", error.to_string()))?;
        let Place::S3(_) = parsed else {
            self.refuse_bucket_keys()?;
            if !std::path::Path::new(text).is_absolute() {
                let problem =
                    format!("{text:?} is not absolute: it would depend on where the collector is started");
                return Err(invalid("history.place", problem));
            }
            return Ok(PlaceSettings::Folder(PathBuf::from(text)));
        };
        let url = text.clone();
        self.check_endpoint()?;
        Ok(PlaceSettings::Bucket(BucketSettings {
            url,
            // Stores that are not Amazon's rarely have a name for each bucket.
            is_path_style: self.path_style.unwrap_or(self.endpoint.is_some()),
            allows_http: self.allow_http,
            key: self.key()?,
            endpoint: self.endpoint,
            region: self.region,
        }))
    }

    fn check_endpoint(&self) -> Result<(), ConfigError> {
        let setting = "history.endpoint";
        let Some(endpoint) = &self.endpoint else { return Ok(()) };
        let uri: Option<http::Uri> = endpoint.parse().ok();
        let scheme = uri.as_ref().and_then(http::Uri::scheme_str);
        let problem = match scheme {
            Some("https") => return Ok(()),
            Some("http") if self.allow_http => return Ok(()),
            Some("http") => {
                format!("{endpoint:?} is not encrypted: use https://, or accept that with allow_http = true")
            }
            _ => format!("{endpoint:?} is no address like \"https://s3.example:8333\""),
        };
        Err(ConfigError::Invalid { setting, problem })
    }

    fn key(&self) -> Result<Option<KeySettings>, ConfigError> {
        match (&self.access_key_id, &self.secret_access_key_file) {
            (Some(access_key_id), Some(secret)) => Ok(Some(KeySettings {
                access_key_id: access_key_id.clone(),
                secret_access_key: Credential::File(secret.clone()),
                session_token: self.session_token_file.clone().map(Credential::File),
            })),
            (None, None) if self.session_token_file.is_none() => Ok(None),
            _ => {
                let problem =
                    "needs secret_access_key_file as well, and the other way round; without both, AWS_* \
                               variables are read"
                        .to_owned();
                Err(ConfigError::Invalid { setting: "history.access_key_id", problem })
            }
        }
    }

    fn refuse_bucket_keys(&self) -> Result<(), ConfigError> {
        let given = [
            ("history.endpoint", self.endpoint.is_some()),
            ("history.region", self.region.is_some()),
            ("history.path_style", self.path_style.is_some()),
            ("history.allow_http", self.allow_http),
            ("history.access_key_id", self.access_key_id.is_some()),
            ("history.secret_access_key_file", self.secret_access_key_file.is_some()),
            ("history.session_token_file", self.session_token_file.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            None => Ok(()),
            Some((setting, _)) => {
                let problem = "is for a bucket: set history.place to \"s3://bucket/prefix\"".to_owned();
                Err(ConfigError::Invalid { setting, problem })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Overrides};

    fn parse(text: &str) -> Result<HistorySettings, ConfigError> {
        let overrides = Overrides { data_dir: Some("/data".into()), ..Default::default() };
        Config::parse(&format!("[history]\n{text}"), &overrides).map(|config| config.history)
    }

    #[test]
    fn without_a_word_it_is_kept_in_the_data_folder() {
        let settings = parse("").expect("valid");
        assert!(settings.enabled && settings.compaction);
        assert_eq!(settings.place, PlaceSettings::Folder("/data/history".into()));
        assert_eq!(settings.flush_interval, Duration::from_secs(600));
    }

    #[test]
    fn a_bucket_of_another_store_has_an_endpoint_and_a_key_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("key");
        let access = muster::atomic_file::Access::Owner;
        muster::atomic_file::replace(&secret, b"hush\n", access).unwrap();
        let text = format!(
            "place = \"s3://b/p\"\nendpoint = \"http://127.0.0.1:1\"\nallow_http = true\naccess_key_id = \"id\"\n\
             secret_access_key_file = {secret:?}\n"
        );
        let settings = parse(&text).expect("valid");
        let place = settings.place.read().expect("the file is there");
        let Place::S3(s3) = &place else { panic!("{place}") };
        assert!(s3.is_path_style && s3.allows_http && !format!("{place:?} {settings:?}").contains("hush"));
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_its_key() {
        for (text, key) in [
            ("place = \"gs://b\"", "history.place"),
            ("place = \"relative\"", "history.place"),
            ("endpoint = \"https://a\"", "history.endpoint"),
            ("place = \"s3://b\"\nendpoint = \"http://a\"", "history.endpoint"),
            ("place = \"s3://b\"\nendpoint = \"a\"", "history.endpoint"),
            ("place = \"s3://b\"\naccess_key_id = \"a\"", "history.access_key_id"),
            ("flush_interval_seconds = 0", "history.flush_interval_seconds"),
            ("retention_days = 0", "history.retention_days"),
            ("retention_bytes_max = 5", "history.retention_bytes_max"),
            ("retention_day = 5", "did you mean `retention_days`"),
        ] {
            let said = parse(text).expect_err(text).to_string();
            assert!(said.contains(key), "{text}: {said}");
        }
    }
}
