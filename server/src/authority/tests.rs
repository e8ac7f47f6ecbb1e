//! Rotation, by the eyes of those who verify.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use muster::atomic_file::{Access, replace};
use muster::clock::ManualClock;
use muster::ids::AgentId;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa};
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{ServerName, UnixTime};

use super::*;
use crate::agents::AgentFile;

const NAME: &str = "collector.example";
const HOUR_US: u64 = 3_600_000_000;

struct Bench {
    dir: tempfile::TempDir,
    clock: ManualClock,
    settings: AuthoritySettings,
}

impl Bench {
    fn new() -> Self {
        let clock = ManualClock::at(WallTime(1_771_588_800_000_000));
        let settings = AuthoritySettings { files: None, certificate_life: Duration::from_secs(3_600) };
        Self { dir: tempfile::tempdir().expect("folder"), clock, settings }
    }

    fn open(&self) -> Arc<Authority> {
        let opened = Authority::open(self.dir.path(), self.settings.clone(), Arc::new(self.clock.clone()));
        opened.expect("opens")
    }

    fn rotate(&self) -> Rotated {
        let until = WallTime(self.clock.wall().0 + HOUR_US);
        rotate(self.dir.path(), &self.settings, self.clock.wall(), until).expect("rotates")
    }

    fn now(&self) -> UnixTime {
        UnixTime::since_unix_epoch(Duration::from_micros(self.clock.wall().0))
    }

