//! Changing the authority: what the collector notes by itself, and what the operator does.

use std::path::Path;

use muster::clock::WallTime;
use rcgen::{Issuer, KeyPair};
use rustls_pki_types::CertificateDer;

use super::kept::{Kept, KeyPem, Own, Retired};
use super::{AuthorityError, Brought, PeerCertificate, certificate_of, fingerprint, issue};
use crate::agents;
use crate::config::AuthoritySettings;
use crate::record_file::{self, Edit, RecordFileError};

/// Authorities that may be trusted besides the current one: each is a certificate in every handshake.
const RETIRED_MAX: usize = 8;

/// What there is to know of the authority.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// SHA-256 of that in hexadecimal digits.
    pub fingerprint: String,
    /// When it ends.
    pub not_after: WallTime,
    /// Whether its files were brought along.
    pub is_brought_along: bool,
    /// Those before it that are still trusted.
    pub retired: Vec<RetiredAuthority>,
}

/// One that issues nothing any more.
#[derive(Debug, Clone)]
pub struct RetiredAuthority {
    /// SHA-256 of its certificate in hexadecimal digits.
    pub fingerprint: String,
    /// When the last certificate of it has ended.
    pub trusted_until: WallTime,
}

/// What a rotation did.
#[derive(Debug, Clone)]
pub struct Rotated {
    /// The new authority's fingerprint.
    pub fingerprint: String,
    /// The one before; `None` when there was none.
    pub retired: Option<RetiredAuthority>,
}

/// Reads what there is, and changes nothing; `None` before the collector's first start.
pub fn known(data_dir: &Path, settings: &AuthoritySettings) -> Result<Option<Known>, AuthorityError> {
    let kept: Kept = record_file::read(data_dir)?;
    let certificate = match (&settings.files, &kept.own) {
        (Some(files), _) => Brought::read(files)?.chain.into_iter().next(),
        (None, Some(own)) => Some(certificate_of(&own.certificate_pem)?),
        (None, None) => None,
    };
    let Some(certificate) = certificate else { return Ok(None) };
    let retired: Result<Vec<_>, _> = kept.retired.iter().map(told).collect();
    Ok(Some(Known {
        fingerprint: fingerprint(&certificate),
        not_after: PeerCertificate::of(&certificate).not_after,
        certificate,
        is_brought_along: settings.files.is_some(),
        retired: retired?,
    }))
}

/// Makes a new authority of the collector's own. The one before stays trusted until `until`, when the last certificate that
/// it issued has ended; its key is gone.
pub fn rotate(
    data_dir: &Path,
    settings: &AuthoritySettings,
    now: WallTime,
    until: WallTime,
) -> Result<Rotated, AuthorityError> {
    if settings.files.is_some() {
        return Err(AuthorityError::BroughtAlong);
    }
    let mut edit = Edit::<Kept>::open(data_dir)?;
    let kept = &mut edit.document;
    forget_ended(kept, now);
    if kept.retired.len() >= RETIRED_MAX {
        return Err(AuthorityError::TooMany(RETIRED_MAX));
    }
    let key = KeyPair::generate()?;
    let (made, name) = issue::authority(&key, now)?;
    let next = Own { certificate_pem: made.pem, key_pem: KeyPem::new(key.serialize_pem()) };
    let mut retired = None;
    if let Some(old) = kept.own.replace(next) {
        let bridge = issue::bridge(&key, name, &issuer_of(&old)?, now, until)?;
        let record = Retired {
            certificate_pem: old.certificate_pem,
            bridge_pem: Some(bridge.pem),
            trusted_until_us: until.0,
        };
        retired = Some(told(&record)?);
        kept.retired.push(record);
    }
    edit.save()?;
    Ok(Rotated { fingerprint: fingerprint(&made.der), retired })
}

/// When the last certificate that was issued up to now has ended. A life may have been longer when it was issued than it is
/// now.
pub fn last_end(
    data_dir: &Path,
    settings: &AuthoritySettings,
    now: WallTime,
) -> Result<WallTime, RecordFileError> {
    let last = agents::last_end(data_dir)?;
    Ok(last.max(WallTime(now.0.saturating_add(settings.certificate_life.as_micros() as u64))))
}

/// Forgets what has ended, retires what is not in use any more, and makes an own authority if there is none.
pub(super) fn note(
    kept: &mut Kept,
    brought: Option<&Brought>,
    now: WallTime,
    until: WallTime,
) -> Result<(), AuthorityError> {
    forget_ended(kept, now);
    let brought_pem = brought.map(|brought| brought.pem.as_str());
    let retire = |certificate_pem| Retired { certificate_pem, bridge_pem: None, trusted_until_us: until.0 };
    if kept.brought_pem.as_deref() != brought_pem {
        let before = std::mem::replace(&mut kept.brought_pem, brought_pem.map(str::to_owned));
        kept.retired.extend(before.map(retire));
    }
    match (brought, kept.own.take()) {
        (Some(brought), Some(own)) => {
            let bridge = bridge_to(brought, &own, now, until).inspect_err(|error| {
                tracing::warn!(%error, "agents that enrolled under the collector's own authority do not know the one that \
                    was brought along, and have to enrol anew if it issues the collector's certificate");
            });
            kept.retired.push(Retired { bridge_pem: bridge.ok(), ..retire(own.certificate_pem) });
        }
        (None, None) => {
            let key = KeyPair::generate()?;
            let (made, _) = issue::authority(&key, now)?;
            kept.own = Some(Own { certificate_pem: made.pem, key_pem: KeyPem::new(key.serialize_pem()) });
        }
        (_, own) => kept.own = own,
    }
    // One that was brought along again is current, whatever it was before.
    kept.retired.retain(|retired| Some(retired.certificate_pem.as_str()) != brought_pem);
    let excess = kept.retired.len().saturating_sub(RETIRED_MAX);
    kept.retired.drain(..excess);
    Ok(())
}

/// What was brought along, signed by the own authority: who trusts only that trusts this.
fn bridge_to(brought: &Brought, own: &Own, now: WallTime, until: WallTime) -> Result<String, AuthorityError> {
    let first = brought.chain.first().ok_or(AuthorityError::Ended)?;
    let name = issue::subject_of(first)?;
    Ok(issue::bridge(&brought.key, name, &issuer_of(own)?, now, until)?.pem)
}

fn issuer_of(own: &Own) -> Result<Issuer<'static, KeyPair>, AuthorityError> {
    let key = KeyPair::from_pem(own.key_pem.expose())?;
    Ok(Issuer::from_ca_cert_der(&certificate_of(&own.certificate_pem)?, key)?)
}

fn forget_ended(kept: &mut Kept, now: WallTime) {
    kept.retired.retain(|retired| retired.trusted_until_us > now.0);
}

fn told(retired: &Retired) -> Result<RetiredAuthority, AuthorityError> {
    Ok(RetiredAuthority {
        fingerprint: fingerprint(&certificate_of(&retired.certificate_pem)?),
        trusted_until: WallTime(retired.trusted_until_us),
    })
}
