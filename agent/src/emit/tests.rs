use muster::batch::BatchView;
use muster::v1::event::Kind as Event;
use muster::v1::{RunStatus, attribute};
use proptest::prelude::*;
use serde_json::json;

use super::value::Takes;
use super::*;
use crate::facts::{ContentField, Privacy};
use crate::sources::ProjectContext;

const NOW: WallTime = WallTime(1_773_133_200_000_000);

fn read(kind: &str, fields: Json) -> Result<Statement, StatementError> {
    Statement::read(kind, fields.as_object().expect("an object"))
}

fn wrong(kind: &str, fields: Json) -> String {
    read(kind, fields).expect_err("wrong words").to_string()
}

fn facts(privacy: Privacy) -> Facts {
    let project = ProjectContext {
        root: "/home/dana/shop".into(),
        name: "shop".into(),
        user: "dana".into(),
        host: "laptop".into(),
        repository: String::new(),
        branch: String::new(),
    };
    let mut facts = Facts::new(privacy);
    facts.speak_for("script", "", &project);
    facts
}

/// Kinds and texts of what a statement states.
fn stated(kind: &str, fields: Json, privacy: Privacy) -> (Vec<Event>, Vec<String>) {
    let mut facts = facts(privacy);
    read(kind, fields).expect("right words").state(NOW, &mut facts);
    let batch = facts.into_builder();
    let events = BatchView::new(batch.as_batch()).events().filter_map(|event| event.kind.cloned()).collect();
    (events, batch.as_batch().strings.clone())
}

#[test]
fn every_kind_stands_where_its_number_says() {
    for kind in Kind::all() {
        assert_eq!(Kind::named(kind.name()), Ok(kind));
    }
}

