use std::sync::atomic::{AtomicU8, Ordering};

use muster::atomic_file::{Access, replace};
use muster::ids::AgentId;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use time::OffsetDateTime;

use super::*;
use crate::authority::AgentName;

/// 2026-02-20, noon.
const NOON_S: i64 = 1_771_588_800;
const NOW: WallTime = WallTime(NOON_S as u64 * 1_000_000);
const NAME: &str = "prometheus.monitoring.svc";

type Chain = Vec<CertificateDer<'static>>;

/// An authority with a name of its own, good for a year around noon.
struct Ca(Issuer<'static, KeyPair>, rcgen::Certificate);

fn params(names: &[SanType], days: (i64, i64)) -> CertificateParams {
    let day = |n: i64| OffsetDateTime::from_unix_timestamp(NOON_S + n * 86_400).expect("a time");
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.to_vec();
    (params.not_before, params.not_after) = (day(days.0), day(days.1));
    params
}

fn ca_params() -> CertificateParams {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let mut params = params(&[], (-180, 180));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(DnType::CommonName, format!("ca {}", NEXT.fetch_add(1, Ordering::Relaxed)));
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

impl Ca {
    fn new() -> Self {
        let (params, key) = (ca_params(), key());
        let certificate = params.self_signed(&key).expect("signed");
        Self(Issuer::new(params, key), certificate)
    }

    /// One that this one has signed.
    fn intermediate(&self) -> Self {
        let (params, key) = (ca_params(), key());
        let certificate = params.signed_by(&key, &self.0).expect("signed");
        Self(Issuer::new(params, key), certificate)
    }

    fn der(&self) -> CertificateDer<'static> {
        self.1.der().clone()
    }

    fn issue_for(&self, names: &[SanType], days: (i64, i64), usage: ExtendedKeyUsagePurpose) -> Chain {
        let mut params = params(names, days);
        params.extended_key_usages = vec![usage];
        vec![params.signed_by(&key(), &self.0).expect("signed").der().clone()]
    }

    fn issue(&self, names: &[SanType]) -> Chain {
        self.issue_for(names, (-1, 1), ExtendedKeyUsagePurpose::ClientAuth)
    }
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ASCII"))
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

fn red() -> Sight {
    Sight::Team("red".parse().expect("a team"))
}

/// Agents of one authority, readers of another.
struct Bench {
    dir: tempfile::TempDir,
    own: Ca,
    theirs: Ca,
    readers: Arc<Readers>,
}

fn listed(entries: &[(&str, Sight)]) -> Vec<(ReaderName, Sight)> {
    entries.iter().map(|(name, sight)| (name.parse().expect("a name"), sight.clone())).collect()
}

impl Bench {
    fn new(entries: &[(&str, Sight)]) -> Self {
        Self::of(Ca::new(), Ca::new(), entries)
    }

    fn of(own: Ca, theirs: Ca, entries: &[(&str, Sight)]) -> Self {
        let dir = tempfile::tempdir().expect("folder");
        let agents = Arc::new(ClientTrust::new(&[own.der()]).expect("an authority"));
        let ca_file = dir.path().join("ca.pem");
        replace(&ca_file, theirs.1.pem().as_bytes(), Access::Umask).expect("written");
        let settings = HttpClients { ca_file, listed: listed(entries) };
        let readers = Readers::new(agents, Prepared::read(Some(settings)).expect("valid"));
        Self { dir, own, theirs, readers }
    }

    fn write(&self, text: &str) {
        replace(&self.dir.path().join("ca.pem"), text.as_bytes(), Access::Umask).expect("written");
    }

    fn list(&self, entries: &[(&str, Sight)]) {
        let settings = HttpClients { ca_file: self.dir.path().join("ca.pem"), listed: listed(entries) };
        assert!(self.readers.set(Prepared::read(Some(settings.clone())).expect("valid")));
        assert!(!self.readers.set(Prepared::read(Some(settings)).expect("valid")), "it is the same");
    }

    /// Whether the handshake goes on.
    fn is_let_in(&self, chain: &Chain) -> bool {
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_micros(NOW.0));
        self.readers.verify_client_cert(&chain[0], &chain[1..], now).is_ok()
    }

    /// As the connection sees it.
    fn sorted(&self, chain: &Chain) -> PeerCertificate {
        let certificate = PeerCertificate::of(&chain[0]);
        let is_agents = self.readers.is_agents(&certificate, chain, NOW);
        if is_agents { certificate } else { certificate.into_readers(chain) }
    }

    fn reads(&self, chain: &Chain) -> Option<Sight> {
        assert!(self.is_let_in(chain), "its handshake fails");
        let sorted = self.sorted(chain);
        self.readers.admit(sorted.reader.as_ref()?, NOW).map(|(_, sight)| sight)
    }
}

#[test]
fn a_listed_name_of_the_readers_authority_reads_and_no_other() {
    let spiffe = "spiffe://cluster.local/ns/monitoring/sa/prometheus";
    let bench = Bench::new(&[(NAME, red()), (spiffe, Sight::All)]);
    let reads = |names: &[SanType]| bench.reads(&bench.theirs.issue(names));
    assert_eq!(reads(&[dns(NAME)]), Some(red()));
    assert_eq!(reads(&[uri(spiffe)]), Some(Sight::All));
    assert_eq!(reads(&[dns("other.example"), dns(NAME)]), Some(red()), "any of its names");
    assert_eq!(reads(&[uri(spiffe), dns(NAME)]), Some(red()), "the first entry, not the first name");
    for names in [
        vec![],
        vec![dns("other.example")],
        vec![dns("PROMETHEUS.monitoring.svc")],
        vec![dns("a.prometheus.monitoring.svc")],
        vec![dns("*.monitoring.svc")],
        // The text is that of an entry, and not of its kind.
        vec![dns(spiffe)],
        vec![uri(NAME)],
    ] {
        assert_eq!(reads(&names), None, "{names:?}");
    }
}

#[test]
fn whose_a_certificate_is_comes_from_who_issued_it_and_never_from_its_name() {
    let bench = Bench::new(&[(NAME, Sight::All)]);
    let agent = AgentName { team: "red".parse().expect("team"), agent: AgentId::from_bytes([7; 16]) };
    let genuine = bench.own.issue(&[uri(&agent.to_string())]);
    assert!(bench.is_let_in(&genuine));
    let sorted = bench.sorted(&genuine);
    assert_eq!((sorted.name, sorted.reader), (Some(agent.clone()), None));

    let forged = bench.theirs.issue(&[uri(&agent.to_string())]);
    assert!(bench.is_let_in(&forged));
    assert_eq!(bench.sorted(&forged).name, None, "taken for an agent");
    assert_eq!(bench.reads(&forged), None);

    let of_own_authority = bench.own.issue(&[dns(NAME)]);
    assert!(bench.is_let_in(&of_own_authority));
    assert_eq!(bench.sorted(&of_own_authority).reader, None, "taken for a reader");
    let stranger = Ca::new();
    assert!(!bench.is_let_in(&stranger.issue(&[dns(NAME)])));
}

#[test]
fn where_both_authorities_go_back_to_one_root_agents_stay_agents() {
    let root = Ca::new();
    let own = root.intermediate();
    let agents_intermediate = own.der();
    let bench = Bench::of(own, root, &[(NAME, Sight::All)]);
    let mut of_agents_authority = bench.own.issue(&[dns(NAME)]);
    of_agents_authority.push(agents_intermediate);
    assert!(bench.is_let_in(&of_agents_authority));
    assert_eq!(bench.sorted(&of_agents_authority).reader, None);
    let other = bench.theirs.intermediate();
    let mut through_another = other.issue(&[dns(NAME)]);
    through_another.push(other.der());
    assert_eq!(bench.reads(&through_another), Some(Sight::All));
}

#[test]
fn a_certificate_that_has_ended_or_not_begun_or_is_for_a_server_gets_through_no_handshake() {
    let bench = Bench::new(&[(NAME, Sight::All)]);
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    for (days, usage) in
        [((-2, -1), client.clone()), ((1, 2), client), ((-1, 1), ExtendedKeyUsagePurpose::ServerAuth)]
    {
        assert!(!bench.is_let_in(&bench.theirs.issue_for(&[dns(NAME)], days, usage)), "{days:?}");
    }
}

#[test]
fn one_that_got_in_before_is_judged_by_the_list_and_the_authority_of_now() {
    let bench = Bench::new(&[(NAME, Sight::All)]);
    let chain = bench.theirs.issue(&[dns(NAME)]);
    let shown = bench.sorted(&chain).reader.expect("a reader's");
    let reads = |at: WallTime| bench.readers.admit(&shown, at).map(|(_, sight)| sight);
    assert_eq!(reads(NOW), Some(Sight::All));
    assert_eq!(reads(WallTime(NOW.0 + 2 * 86_400_000_000)), None, "it has ended");
    bench.list(&[(NAME, red())]);
    assert_eq!(reads(NOW), Some(red()));
    bench.list(&[]);
    assert_eq!(reads(NOW), None);
    bench.write(&Ca::new().1.pem());
    bench.list(&[(NAME, red())]);
    assert_eq!(reads(NOW), None, "of an authority that is none any more");
    bench.readers.set(Prepared::read(None).expect("nothing to read"));
    assert_eq!(reads(NOW), None);
    assert!(!bench.is_let_in(&chain));
}

#[test]
fn another_file_is_taken_and_a_broken_one_leaves_the_authorities_from_before_and_is_told_once() {
    let bench = Bench::new(&[(NAME, Sight::All)]);
    let figures = crate::telemetry::detached_figures();
    let next = Ca::new();
    assert!(!bench.readers.look(&figures), "nothing has changed");
    bench.write(&format!("{}{}", bench.theirs.1.pem(), next.1.pem()));
    assert!(bench.readers.look(&figures));
    for of in [&bench.theirs, &next] {
        assert_eq!(bench.reads(&of.issue(&[dns(NAME)])), Some(Sight::All));
    }
    bench.write("not a certificate");
    assert!(!bench.readers.look(&figures) && !bench.readers.look(&figures));
    assert_eq!(figures.reloads.value(Reload::HttpClientCaRefused), 1);
    assert_eq!(bench.reads(&next.issue(&[dns(NAME)])), Some(Sight::All));
    std::fs::remove_file(bench.dir.path().join("ca.pem")).expect("there");
    assert!(!bench.readers.look(&figures));
    bench.write(&next.1.pem());
    assert!(bench.readers.look(&figures));
    assert_eq!(figures.reloads.value(Reload::HttpClientCaApplied), 2);
    assert!(!bench.is_let_in(&bench.theirs.issue(&[dns(NAME)])), "the old one is out");
}

#[test]
fn a_file_that_does_not_say_whose_certificates_are_taken_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("folder");
    let path = dir.path().join("ca.pem");
    let said = || authorities(&path).expect_err("refused").to_string();
    assert!(said().starts_with("cannot read ") && said().contains("ca.pem"), "{}", said());
    let write = |text: &str| replace(&path, text.as_bytes(), Access::Umask).expect("written");
    for text in ["", "words", &key().serialize_pem()] {
        write(text);
        assert!(said().contains("holds no usable certificate in PEM"), "{}", said());
    }
    let ca = Ca::new();
    let leaf = params(&[dns(NAME)], (-1, 1)).signed_by(&key(), &ca.0).expect("signed");
    write(&format!("{}{}", ca.1.pem(), leaf.pem()));
    assert!(said().contains("certificate 2 may not issue others"), "{}", said());
    write(&ca.1.pem().repeat(AUTHORITIES_MAX + 1));
    assert!(said().contains("more than 64 certificates"), "{}", said());
    write(&ca.1.pem().repeat(AUTHORITIES_MAX));
    assert!(authorities(&path).is_ok());
}
