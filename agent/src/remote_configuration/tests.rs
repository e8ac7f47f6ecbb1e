//! What offers can do, and above all what they cannot.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use muster::atomic_file::{self, Access};
use muster::v1::configuration_report::State as Reported;
use proptest::prelude::*;
use prost::Message;
use sha2::{Digest, Sha256};

use super::stored::Store;
use super::*;
use crate::facts::{ContentField, IdentityPart, Privacy, SampledKind};

const AGENT: AgentId = AgentId::from_bytes([0xab; 16]);

fn issuer() -> Issuer {
    Issuer { server: "https://collector.example:4317/".to_owned(), team: "payments".to_owned() }
}

fn own_settings() -> Settings {
    Settings::own(Privacy::including([ContentField::Files, ContentField::Tasks]), Duration::from_secs(60))
}

fn own(takes_offers: bool) -> Own {
    Own { settings: own_settings(), takes_offers, labels: BTreeMap::from([("kind".into(), "ci".into())]) }
}

fn agent_in(state_dir: &Path) -> RemoteConfiguration {
    RemoteConfiguration::load(own(true), AGENT, state_dir.to_owned())
}

fn offer_of(settings: &v1::OfferedSettings) -> v1::ConfigurationOffer {
    let settings = settings.encode_to_vec();
    let hash = if settings.is_empty() { Vec::new() } else { Sha256::digest(&settings).to_vec() };
    v1::ConfigurationOffer { hash, settings, name: "ci-machines".to_owned() }
}

fn strict() -> v1::ConfigurationOffer {
    offer_of(&v1::OfferedSettings {
        sampling: vec![v1::Sampling { kind: "tool_call".to_owned(), one_in: 10 }],
        withheld_content: vec!["files".to_owned()],
        withheld_identity: vec!["user".to_owned(), "host".to_owned()],
        rescan_interval_seconds: Some(300),
        host_sample_interval_seconds: Some(120),
        sources_off: vec!["host".to_owned(), "nightly".to_owned()],
    })
}

fn nothing() -> v1::ConfigurationOffer {
    v1::ConfigurationOffer::default()
}

fn settings_of(agent: &RemoteConfiguration) -> Settings {
    agent.settings().borrow().as_ref().clone()
}

/// What the file says, read as at a start.
fn kept_in(state_dir: &Path) -> Settings {
    InForce::load(&Store::new(state_dir)).over(&own_settings(), AGENT)
}

#[test]
fn an_offer_is_applied_reported_and_taken_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = agent_in(folder.path());
    let mut changes = agent.settings();
    assert_eq!(agent.welcomed(&issuer()), None, "nothing is in force");

    let report = agent.take(&strict(), &issuer()).expect("taken");
    assert_eq!((report.state(), &report.hash), (Reported::Applied, &strict().hash));
    assert!(changes.has_changed().expect("told"));
    let settings = changes.borrow_and_update().as_ref().clone();
    assert!(!settings.privacy.allows(ContentField::Files) && settings.privacy.allows(ContentField::Tasks));
    assert!(
        settings.privacy.withholds(IdentityPart::User) && !settings.privacy.withholds(IdentityPart::Branch)
    );
    assert_eq!(settings.sampling.one_in(SampledKind::ToolCall), 10);
    assert_eq!(settings.rescan_interval, Duration::from_secs(300));
    assert_eq!(settings.host_sample_interval, Some(Duration::from_secs(120)));
    assert!(settings.is_off("host") && settings.is_off("nightly") && !settings.is_off("loki"));
    let standing = agent.standing();
    assert_eq!(
        (standing.state, standing.name.as_str(), standing.hash.len()),
        (State::Applied, "ci-machines", 12)
    );
    assert!(standing.in_words().contains("withholds files, user, host"), "{}", standing.in_words());

    let again = agent.take(&strict(), &issuer()).expect("taken");
    assert_eq!(again, report);
    assert!(!changes.has_changed().expect("told"), "the same again changes nothing");

    let report = agent.take(&nothing(), &issuer()).expect("taken");
    assert_eq!((report.state(), report.hash.len()), (Reported::Own, 0));
    assert_eq!(settings_of(&agent), own_settings());
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0, "the file is gone");
}

