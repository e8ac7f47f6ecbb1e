use std::collections::BTreeSet;

use muster::atomic_file::{Access, replace};
use muster::clock::SystemClock;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::Value;

use super::*;
use crate::audit::{self, AuditLog};
use crate::config::{Config, Overrides};
use crate::telemetry::detached_figures;

fn parse(text: &str) -> Vec<RemoteConfiguration> {
    Config::parse(text, &Overrides::default()).expect("valid").remote_configuration
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::said(&pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

fn team(name: &str) -> Team {
    name.parse().expect("team")
}

const FILE: &str = "
[[remote_configuration]]
name = \"ci-of-red\"
teams = [\"red\"]
labels = { kind = \"ci\" }
sampling = { tool_call = 10 }

[[remote_configuration]]
name = \"left-alone\"
labels = { kind = \"lab\" }

[[remote_configuration]]
name = \"red\"
teams = [\"red\"]
privacy = { withhold_identity = [\"user\"] }
";

#[test]
fn the_first_entry_that_takes_an_agent_is_its_configuration() {
    let offers = Offers::new(&parse(FILE));
    let chosen = |of: &str, said: &[(&str, &str)]| offers.choose(&team(of), &labels(said)).name.clone();
    assert_eq!(chosen("red", &[("kind", "ci"), ("site", "x")]), "ci-of-red");
    assert_eq!(chosen("red", &[("kind", "lab")]), "left-alone");
    assert_eq!(chosen("red", &[]), "red");
    assert_eq!(chosen("blue", &[("kind", "ci")]), "");
    assert_eq!(chosen("blue", &[("kind", "lab")]), "left-alone");
}

#[test]
fn nothing_asked_is_an_offer_without_settings_and_without_a_hash() {
    let offers = Offers::new(&parse(FILE));
    for (of, said, name) in [("blue", &[][..], ""), ("blue", &[("kind", "lab")][..], "left-alone")] {
        let offer = offers.choose(&team(of), &labels(said));
        let wanted = v1::ConfigurationOffer { name: name.to_owned(), ..Default::default() };
        assert_eq!((offer.message(), offer.hash), (wanted, None));
    }
}

#[test]
fn settings_go_over_the_wire_as_the_protocol_has_them() {
    let text = "[[remote_configuration]]\nname = \"all\"
        sampling = { tool_call = 10, file_activity = 1, log_record = 1000 }
        privacy = { withhold_content = [\"tasks\", \"files\"], withhold_identity = [\"user\", \"branch\"] }
        intervals = { rescan_seconds = 300, host_sample_seconds = 60 }
        sources = { off = [\"otlp\", \"host\"] }\n";
    let message = Offer::of(&parse(text)[0]).message();
    let settings = v1::OfferedSettings::decode(&message.settings[..]).expect("own bytes");
    let sampling = |kind: &str, one_in| v1::Sampling { kind: kind.to_owned(), one_in };
    let texts = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
    let wanted = v1::OfferedSettings {
        sampling: vec![sampling("log_record", 1_000), sampling("tool_call", 10)],
        withheld_content: texts(["files", "tasks"]),
        withheld_identity: texts(["branch", "user"]),
        rescan_interval_seconds: Some(300),
        host_sample_interval_seconds: Some(60),
        sources_off: texts(["host", "otlp"]),
    };
    assert_eq!(settings, wanted);
    assert_eq!(message.hash, Sha256::digest(&message.settings).to_vec());
}

/// Changing it changes the hash of every configuration: agents of before and after would answer about different ones.
#[test]
fn the_bytes_and_the_hash_of_known_settings_stay_as_they_are() {
    let offer = Offer::of(&parse(FILE)[0]);
    assert_eq!(offer.settings, b"\x0a\x0d\x0a\x09tool_call\x10\x0a");
    let hash = offer.hash.expect("asks something");
    assert_eq!(hash.to_string(), "26b6b861e167abbcad37d44283fa17f2b732b352cf8908d93fd408b1ec1f9138");
}

#[test]
fn labels_are_bounded_and_read_alike_in_every_order() {
    let many: Vec<_> = (10..40).map(|n| (format!("l{n}"), "x".to_owned())).collect();
    let forth: HashMap<_, _> = many.iter().cloned().collect();
    let back: HashMap<_, _> = many.iter().rev().cloned().collect();
    assert_eq!(Labels::said(&forth), Labels::said(&back));
    assert_eq!(Labels::said(&forth).as_map().keys().next_back().map(String::as_str), Some("l25"));
    let long = "x".repeat(65);
    assert_eq!(
        labels(&[("kind", long.as_str()), (long.as_str(), "ci"), ("", "ci"), ("a", "b\n")]),
        Labels::default()
    );
}

/// Entries of a file, with lists in an order of their own.
#[derive(Debug, Clone)]
struct Asked {
    sampling: BTreeMap<&'static str, u32>,
    content: Vec<&'static str>,
    identity: Vec<&'static str>,
    rescan: Option<u32>,
    host_sample: Option<u32>,
    sources: Vec<String>,
}

impl Asked {
    fn file(&self) -> String {
        let interval = |key: &str, seconds: Option<u32>| seconds.map(|s| format!("{key} = {s}\n"));
        format!(
            "[[remote_configuration]]\nname = \"x\"\n[remote_configuration.sampling]\n{}\
             [remote_configuration.privacy]\nwithhold_content = {:?}\nwithhold_identity = {:?}\n\
             [remote_configuration.intervals]\n{}{}[remote_configuration.sources]\noff = {:?}\n",
            self.sampling.iter().map(|(kind, n)| format!("{kind} = {n}\n")).collect::<String>(),
            self.content,
            self.identity,
            interval("rescan_seconds", self.rescan).unwrap_or_default(),
            interval("host_sample_seconds", self.host_sample).unwrap_or_default(),
            self.sources,
        )
    }

    /// The same with every list backwards and twice.
    fn turned(&self) -> Self {
        fn twice<T: Clone>(list: &[T]) -> Vec<T> {
            list.iter().rev().chain(list).cloned().collect()
        }
        Self {
            content: twice(&self.content),
            identity: twice(&self.identity),
            sources: twice(&self.sources),
            ..self.clone()
        }
    }
}

fn asked() -> impl Strategy<Value = Asked> {
    let kinds = ["tool_call", "file_activity", "log_record"];
    let sampling = proptest::collection::btree_map(select(kinds.to_vec()), 1..=1_000_u32, 0..=3);
    let content = subsequence(vec!["prompts", "files", "tasks", "messages"], 0..=4);
    let identity = subsequence(vec!["user", "host", "repository", "branch"], 0..=4);
    let interval = || proptest::option::of(5..=3_600_u32);
    (sampling, content, identity, interval(), interval(), vec("[a-zA-Z0-9_.-]{1,12}", 0..=6)).prop_map(
        |(sampling, content, identity, rescan, host_sample, sources)| Asked {
            sampling,
            content,
            identity,
            rescan,
            host_sample,
            sources,
        },
    )
}

proptest! {
    #[test]
    fn the_same_settings_are_the_same_bytes_however_they_are_written(asked in asked()) {
        let [one, other] = [asked.file(), asked.turned().file()].map(|file| Offer::of(&parse(&file)[0]));
        prop_assert_eq!(&one, &other);
        // As an agent checks that it knows every field: what it decodes encodes to the same bytes.
        let decoded = v1::OfferedSettings::decode(&one.settings[..]).expect("own bytes");
        prop_assert_eq!(decoded.encode_to_vec(), one.settings.clone());
        prop_assert_eq!(one.hash.is_none(), one.settings.is_empty());
    }

    #[test]
    fn other_settings_have_another_hash(one in asked(), other in asked()) {
        let [one, other] = [one, other].map(|asked| parse(&asked.file()).remove(0));
        prop_assert_eq!(one.settings == other.settings, Offer::of(&one).hash == Offer::of(&other).hash);
    }
}

/// How many entries there are; which are added, changed, removed.
type Told = (u64, [Vec<String>; 3]);

struct Audited {
    dir: tempfile::TempDir,
}

impl Audited {
    /// A start with `text`, then what `then` does while it runs.
    fn run(&self, text: &str, then: impl FnOnce(&Board)) {
        let log = AuditLog::open(self.dir.path(), Arc::new(SystemClock::new()), detached_figures());
        let log = log.expect("a thread");
        then(&Board::open(self.dir.path(), &parse(text), log.clone()));
        log.finish();
    }

    /// What the audit log has of it, and forgets it.
    fn lines(&self) -> Vec<Told> {
        let list = |line: &Value, key: &str| -> Vec<String> {
            let names = line[key].as_array().into_iter().flatten();
            names.map(|name| name.as_str().expect("text").to_owned()).collect()
        };
        let lines: Vec<Value> =
            audit::lines(self.dir.path()).map(|line| serde_json::from_str(&line).expect("JSON")).collect();
        replace(&self.dir.path().join(audit::FILE_NAME), b"", Access::Owner).expect("written");
        let of_offers = lines.iter().filter(|line| line["what"] == "remote_configuration_changed");
        let told = |line: &Value| {
            let entries = line["entries"].as_u64().expect("a number");
            (entries, ["added", "changed", "removed"].map(|key| list(line, key)))
        };
        of_offers.map(told).collect()
    }
}

#[test]
fn the_audit_log_says_what_is_offered_anew_at_a_start_and_at_a_reload_and_only_then() {
    let audited = Audited { dir: tempfile::tempdir().expect("folder") };
    let names =
        |lists: [&[&str]; 3]| lists.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
    audited.run("", |_| ());
    assert_eq!(audited.lines(), [], "nothing was offered, and nothing is");
    audited.run(FILE, |_| ());
    assert_eq!(audited.lines(), [(3, names([&["ci-of-red", "left-alone", "red"], &[], &[]]))]);
    audited.run(FILE, |board| assert!(!board.set(&parse(FILE)), "nothing changed"));
    assert_eq!(audited.lines(), [], "a restart with the same file");
    let other = FILE.replace("tool_call = 10", "tool_call = 20").replace("left-alone", "lab");
    audited.run(FILE, |board| {
        let mut watch = board.watch();
        watch.mark_unchanged();
        assert!(board.set(&parse(&other)) && watch.has_changed().expect("open"));
    });
    assert_eq!(audited.lines(), [(3, names([&["lab"], &["ci-of-red"], &["left-alone"]]))]);
    audited.run("", |_| ());
    assert_eq!(audited.lines(), [(0, names([&[], &[], &["ci-of-red", "lab", "red"]]))]);
}

#[test]
fn a_memory_that_cannot_be_read_costs_a_line_and_nothing_else() {
    let audited = Audited { dir: tempfile::tempdir().expect("folder") };
    replace(&audited.dir.path().join("remote_configuration.json"), b"{", Access::Owner).expect("written");
    audited.run(FILE, |board| {
        assert_eq!(board.watch().borrow().choose(&team("red"), &Labels::default()).name, "red");
    });
    assert_eq!(audited.lines().len(), 1);
    let many: BTreeSet<_> =
        (0..40).map(|n| format!("[[remote_configuration]]\nname = \"e{n:02}\"\n")).collect();
    audited.run(&many.into_iter().collect::<String>(), |_| ());
    let lines = audited.lines();
    assert_eq!((lines[0].0, lines[0].1[0].len(), lines[0].1[0][32].as_str()), (40, 33, "and 8 more"));
}
