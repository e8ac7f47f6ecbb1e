//! What leaves of an identity, and that sampling is exact in counts.

use std::collections::{BTreeMap, BTreeSet};

use muster::batch::BatchView;
use muster::ids::AgentId;
use muster::v1;
use proptest::prelude::*;

use super::*;

const NOON: WallTime = WallTime(1_771_588_800_000_000);

fn project(name: &str) -> ProjectContext {
    ProjectContext {
        root: format!("/home/dana/{name}").into(),
        name: name.to_owned(),
        user: "dana".to_owned(),
        host: "laptop".to_owned(),
        repository: "secret-repo".to_owned(),
        branch: "secret-branch".to_owned(),
    }
}

#[test]
fn a_withheld_identity_is_nowhere_in_the_batch() {
    let withheld = BTreeSet::from(IdentityPart::ALL);
    let privacy = Privacy::default().without(&BTreeSet::new(), &withheld, AgentId::from_bytes([1; 16]));
    let mut facts = Facts::new(privacy);
    facts.speak_for("loki", "1.0", &project("shop"));
    facts.push(NOON, Kind::LinesRecorded(v1::LinesRecorded { count: 1 }));
    let batch = facts.into_builder();
    let view = BatchView::new(batch.as_batch());
    let source = view.source(0).expect("a source");
    assert_eq!((source.user, source.host), ("withheld-01010101", "withheld-01010101"));
    assert_eq!((source.repository, source.branch, source.project), ("withheld", "withheld", "shop"));
    for text in &batch.as_batch().strings {
        assert!(!["dana", "laptop", "secret-repo", "secret-branch"].contains(&text.as_str()), "{text}");
    }
}

#[test]
fn a_step_is_as_long_with_sampling_as_without() {
    let sampling = Sampling::default().with(SampledKind::ToolCall, 1000);
    let mut facts = Facts::new(Privacy::default()).sampled(sampling);
    facts.speak_for("loki", "", &project("shop"));
    for _ in 0..30 {
        facts.push(NOON, Kind::ToolCall(v1::ToolCall::default()));
    }
    assert_eq!((facts.len(), facts.builder().len()), (30, 1));
}

#[test]
fn weights_that_have_no_room_for_more_begin_a_group() {
    let sampling = Sampling::default().with(SampledKind::ToolCall, 10);
    let mut facts = Facts::new(Privacy::default()).sampled(sampling);
    facts.speak_for("loki", "", &project("shop"));
    facts.push_weighted(NOON, u32::MAX, Kind::ToolCall(v1::ToolCall::default()));
    facts.push_weighted(NOON, 7, Kind::ToolCall(v1::ToolCall::default()));
    let weights: Vec<u64> = weights_of(&facts);
    assert_eq!(weights, [u64::from(u32::MAX), 7]);
}

fn weights_of(facts: &Facts) -> Vec<u64> {
    BatchView::new(facts.builder().as_batch()).events().map(|event| event.weight).collect()
}

/// An event by what it is counted by, and by what it is not.
#[derive(Debug, Clone)]
enum Said {
    Call { project: bool, name: u32, status: i32, duration_us: Option<u64> },
    File { change: i32, count: u32, file: u32 },
    Record { name: u32, severity: i32, session: u32, number: i64 },
    Run { worker: u32 },
}

fn said() -> impl Strategy<Value = (Said, u32)> {
    let said = prop_oneof![
        (any::<bool>(), 0..3u32, 0..3i32, proptest::option::of(0..5u64)).prop_map(
            |(project, name, status, duration_us)| Said::Call { project, name, status, duration_us }
        ),
        (0..3i32, 0..3u32, 0..9u32).prop_map(|(change, count, file)| Said::File { change, count, file }),
        (0..2u32, 0..2i32, 0..2u32, any::<i64>())
            .prop_map(|(name, severity, session, number)| Said::Record { name, severity, session, number }),
        (0..2u32).prop_map(|worker| Said::Run { worker }),
    ];
    (said, 0..5u32)
}

impl Said {
    fn project(&self) -> &'static str {
        if matches!(self, Said::Call { project: true, .. }) { "till" } else { "shop" }
    }

    fn kind(&self) -> Kind {
        match *self {
            Said::Call { name, status, duration_us, .. } => {
                Kind::ToolCall(v1::ToolCall { worker: 0, name, status, duration_us })
            }
            Said::File { change, count, file } => {
                Kind::FileActivity(v1::FileActivity { change, count, file })
            }
            Said::Record { name, severity, session, number } => {
                let value = Some(v1::attribute::Value::Integer(number));
                let attributes = vec![v1::Attribute { key: 1, value }];
                Kind::LogRecord(v1::LogRecord { name, severity, session, attributes })
            }
            Said::Run { worker } => Kind::RunFinished(v1::RunFinished { worker, ..Default::default() }),
        }
    }
}

/// What everything that counts an event sees of it: its labels, how often it happened, files, and durations observed.
fn tally<'a>(events: impl Iterator<Item = (&'a str, u64, &'a Kind)>) -> BTreeMap<String, (u64, u64, u64)> {
    let mut tally: BTreeMap<String, (u64, u64, u64)> = BTreeMap::new();
    for (project, weight, kind) in events {
        let (labels, count, timed) = match kind {
            Kind::ToolCall(call) => {
                (format!("call {} {}", call.name, call.status), 1, call.duration_us.is_some())
            }
            Kind::FileActivity(file) => {
                (format!("file {}", file.change), u64::from(file.count.max(1)), false)
            }
            Kind::LogRecord(log) => (format!("log {} {} {}", log.name, log.severity, log.session), 1, false),
            other => (format!("{other:?}"), 1, false),
        };
        let entry = tally.entry(format!("{project} {labels}")).or_default();
        entry.0 += weight;
        entry.1 += weight * count;
        entry.2 += if timed { weight } else { 0 };
    }
    tally
}

proptest! {
    #[test]
    fn the_sum_of_weights_is_the_number_of_events(
        all in proptest::collection::vec(said(), 0..200),
        rates in proptest::array::uniform3(0..20u32),
    ) {
        let sampling = SampledKind::ALL
            .into_iter()
            .zip(rates)
            .fold(Sampling::default(), |sampling, (kind, one_in)| sampling.with(kind, one_in));
        let mut facts = Facts::new(Privacy::default()).sampled(sampling);
        for (said, weight) in &all {
            facts.speak_for("loki", "", &project(said.project()));
            facts.push_weighted(NOON, *weight, said.kind());
        }
        let kinds: Vec<Kind> = all.iter().map(|(said, _)| said.kind()).collect();
        let stated = all.iter().zip(&kinds).map(|((said, weight), kind)| {
            (said.project(), u64::from((*weight).max(1)), kind)
        });
        let batch = facts.builder().as_batch();
        let view = BatchView::new(batch);
        let sent = view.events().map(|event| {
            let source = view.source(event.source).expect("declared");
            (source.project, event.weight, event.kind.expect("a kind"))
        });
        prop_assert_eq!(tally(sent), tally(stated));
        // No event stands for more than it may.
        for event in &batch.events {
            let one_in = match &event.kind {
                Some(Kind::ToolCall(_)) => sampling.one_in(SampledKind::ToolCall),
                Some(Kind::FileActivity(_)) => sampling.one_in(SampledKind::FileActivity),
                Some(Kind::LogRecord(_)) => sampling.one_in(SampledKind::LogRecord),
                _ => 1,
            };
            prop_assert!(event.weight.max(1) <= one_in * 4);
        }
    }
}