#[test]
fn a_refused_offer_changes_nothing_and_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = agent_in(folder.path());
    agent.take(&strict(), &issuer()).expect("taken");
    let (settings, file) = (settings_of(&agent), std::fs::read(file_in(folder.path())).expect("a file"));
    let one = |change: fn(&mut v1::OfferedSettings)| {
        let mut said = v1::OfferedSettings::default();
        change(&mut said);
        offer_of(&said)
    };
    let mut other_hash = strict();
    other_hash.hash[0] ^= 1;
    let mut newer = strict();
    newer.settings.extend([0x3a, 0x01, b'x']);
    newer.hash = Sha256::digest(&newer.settings).to_vec();
    let mut torn = strict();
    torn.settings.truncate(5);
    torn.hash = Sha256::digest(&torn.settings).to_vec();
    let hash_of_nothing = v1::ConfigurationOffer { hash: vec![1], ..nothing() };
    let nameless = v1::ConfigurationOffer { name: String::new(), ..strict() };
    let bell = v1::ConfigurationOffer { name: "a\u{7}b".to_owned(), ..strict() };
    let large = one(|s| s.sources_off = vec!["x".repeat(20_000)]);
    for (offer, words) in [
        (other_hash, "the hash is not that of the settings"),
        (hash_of_nothing, "the hash is not that of the settings"),
        (newer, "does not know"),
        (torn, "cannot be read"),
        (nameless, "the name"),
        (bell, "control characters"),
        (large, "more than 16384"),
        (
            one(|s| s.withheld_content = vec!["everything".into()]),
            "\"everything\" is none of files, messages",
        ),
        (one(|s| s.withheld_identity = vec!["user".into(), "team".into()]), "\"team\" is none of user, host"),
        (one(|s| s.rescan_interval_seconds = Some(4)), "rescan_interval_seconds: 4 is not 5 to 3600"),
        (one(|s| s.host_sample_interval_seconds = Some(3601)), "host_sample_interval_seconds: 3601"),
        (one(|s| s.sources_off = vec!["a/b".into()]), "sources_off: \"a/b\""),
        (one(|s| s.sources_off = vec!["x".into(); 65]), "65 sources"),
        (
            one(|s| s.sampling = vec![rate("usage", 2)]),
            "\"usage\" is none of tool_call, file_activity, log_record",
        ),
        (one(|s| s.sampling = vec![rate("tool_call", 0)]), "sampling: 0 is not 1 to 1000"),
        (one(|s| s.sampling = vec![rate("tool_call", 1001)]), "1001"),
        (one(|s| s.sampling = vec![rate("tool_call", 2), rate("tool_call", 3)]), "tool_call is there twice"),
    ] {
        let report = agent.take(&offer, &issuer()).expect("answered");
        assert_eq!(report.state(), Reported::Rejected, "{words}");
        assert!(report.problem.contains(words), "{words}: {}", report.problem);
        assert_eq!((report.hash, report.rejected_hash), (strict().hash, offer.hash), "{words}");
        assert_eq!(settings_of(&agent), settings, "{words}");
        assert_eq!(std::fs::read(file_in(folder.path())).expect("a file"), file, "{words}");
    }
    let standing = agent.standing();
    assert_eq!((standing.state, standing.name.as_str()), (State::Rejected, "ci-machines"));
    assert_eq!((standing.applied, standing.rejected), (1, 17));
    let report = agent.take(&strict(), &issuer()).expect("taken");
    assert_eq!(
        (report.state(), report.problem.as_str()),
        (Reported::Applied, ""),
        "a good one is good again"
    );
}

fn rate(kind: &str, one_in: u32) -> v1::Sampling {
    v1::Sampling { kind: kind.to_owned(), one_in }
}

fn file_in(state_dir: &Path) -> PathBuf {
    state_dir.join("remote_configuration.pb")
}

fn write(state_dir: &Path, bytes: &[u8]) {
    atomic_file::replace(&file_in(state_dir), bytes, Access::Owner).expect("written");
}

#[test]
fn what_cannot_be_kept_is_refused_and_what_was_before_stays() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = agent_in(folder.path());
    agent.take(&strict(), &issuer()).expect("taken");
    let settings = settings_of(&agent);
    // A folder of that name cannot be replaced by a file, nor be removed as one.
    std::fs::remove_file(file_in(folder.path())).expect("removed");
    std::fs::create_dir_all(file_in(folder.path()).join("full")).expect("made");
    let other = offer_of(&v1::OfferedSettings { sources_off: vec!["otlp".into()], ..Default::default() });
    for offer in [other, nothing()] {
        let report = agent.take(&offer, &issuer()).expect("answered");
        assert_eq!((report.state(), report.hash), (Reported::Rejected, strict().hash));
        assert!(report.problem.contains("remote_configuration.pb"), "{}", report.problem);
        assert_eq!(settings_of(&agent), settings);
    }
}

#[test]
fn a_restart_without_the_collector_goes_on_with_what_was_applied() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = {
        let agent = agent_in(folder.path());
        agent.take(&strict(), &issuer()).expect("taken");
        settings_of(&agent)
    };
    let agent = agent_in(folder.path());
    assert_eq!(settings_of(&agent), settings);
    assert_eq!(agent.standing().state, State::Applied);
    let report = agent.welcomed(&issuer()).expect("something is in force");
    assert_eq!((report.state(), report.hash), (Reported::Applied, strict().hash));
    assert_eq!(kept_in(folder.path()), settings, "commands do the same");
}