    /// Whether who trusts these authorities takes the collector's certificate.
    fn trusts(&self, authorities: &[CertificateDer<'static>], own: &CertifiedKey) -> bool {
        let mut roots = RootCertStore::empty();
        authorities.iter().for_each(|authority| roots.add(authority.clone()).expect("an authority"));
        let provider = Arc::new(ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let name = ServerName::try_from(NAME).expect("a name");
        let verifier = verifier.build().expect("roots");
        verifier.verify_server_cert(&own.cert[0], &own.cert[1..], &name, &[], self.now()).is_ok()
    }

    fn takes(&self, authority: &Authority, issued: &Issued) -> bool {
        let (first, rest) = issued.chain.split_first().expect("a chain");
        authority.trust().verify_client_cert(first, rest, self.now()).is_ok()
    }
}

fn own(authority: &Authority) -> CertifiedKey {
    authority.issue_own(&[NAME.to_owned()]).expect("issued").0
}

fn agent() -> AgentName {
    AgentName { team: "red".parse().expect("team"), agent: AgentId::from_bytes([7; 16]) }
}

fn key() -> ProvenKey {
    let key = KeyPair::generate().expect("a key");
    let request = CertificateParams::default().serialize_request(&key).expect("a request");
    ProvenKey::of_request(request.der()).expect("signed")
}

#[test]
fn the_authority_is_made_once_and_its_certificates_say_who_they_are_of() {
    let bench = Bench::new();
    let authority = bench.open();
    let issued = authority.issue(&agent(), &key()).expect("issued");
    let read = PeerCertificate::of(&issued.chain[0]);
    assert_eq!((read.name.as_ref(), read.not_after), (Some(&agent()), issued.not_after));
    assert_eq!((&read.serial, &read.sha256), (&issued.serial, &fingerprint(&issued.chain[0])));
    assert_eq!(issued.not_after.0, bench.clock.wall().0 + HOUR_US);
    assert!(issued.not_before < bench.clock.wall());
    let again = bench.open();
    assert_eq!(again.fingerprint(), authority.fingerprint());
    assert!(bench.takes(&again, &issued) && bench.trusts(&issued.authorities, &own(&again)));
    let other = Bench::new().open();
    assert!(!bench.takes(&other, &issued), "another collector's authority is none of ours");
    bench.clock.advance(Duration::from_secs(3_601));
    assert!(!bench.takes(&again, &issued), "it has ended");
}

#[test]
fn a_certificate_of_one_kind_is_not_taken_for_the_other() {
    let bench = Bench::new();
    let authority = bench.open();
    let of_agent = authority.issue(&agent(), &key()).expect("issued");
    let of_server = own(&authority);
    let trust = authority.trust();
    assert!(trust.verify_client_cert(&of_server.cert[0], &[], bench.now()).is_err());
    let signing = ring::sign::any_supported_type(&PrivateKeyDer::Pkcs8(
        KeyPair::generate().expect("a key").serialize_der().into(),
    ));
    let posing = CertifiedKey::new(of_agent.chain, signing.expect("a key"));
    assert!(!bench.trusts(&of_agent.authorities, &posing));
}

#[test]
fn a_rotation_cuts_nobody_off_and_the_old_authority_is_forgotten_with_its_last_certificate() {
    let bench = Bench::new();
    let authority = bench.open();
    let before = authority.issue(&agent(), &key()).expect("issued");
    let first = authority.fingerprint();
    let mut trusted_only = vec![before.authorities.clone()];
    for _ in 0..2 {
        bench.clock.advance(Duration::from_secs(60));
        let rotated = bench.rotate();
        assert!(authority.look().expect("readable"));
        assert_eq!(authority.fingerprint(), rotated.fingerprint);
        trusted_only.push(vec![authority.current.load().certificate.clone()]);
    }
    assert_eq!(authority.current.load().trusted.len(), 3);
    for (n, trusted) in trusted_only.iter().enumerate() {
        assert!(bench.trusts(trusted, &own(&authority)), "who trusts only the authority {n}");
    }
    assert!(bench.takes(&authority, &before), "a certificate of the first");
    let after = authority.issue(&agent(), &key()).expect("issued");
    assert!(bench.takes(&authority, &after) && after.authorities.len() == 3);

    bench.clock.advance(Duration::from_secs(3_600));
    assert!(authority.look().expect("readable"), "the first is due");
    assert!(!bench.takes(&authority, &before));
    assert_eq!(bench.open().fingerprint(), authority.fingerprint());
    let told = known(bench.dir.path(), &bench.settings).expect("readable").expect("there");
    assert!(told.retired.iter().all(|retired| retired.fingerprint != first));
}

thread_local! {
    /// What a test has happen when what is kept has been read.
    static MEANWHILE: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

fn read_and_then_it_changes(data_dir: &Path) -> Result<Kept, RecordFileError> {
    let read = record_file::read(data_dir);
    if let Some(change) = MEANWHILE.take() {
        change();
    }
    read
}

fn cannot_be_read(data_dir: &Path) -> Result<Kept, RecordFileError> {
    // No descriptor is left.
    Err(RecordFileError::Io {
        what: "read",
        path: data_dir.to_owned(),
        source: io::Error::from_raw_os_error(24),
    })
}

#[test]
fn a_rotation_while_the_file_is_read_is_seen_at_the_next_look() {
    let bench = Bench::new();
    let authority = bench.open();
    bench.rotate();
    let (dir, settings, now) = (bench.dir.path().to_owned(), bench.settings.clone(), bench.clock.wall());
    let until = WallTime(now.0 + HOUR_US);
    MEANWHILE.set(Some(Box::new(move || {
        rotate(&dir, &settings, now, until).expect("rotates");
    })));
    assert!(authority.look_by(read_and_then_it_changes).expect("readable"));
    assert!(authority.look().expect("readable"), "the second rotation is missed");
    assert_eq!(authority.fingerprint(), bench.open().fingerprint());
    assert!(!authority.look().expect("readable"));
}

#[test]
fn what_could_not_be_read_is_read_at_the_next_look_though_nothing_changed() {
    let bench = Bench::new();
    let authority = bench.open();
    let rotated = bench.rotate();
    assert!(authority.look_by(cannot_be_read).is_err());
    assert!(authority.look().expect("readable"), "the rotation is missed");
    assert_eq!(authority.fingerprint(), rotated.fingerprint);
}

#[test]
fn an_authority_that_is_brought_along_issues_and_the_one_before_stays_trusted() {
    let mut bench = Bench::new();
    let own_first = bench.open();
    let before = own_first.issue(&agent(), &key()).expect("issued");
    let files =
        TlsFiles { cert_file: bench.dir.path().join("ca.pem"), key_file: bench.dir.path().join("ca.key") };
    let bring = |is_ca| {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let country = DnValue::PrintableString("DE".try_into().expect("printable"));
        params.distinguished_name.push(DnType::CountryName, country);
        params.distinguished_name.push(DnType::OrganizationName, "Example, the");
        params.is_ca = if is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::NoCa };
        let pem = params.self_signed(&key).expect("certificate").pem();
        replace(&files.cert_file, pem.as_bytes(), Access::Umask).expect("written");
        replace(&files.key_file, key.serialize_pem().as_bytes(), Access::Owner).expect("written");
    };
    bring(true);
    // From when a certificate lived longer.
    let long_us = before.not_after.0 + 100 * HOUR_US;
    let record = serde_json::json!({
        "id": agent().agent, "team": "red", "name": "laptop", "enrolled_us": 1, "serial": "01", "not_after_us": long_us,
        "token_id": muster::credential::Token::from_random([1; 44]).id(),
    });
    let record = serde_json::from_value(record).expect("a record");
    AgentFile::edit(bench.dir.path()).expect("free").enrolled(record).expect("kept");
    bench.settings.files = Some(files.clone());
    let authority = bench.open();
    let issued = authority.issue(&agent(), &key()).expect("issued");
    assert!(bench.takes(&authority, &issued) && bench.takes(&authority, &before));
    assert!(bench.trusts(&before.authorities, &own(&authority)), "who knows the collector's own alone");
    let told = known(bench.dir.path(), &bench.settings).expect("readable").expect("there");
    assert_eq!(told.retired[0].trusted_until.0, long_us, "as long as its last certificate");
    let refused = rotate(bench.dir.path(), &bench.settings, WallTime(1), WallTime(2)).err();
    assert!(matches!(refused, Some(AuthorityError::BroughtAlong)));

    bring(true);
    assert!(authority.look().expect("valid"), "replaced while it runs");
    let next = authority.issue(&agent(), &key()).expect("issued");
    assert!(bench.takes(&authority, &next) && bench.takes(&authority, &issued));
    bring(false);
    assert!(matches!(authority.look(), Err(AuthorityError::NotAnAuthority { .. })));
    assert!(bench.takes(&authority, &next), "the one before stays in use");
}

#[cfg(unix)]
#[test]
fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    bench.open();
    let path = bench.dir.path().join("authority/authority.json");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    let opened = Authority::open(bench.dir.path(), bench.settings.clone(), Arc::new(bench.clock.clone()));
    let refused = opened.expect_err("loose").to_string();
    assert!(refused.contains("chmod 600"), "{refused}");
    assert!(!format!("{:?}", bench.dir).contains("PRIVATE"));
}
