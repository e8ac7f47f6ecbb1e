use super::*;
use crate::config::{Config, Overrides};

const WHOLE: &str = "
[[remote_configuration]]
name = \"ci-machines\"
teams = [\"payments\"]
labels = { kind = \"ci\" }
[remote_configuration.sampling]
tool_call = 10
log_record = 1
[remote_configuration.privacy]
withhold_content = [\"files\", \"messages\", \"prompts\", \"tasks\"]
withhold_identity = [\"user\", \"host\", \"repository\", \"branch\"]
[remote_configuration.intervals]
rescan_seconds = 300
host_sample_seconds = 60
[remote_configuration.sources]
off = [\"otlp\", \"host\"]
";

fn parse(text: &str) -> Result<Vec<RemoteConfiguration>, String> {
    let config = Config::parse(text, &Overrides::default()).map_err(|error| error.to_string());
    config.map(|config| config.remote_configuration)
}

/// An entry of the file with these keys.
fn entry(name: &str, keys: &str) -> String {
    format!("[[remote_configuration]]\nname = \"{name}\"\n{keys}\n")
}

#[test]
fn an_entry_says_for_whom_it_is_and_what_it_asks() {
    let entries = parse(WHOLE).expect("valid");
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.name, "ci-machines");
    assert_eq!(entry.selector.teams, Some(BTreeSet::from(["payments".parse().expect("team")])));
    assert_eq!(entry.selector.labels, BTreeMap::from([("kind".to_owned(), "ci".to_owned())]));
    let settings = RemoteSettings {
        // One of one is all.
        sampling: BTreeMap::from([("tool_call", 10)]),
        withheld_content: CONTENT.into(),
        withheld_identity: IDENTITY.into(),
        rescan_interval_seconds: Some(300),
        host_sample_interval_seconds: Some(60),
        sources_off: BTreeSet::from(["host".to_owned(), "otlp".to_owned()]),
    };
    assert_eq!(entry.settings, settings);
    assert_eq!(parse("").expect("valid"), []);
    let nothing = &parse(&self::entry("own", "")).expect("valid")[0];
    assert_eq!((&nothing.selector, &nothing.settings), (&Selector::default(), &RemoteSettings::default()));
}

#[test]
fn what_says_the_same_in_another_order_is_equal() {
    let one = "privacy = { withhold_content = [\"files\", \"tasks\"] }\nsources = { off = [\"a\", \"b\"] }";
    let other = "sources = { off = [\"b\", \"a\", \"b\"] }\nprivacy = { withhold_content = [\"tasks\", \"files\", \"files\"] }";
    assert_eq!(parse(&entry("x", one)).expect("valid"), parse(&entry("x", other)).expect("valid"));
}

#[test]
fn what_an_agent_would_refuse_is_refused_here_with_its_place() {
    let long = "x".repeat(65);
    let many = (0..65).map(|n| format!("\"s{n}\"")).collect::<Vec<_>>().join(", ");
    for (keys, said) in [
        (
            "sampling = { tol_call = 2 }",
            "`remote_configuration.sampling.tol_call`; did you mean `tool_call`?",
        ),
        ("sampling = { tool_call = 0 }", "\"x\": sampling tool_call = 0 is not 1 to 1000"),
        ("sampling = { tool_call = 1001 }", "1001 is not 1 to 1000"),
        ("sampling = { usage = 2 }", "unknown key `remote_configuration.sampling.usage`"),
        (
            "privacy = { withhold_content = [\"code\"] }",
            "\"code\" is none of files, messages, prompts, tasks",
        ),
        (
            "privacy = { withhold_identity = [\"project\"] }",
            "privacy.withhold_identity \"project\" is none of",
        ),
        ("intervals = { rescan_seconds = 4 }", "intervals.rescan_seconds 4 is not 5 to 3600"),
        ("intervals = { host_sample_seconds = 3601 }", "host_sample_seconds 3601 is not 5 to 3600"),
        ("intervals = { rescan_seconds = -5 }", "not valid TOML"),
        ("sources = { off = [\"a b\"] }", "sources.off \"a b\" is no source's name"),
        (&format!("sources = {{ off = [{many}] }}"), "names 65 sources; at most 64"),
        ("sources = { on = [\"host\"] }", "unknown key `remote_configuration.sources.on`"),
        ("teams = []", "leave the key out for all"),
        ("teams = [\"a b\"]", "team name"),
        ("labels = { kind = \"\" }", "labels \"kind\" = \"\""),
        (&format!("labels = {{ {long} = \"ci\" }}"), "1 to 64"),
        ("label = { kind = \"ci\" }", "did you mean `labels`?"),
        ("command = \"rm\"", "unknown key `remote_configuration.command`"),
    ] {
        let refusal = parse(&entry("x", keys)).expect_err(keys);
        assert!(refusal.contains(said), "{keys}: {refusal}");
    }
}

#[test]
fn each_entry_has_a_name_of_its_own() {
    assert!(parse("[[remote_configuration]]\nteams = [\"red\"]\n").expect_err("no name").contains("`name`"));
    assert!(parse(&entry("a b", "")).expect_err("no name").contains("name is not 1 to 64"));
    let twice = format!("{}{}", entry("x", ""), entry("x", "teams = [\"red\"]"));
    assert!(parse(&twice).expect_err("twice").contains("another entry has this name"));
    let many: String = (0..=ENTRIES_MAX).map(|n| entry(&format!("e{n}"), "")).collect();
    assert!(parse(&many).expect_err("many").contains("257 entries are more than 256"));
    assert!(parse("[remote_configuration]\nname = \"x\"\n").is_err(), "one table is no list");
}

#[test]
fn an_agent_is_meant_by_its_team_and_by_all_labels_of_the_entry() {
    let selector = |keys: &str| parse(&entry("x", keys)).expect("valid")[0].selector.clone();
    let labels = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    let (red, blue): (Team, Team) = ("red".parse().expect("team"), "blue".parse().expect("team"));
    let of_red = selector("teams = [\"red\"]\nlabels = { kind = \"ci\", os = \"linux\" }");
    assert!(of_red.takes(&red, &labels(&[("kind", "ci"), ("os", "linux"), ("site", "x")])));
    assert!(!of_red.takes(&blue, &labels(&[("kind", "ci"), ("os", "linux")])), "another team");
    assert!(!of_red.takes(&red, &labels(&[("kind", "ci")])), "one label is not there");
    assert!(!of_red.takes(&red, &labels(&[("kind", "ci"), ("os", "Linux")])), "a label says another word");
    assert!(selector("labels = { site = \"eu west\" }").takes(&red, &labels(&[("site", "eu west")])));
    assert!(selector("").takes(&blue, &labels(&[])), "an entry without either is everybody's");
}

#[test]
fn an_entry_that_can_never_be_chosen_is_named_with_the_one_before_it() {
    let text = [
        entry("linux", "labels = { os = \"linux\" }"),
        entry("red", "teams = [\"red\", \"blue\"]"),
        entry("linux-ci", "labels = { os = \"linux\", kind = \"ci\" }"),
        entry("only-red", "teams = [\"red\"]\nlabels = { kind = \"ci\" }"),
        entry("green", "teams = [\"red\", \"green\"]"),
        entry("all", ""),
        entry("late", "teams = [\"late\"]"),
    ];
    let entries = parse(&text.concat()).expect("valid");
    assert_eq!(never_chosen(&entries), [("linux-ci", "linux"), ("only-red", "red"), ("late", "all")]);
}

#[test]
fn the_examples_of_the_documentation_are_valid() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
    for (page, entries) in [("remote-configuration.md", 2), ("configuration.md", 1)] {
        let page = std::fs::read_to_string(format!("{docs}/{page}")).expect("the page is there");
        let examples =
            page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
        let example = examples.into_iter().find(|example| example.contains("[[remote_configuration]]"));
        assert_eq!(parse(example.expect("an example")).expect("valid").len(), entries);
    }
}