#[cfg(unix)]
#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    agent_in(folder.path()).take(&strict(), &issuer()).expect("taken");
    let mode = std::fs::metadata(file_in(folder.path())).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn without_permission_nothing_is_taken_and_what_was_applied_is_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    agent_in(folder.path()).take(&strict(), &issuer()).expect("taken");
    let agent = RemoteConfiguration::load(own(false), AGENT, folder.path().to_owned());
    assert!(!file_in(folder.path()).exists());
    assert_eq!(settings_of(&agent), own_settings());
    assert_eq!(agent.take(&strict(), &issuer()), None);
    assert_eq!(settings_of(&agent), own_settings());
    let mut hello = v1::Hello::default();
    agent.introduce(&mut hello);
    assert!(!hello.takes_configuration && hello.labels.is_empty());
    assert_eq!(agent.standing().state, State::NotTaken);
}

#[test]
fn another_team_or_collector_does_not_inherit_what_one_asked_for() {
    for other in [
        Issuer { team: "platform".to_owned(), ..issuer() },
        Issuer { server: "https://elsewhere.example:4317/".to_owned(), ..issuer() },
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let agent = agent_in(folder.path());
        agent.take(&strict(), &issuer()).expect("taken");
        assert_eq!(agent.welcomed(&other), None);
        assert_eq!(settings_of(&agent), own_settings());
        assert!(!file_in(folder.path()).exists());
    }
}

#[test]
fn a_damaged_file_withholds_everything_until_the_collector_has_offered_again() {
    let folder = tempfile::tempdir().expect("a folder");
    agent_in(folder.path()).take(&strict(), &issuer()).expect("taken");
    let whole = std::fs::read(file_in(folder.path())).expect("a file");
    for at in [0, 5, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes.truncate(at);
        write(folder.path(), &bytes);
        let agent = agent_in(folder.path());
        let settings = settings_of(&agent);
        assert!(ContentField::ALL.iter().all(|field| !settings.privacy.allows(*field)), "cut at {at}");
        assert!(IdentityPart::ALL.iter().all(|part| settings.privacy.withholds(*part)), "cut at {at}");
        assert!(agent.standing().problem.contains("until the collector has offered"), "cut at {at}");
    }
    let agent = agent_in(folder.path());
    agent.take(&nothing(), &issuer()).expect("taken");
    assert_eq!(settings_of(&agent), own_settings());
}

#[test]
fn a_hello_says_the_labels_and_leaves_out_what_is_withheld() {
    let folder = tempfile::tempdir().expect("a folder");
    let agent = agent_in(folder.path());
    let said = || v1::Hello { user: "dana".to_owned(), host: "laptop".to_owned(), ..Default::default() };
    let mut hello = said();
    agent.introduce(&mut hello);
    assert!(hello.takes_configuration);
    assert_eq!((hello.labels["kind"].as_str(), hello.user.as_str()), ("ci", "dana"));
    agent.take(&strict(), &issuer()).expect("taken");
    let mut hello = said();
    agent.introduce(&mut hello);
    assert_eq!((hello.user.as_str(), hello.host.as_str()), ("withheld-abababab", "withheld-abababab"));
}

fn any_own() -> impl Strategy<Value = Settings> {
    (proptest::sample::subsequence(ContentField::ALL.to_vec(), 0..=4), 5..3600u64)
        .prop_map(|(fields, seconds)| Settings::own(Privacy::including(fields), Duration::from_secs(seconds)))
}

/// Settings that are often right, in part or as a whole.
fn any_settings() -> impl Strategy<Value = v1::OfferedSettings> {
    let words = |known: &[&str]| {
        let known: Vec<String> = known.iter().map(|word| (*word).to_owned()).collect();
        proptest::collection::vec(prop_oneof![9 => proptest::sample::select(known), 1 => ".{0,70}"], 0..5)
    };
    let kinds = prop_oneof![9 => proptest::sample::select(vec!["tool_call", "file_activity", "log_record"]).prop_map(str::to_owned), 1 => ".{0,20}"];
    let sampling = (kinds, 0..1100u32).prop_map(|(kind, one_in)| v1::Sampling { kind, one_in });
    (
        proptest::collection::vec(sampling, 0..3),
        words(&["files", "messages", "prompts", "tasks"]),
        words(&["user", "host", "repository", "branch"]),
        proptest::option::of(0..4000u32),
        proptest::option::of(0..4000u32),
        words(&["loki", "devloop", "host", "otlp", "local", "nightly"]),
    )
        .prop_map(|(sampling, content, identity, rescan, host, off)| v1::OfferedSettings {
            sampling,
            withheld_content: content,
            withheld_identity: identity,
            rescan_interval_seconds: rescan,
            host_sample_interval_seconds: host,
            sources_off: off,
        })
}

