//! A bucket of an S3-compatible store.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::client::SpawnedReqwestConnector;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use secrecy::ExposeSecret;

use crate::store::error::{self, StoreError};
use crate::store::place::{Credentials, Place, S3Place};

/// Longest wait for a connection.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest request: the largest file over 3 Mbit/s.
const REQUEST_MAX: Duration = Duration::from_secs(120);
/// Tries after the first before the caller hears of it; who writes tries on by himself.
const RETRIES_MAX: usize = 3;
/// Longest time of all tries of one request.
const RETRIES_TIME_MAX: Duration = Duration::from_secs(30);

/// Opens a bucket, with names under its prefix. Nothing is asked of it yet. Its requests run on the tokio runtime that
/// this is called in, whoever waits for them: a connection must not stand still with the thread that made it.
pub fn open_bucket(bucket: &S3Place) -> Result<Arc<dyn ObjectStore>, StoreError> {
    // Without a provider the HTTP client cannot be made at all. An error says that there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let options = ClientOptions::new()
        .with_connect_timeout(CONNECT_MAX)
        .with_timeout(REQUEST_MAX)
        .with_allow_http(bucket.allows_http);
    let retry = RetryConfig {
        backoff: BackoffConfig::default(),
        max_retries: RETRIES_MAX,
        retry_timeout: RETRIES_TIME_MAX,
    };
    let mut builder = AmazonS3Builder::from_env()
        .with_bucket_name(&bucket.bucket)
        .with_virtual_hosted_style_request(!bucket.is_path_style)
        .with_client_options(options)
        .with_retry(retry)
        .with_http_connector(SpawnedReqwestConnector::new(tokio::runtime::Handle::current()));
    if let Some(endpoint) = &bucket.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &bucket.region {
        builder = builder.with_region(region);
    }
    if let Credentials::Key { access_key_id, secret_access_key, session_token } = &bucket.credentials {
        builder = builder
            .with_access_key_id(access_key_id)
            .with_secret_access_key(secret_access_key.expose_secret());
        if let Some(token) = session_token {
            builder = builder.with_token(token.expose_secret());
        }
    }
    let place = Place::S3(bucket.clone()).to_string();
    let objects = builder.build().map_err(|e| error::of_objects(&place, "use it", e))?;
    if bucket.prefix.is_empty() {
        return Ok(Arc::new(objects));
    }
    Ok(Arc::new(PrefixStore::new(objects, bucket.prefix.as_str())))
}