#[test]
fn a_run_says_what_it_used_in_a_sample_of_its_worker() {
    let fields = json!({"worker": "lint", "status": "success", "duration": "2s", "cpu": "500ms", "memory_bytes": "1MiB", "io_bytes": 7});
    let (events, _) = stated("run", fields, Privacy::default());
    let [Event::RunFinished(run), Event::ResourceSample(sample)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((run.status(), run.duration_us), (RunStatus::Success, Some(2_000_000)));
    assert_eq!(
        (sample.cpu_percent, sample.memory_bytes, sample.disk_io_bytes),
        (Some(25.0), Some(1 << 20), Some(7))
    );
    assert_eq!(sample.worker, run.worker);
}

#[test]
fn a_run_that_began_has_the_hash_of_the_same_id_as_its_end() {
    let began =
        stated("run", json!({"worker": "w", "event": "started", "run_id": "job-7"}), Privacy::default());
    let ended =
        stated("run", json!({"worker": "w", "status": "error", "run_id": "job-7"}), Privacy::default());
    let (Event::RunStarted(began), Event::RunFinished(ended)) = (&began.0[0], &ended.0[0]) else {
        panic!("{began:?}")
    };
    assert_ne!(began.run_id, 0);
    assert_eq!(began.run_id, ended.run_id);
}

#[test]
fn an_error_names_what_is_known() {
    for (message, words) in [
        (wrong("usge", json!({})), "did you mean usage?"),
        (wrong("run", json!({"worker": "x", "statsu": "success"})), "did you mean status?"),
        (wrong("run", json!({"worker": "x", "status": "ok"})), "one of success, failure, error, skipped"),
        (wrong("run", json!({"status": "success"})), "needs worker=NAME"),
        (wrong("run", json!({"worker": "x"})), "needs status=success"),
        (wrong("usage", json!({"model": "m"})), "needs tokens or a cost"),
        (wrong("value", json!({"saved": "15"})), "time span with its unit"),
        (wrong("usage", json!({"input_tokens": -1})), "whole number from 0"),
        (wrong("usage", json!({"input_tokens": 1.5})), "whole number from 0"),
        (wrong("usage", json!({"cost_usd": "free"})), "US dollars"),
        (wrong("push", json!({"allowed": "maybe"})), "true or false"),
        (wrong("log", json!({"name": "x", "time": "yesterday"})), "2026-03-10T09:00:00Z"),
        (wrong("log", json!({"name": "x", "attr.": 1})), "a name behind the dot"),
        (wrong("log", json!({"name": ["x"]})), "a word or a name"),
        (wrong("finding", json!({"worker": "x"})), "needs severity"),
    ] {
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn no_finding_is_no_event() {
    let (events, _) =
        stated("finding", json!({"worker": "x", "severity": "low", "count": 0}), Privacy::default());
    assert_eq!(events, []);
}

#[test]
fn a_logs_attributes_keep_their_types() {
    let of = |fields| match &stated("log", fields, Privacy::default()).0[..] {
        [Event::LogRecord(log)] => {
            log.attributes.iter().map(|a| a.value.expect("a value")).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    let expected =
        [attribute::Value::Integer(3), attribute::Value::Number(0.5), attribute::Value::Truth(true)];
    assert_eq!(of(json!({"name": "n", "attr.a": 3, "attr.b": 0.5, "attr.c": true})), expected);
    assert_eq!(of(json!({"name": "n", "attributes": {"a": 3, "b": 0.5, "c": true, "d": null}})), expected);
}

#[test]
fn what_may_not_leave_does_not_leave() {
    let canary = "sk-live-0123456789abcdef";
    let fields = json!({"name": canary, "attr.path": "/home/dana/x", "message": "please fix the login page", "session": canary});
    let (_, texts) = stated("log", fields.clone(), Privacy::default());
    for text in &texts {
        assert!(!text.contains("sk-live") && !text.contains("/home/") && !text.contains("login"), "{text}");
    }
    let (_, texts) = stated("log", fields, Privacy::including([ContentField::Messages]));
    assert!(texts.iter().any(|text| text.contains("login page")));
    let finding = json!({"worker": "x", "severity": "low", "file": "src/api.py"});
    assert!(!stated("finding", finding.clone(), Privacy::default()).1.contains(&"src/api.py".to_owned()));
    assert!(
        stated("finding", finding, Privacy::including([ContentField::Files]))
            .1
            .contains(&"src/api.py".to_owned())
    );
}

#[test]
fn time_spans_and_times_are_read_to_the_microsecond() {
    for (text, us) in [
        ("250ms", 250_000),
        ("1.1s", 1_100_000),
        ("3m", 180_000_000),
        ("1h30m", 5_400_000_000),
        ("2 h", 7_200_000_000),
        ("7us", 7),
    ] {
        assert_eq!(duration(text).map(|d| d.as_micros()), Some(us), "{text}");
    }
    for text in ["", "15", "s", "-1s", "1 fortnight", "1e3s", "nan s", "9999999d"] {
        assert_eq!(duration(text), None, "{text}");
    }
    assert_eq!(time("2026-03-10T09:00:00Z"), Some(NOW));
    assert_eq!(time("1773133200.5"), Some(WallTime(NOW.0 + 500_000)));
    for text in ["0", "-1", "nan", "inf", "1e300", "1969-01-01T00:00:00Z", "soon"] {
        assert_eq!(time(text), None, "{text}");
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        "[a-z0-9.:+TZ -]{0,24}".prop_map(Json::from),
        ".{0,40}".prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| proptest::collection::vec(inner, 0..4).prop_map(Json::from))
}

proptest! {
    #[test]
    fn any_words_are_a_statement_or_an_error_and_what_is_stated_fits_a_batch(
        kind in 0_usize..7,
        picks in proptest::collection::vec((0_usize..20, any_json()), 0..12),
    ) {
        let kind = Kind::all().nth(kind).expect("seven kinds");
        let mut fields = Map::new();
        for (pick, value) in picks {
            let key = kind.keys().get(pick).map_or("attr.x", |key| key.name);
            fields.insert(key.to_owned(), value);
        }
        if let Ok(statement) = Statement::read(kind.name(), &fields) {
            let mut facts = facts(Privacy::default());
            statement.state(NOW, &mut facts);
            if !facts.is_empty() {
                let sealed = facts.into_builder().seal(muster::ids::Seq(1)).expect("a batch");
                prop_assert!(muster::batch::decode(&sealed.bytes).is_ok());
            }
        }
    }

    #[test]
    fn every_type_takes_what_it_gives_as_an_example_and_nothing_panics(value in any_json()) {
        for takes in [Takes::Word, Takes::Id, Takes::Text, Takes::File, Takes::Count, Takes::Small, Takes::Signed,
            Takes::Truth, Takes::Duration, Takes::Time, Takes::Usd, Takes::Bytes, Takes::OneOf(&["a"])] {
            if let Err(expected) = takes.read(&value) {
                prop_assert!(!expected.is_empty());
            }
        }
    }
}