/// Whole offers, offers with some bytes changed, and any bytes at all.
fn any_offer() -> impl Strategy<Value = v1::ConfigurationOffer> {
    let right = (any_settings(), "[a-z]{0,3}")
        .prop_map(|(settings, name)| v1::ConfigurationOffer { name, ..offer_of(&settings) });
    let changed = (any_settings(), any::<prop::sample::Index>(), any::<u8>(), any::<bool>()).prop_map(
        |(settings, at, byte, is_rehashed)| {
            let mut offer = offer_of(&settings);
            if !offer.settings.is_empty() {
                let at = at.index(offer.settings.len());
                offer.settings[at] = byte;
            }
            if is_rehashed {
                offer.hash = Sha256::digest(&offer.settings).to_vec();
            }
            offer
        },
    );
    let bytes = || proptest::collection::vec(any::<u8>(), 0..80);
    let wild = (bytes(), bytes(), ".{0,5}", any::<bool>()).prop_map(|(settings, hash, name, is_hashed)| {
        let hash = if is_hashed { Sha256::digest(&settings).to_vec() } else { hash };
        v1::ConfigurationOffer { hash, settings, name }
    });
    prop_oneof![right, changed, wild]
}

/// Row D6: whatever is offered, what leaves is a part of what the file allows.
fn is_stricter(now: &Settings, own: &Settings) -> Result<(), TestCaseError> {
    for field in ContentField::ALL {
        prop_assert!(!now.privacy.allows(field) || own.privacy.allows(field), "{field:?}");
    }
    for part in IdentityPart::ALL {
        prop_assert!(now.privacy.withholds(part) || !own.privacy.withholds(part), "{part:?}");
        if now.privacy.withholds(part) {
            prop_assert!(!now.privacy.identity(part, "dana-laptop").contains("dana"));
        }
    }
    prop_assert!(own.sources_off.is_subset(&now.sources_off));
    let bounds = Duration::from_secs(5)..=Duration::from_secs(3600);
    prop_assert!(now.rescan_interval == own.rescan_interval || bounds.contains(&now.rescan_interval));
    prop_assert!(now.host_sample_interval.is_none_or(|interval| bounds.contains(&interval)));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_offer_lets_more_leave_than_the_own_file(own in any_own(), offer in any_offer()) {
        if let Ok(Some(read)) = offer::read(&offer) {
            is_stricter(&read.over(&own, AGENT), &own)?;
            let stored = read.as_sent();
            prop_assert_eq!(&stored, &offer);
        }
        is_stricter(&Offer::strictest().over(&own, AGENT), &own)?;
    }

    #[test]
    fn any_settings_of_the_list_are_understood_or_named(own in any_own(), settings in any_settings()) {
        let offer = offer_of(&settings);
        match offer::read(&offer) {
            Ok(None) => prop_assert_eq!(settings, v1::OfferedSettings::default()),
            Ok(Some(read)) => {
                let now = read.over(&own, AGENT);
                is_stricter(&now, &own)?;
                let off: BTreeSet<String> = settings.sources_off.into_iter().collect();
                prop_assert_eq!(now.sources_off, off);
                for field in ContentField::ALL {
                    let is_named = settings.withheld_content.iter().any(|word| word == field.word());
                    prop_assert!(!(is_named && now.privacy.allows(field)));
                }
                for part in IdentityPart::ALL {
                    let is_named = settings.withheld_identity.iter().any(|word| word == part.word());
                    prop_assert_eq!(is_named, now.privacy.withholds(part));
                }
            }
            Err(refusal) => prop_assert!(!refusal.to_string().is_empty()),
        }
    }

    #[test]
    fn a_file_of_any_bytes_is_no_looser_than_the_own_one(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &bytes);
        is_stricter(&kept_in(folder.path()), &own_settings())?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn after_any_offers_memory_and_file_say_the_same(offers in proptest::collection::vec(any_offer(), 1..8)) {
        let folder = tempfile::tempdir().expect("a folder");
        let agent = agent_in(folder.path());
        for offer in &offers {
            let before = settings_of(&agent);
            let report = agent.take(offer, &issuer()).expect("answered");
            match report.state() {
                Reported::Rejected => prop_assert_eq!(&settings_of(&agent), &before),
                Reported::Applied => prop_assert_eq!(&report.hash, &offer.hash),
                _ => prop_assert_eq!(&settings_of(&agent), &own_settings()),
            }
            is_stricter(&settings_of(&agent), &own_settings())?;
            prop_assert_eq!(kept_in(folder.path()), settings_of(&agent));
            prop_assert!(report.rejected_hash.len() <= HASH_BYTES_MAX);
        }
        prop_assert!(Store::new(folder.path()).load().is_ok());
    }
}
