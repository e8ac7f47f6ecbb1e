//! Making certificates: of authorities, of agents, of the collector itself. Times and keys come in, nothing is kept.

use std::time::Duration;

use muster::clock::WallTime;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::der_parser::asn1_rs::Tag;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{AgentName, AuthorityError};

/// An authority is rotated long before.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// How far a certificate begins in the past, for clocks that are behind: at most this, and a tenth of its life.
const BACKDATED_MAX: Duration = Duration::from_secs(5 * 60);
/// Serial numbers are random, of the 20 bytes that RFC 5280 allows.
const SERIAL_BYTES: usize = 16;

/// A certificate, and from when to when it lives.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) der: CertificateDer<'static>,
    pub(super) pem: String,
    pub(super) serial: String,
    pub(super) not_before: WallTime,
    pub(super) not_after: WallTime,
}

/// An authority of its own name, signed by itself.
pub(super) fn authority(key: &KeyPair, now: WallTime) -> Result<(Made, DistinguishedName), AuthorityError> {
    let mut params = params(now, AUTHORITY_LIFE, None)?;
    let name = named(&format!("Muster authority {}", &params.serial_text[..8]));
    params.distinguished_name = name.clone();
    may_issue(&mut params);
    let certificate = params.inner.self_signed(key)?;
    Ok((params.made(certificate), name))
}

/// The next authority, signed by the one before it.
pub(super) fn bridge(
    next: &impl PublicKeyData,
    next_name: DistinguishedName,
    by: &Issuer<'_, KeyPair>,
    now: WallTime,
    until: WallTime,
) -> Result<Made, AuthorityError> {
    let mut params = params(now, until.since(now), None)?;
    params.distinguished_name = next_name;
    may_issue(&mut params);
    let certificate = params.inner.signed_by(next, by)?;
    Ok(params.made(certificate))
}

/// The name of an authority as it stands in the certificates that it issues.
pub(super) fn subject_of(certificate: &CertificateDer<'_>) -> Result<DistinguishedName, AuthorityError> {
    let unreadable = || rcgen::Error::CouldNotParseCertificate;
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| unreadable())?;
    let mut name = DistinguishedName::new();
    for part in parsed.subject().iter_attributes() {
        let oid = part.attr_type().iter().ok_or_else(unreadable)?;
        let value = part.attr_value();
        let text = std::str::from_utf8(value.data).map_err(|_| unreadable())?;
        // The same kinds as rcgen's for an issuer; the two with wide characters are of the last century.
        let value = match value.header.tag() {
            Tag::Utf8String => DnValue::Utf8String(text.to_owned()),
            Tag::PrintableString => DnValue::PrintableString(text.try_into()?),
            Tag::Ia5String => DnValue::Ia5String(text.try_into()?),
            Tag::T61String => DnValue::TeletexString(text.try_into()?),
            _ => return Err(unreadable().into()),
        };
        name.push(DnType::from_oid(&oid.collect::<Vec<_>>()), value);
    }
    Ok(name)
}

/// An agent's.
pub(super) fn of_agent(
    name: &AgentName,
    key: &impl PublicKeyData,
    by: &Issuer<'_, KeyPair>,
    now: WallTime,
    life: Duration,
    last: WallTime,
) -> Result<Made, AuthorityError> {
    let mut params = params(now, life, Some(last))?;
    // The name is in the URI alone: a common name has 64 characters at most, and nobody reads it.
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(name.to_string().try_into()?)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.inner.signed_by(key, by)?;
    Ok(params.made(certificate))
}

/// The collector's own, for these names and addresses.
pub(super) fn of_server(
    names: &[String],
    key: &KeyPair,
    by: &Issuer<'_, KeyPair>,
    now: WallTime,
    life: Duration,
    last: WallTime,
) -> Result<Made, AuthorityError> {
    let mut params = params(now, life, Some(last))?;
    params.subject_alt_names = CertificateParams::new(names)?.subject_alt_names;
    params.distinguished_name = named("Muster collector");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.inner.signed_by(key, by)?;
    Ok(params.made(certificate))
}

struct Params {
    inner: CertificateParams,
    serial_text: String,
    not_before: WallTime,
    not_after: WallTime,
}

impl std::ops::Deref for Params {
    type Target = CertificateParams;

    fn deref(&self) -> &CertificateParams {
        &self.inner
    }
}

impl std::ops::DerefMut for Params {
    fn deref_mut(&mut self) -> &mut CertificateParams {
        &mut self.inner
    }
}

impl Params {
    fn made(&self, certificate: rcgen::Certificate) -> Made {
        Made {
            pem: certificate.pem(),
            der: certificate.into(),
            serial: self.serial_text.clone(),
            not_before: self.not_before,
            not_after: self.not_after,
        }
    }
}

/// A life from a little before `now`, that ends with its issuer's at the latest.
fn params(now: WallTime, life: Duration, last: Option<WallTime>) -> Result<Params, AuthorityError> {
    let mut serial = [0; SERIAL_BYTES];
    getrandom::fill(&mut serial).map_err(|_| AuthorityError::Randomness)?;
    // Positive, and never shorter: RFC 5280 section 4.1.2.2.
    serial[0] = serial[0] & 0x7f | 0x40;
    let backdated = BACKDATED_MAX.min(life / 10);
    let whole_seconds = |us: u64| WallTime(us - us % 1_000_000);
    let not_before = whole_seconds(now.0.saturating_sub(backdated.as_micros() as u64));
    let ends_at = whole_seconds(now.0.saturating_add(life.as_micros() as u64));
    let not_after = last.map_or(ends_at, |last| WallTime(last.0.min(ends_at.0)));
    let mut inner = CertificateParams::default();
    inner.serial_number = Some(SerialNumber::from_slice(&serial));
    inner.not_before = date(not_before)?;
    inner.not_after = date(not_after)?;
    inner.use_authority_key_identifier_extension = true;
    let serial_text = serial.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Params { inner, serial_text, not_before, not_after })
}

/// Without a bound on the length of chains: bridges over several rotations stand in a row.
fn may_issue(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

fn date(time: WallTime) -> Result<OffsetDateTime, AuthorityError> {
    let seconds = i64::try_from(time.0 / 1_000_000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| AuthorityError::Clock)
}
