use proptest::prelude::*;

use super::*;
use crate::clock::WallTime;
use crate::ids::Seq;
use crate::v1::event::Kind;

const NOON: WallTime = WallTime(1_771_588_800_000_000);

fn run(worker: TextRef, duration_us: u64) -> Kind {
    Kind::RunFinished(v1::RunFinished {
        worker,
        status: v1::RunStatus::Success.into(),
        duration_us: Some(duration_us),
        run_id: 0x1234_5678_9abc_def0,
        ..Default::default()
    })
}

fn steady_stream(events: u64) -> SealedBatch {
    let mut builder = BatchBuilder::new();
    let source = builder
        .source(&SourceIdentity {
            tool: "devloop".into(),
            project: "shopapi".into(),
            user: "dana".into(),
            host: "laptop-17".into(),
            os: "linux".into(),
            ..Default::default()
        })
        .expect("room");
    let workers = ["linter", "formatter", "test-runner", "type-checker"].map(|worker| builder.text(worker));
    for n in 0..events {
        let time = WallTime(NOON.0 + n * 350_000);
        builder.push(time, source, run(workers[n as usize % 4], 180_000 + n * 1_000));
    }
    builder.seal(Seq(1)).expect("within bounds")
}

#[test]
fn a_steady_stream_of_run_events_costs_at_most_32_bytes_an_event() {
    let batch = steady_stream(1_000);
    let per_event = batch.bytes.len() as f64 / 1_000.0;
    assert!(per_event <= 32.0, "{per_event} bytes an event");
}

#[test]
fn a_sealed_batch_reads_back_with_absolute_times_texts_and_numbers() {
    let mut builder = BatchBuilder::new();
    let source = builder.source(&SourceIdentity { tool: "loki".into(), ..Default::default() }).expect("room");
    let worker = builder.text("orchestrator");
    builder.push(NOON, source, run(worker, 5));
    builder.push(WallTime(NOON.0 - 7), source, run(worker, 6));
    builder.push_weighted(WallTime(NOON.0 + 9), source, 10, run(worker, 7));
    let sealed = builder.seal(Seq(41)).expect("within bounds");
    assert_eq!(sealed.seqs.last(), Seq(43));

    let batch = decode(&sealed.bytes).expect("own batch");
    let view = BatchView::new(&batch);
    assert_eq!(view.source(0).expect("declared").tool, "loki");
    let events: Vec<_> = view.events().map(|e| (e.seq.0, e.time.0, e.weight)).collect();
    assert_eq!(events, [(41, NOON.0, 1), (42, NOON.0 - 7, 1), (43, NOON.0 + 9, 10)]);
}

#[test]
fn a_kind_from_a_newer_agent_passes_the_check_and_reads_as_unknown() {
    use prost::Message;
    let mut bytes = steady_stream(1).bytes.to_vec();
    // Event { source: 0, kind 999: 2 bytes }.
    let unknown = [0xba, 0x3e, 0x02, 0x08, 0x01];
    prost::encoding::encode_key(5, prost::encoding::WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(unknown.len() as u64, &mut bytes);
    bytes.extend_from_slice(&unknown);

    assert_eq!(check(&bytes).expect("valid").event_count, 2);
    let batch = v1::Batch::decode(&bytes[..]).expect("valid");
    let kinds: Vec<_> = BatchView::new(&batch).events().map(|e| e.kind.is_some()).collect();
    assert_eq!(kinds, [true, false]);
}

#[test]
fn an_event_without_a_declared_source_is_refused() {
    let batch = v1::Batch {
        first_seq: 1,
        events: vec![v1::Event { source: 3, ..Default::default() }],
        sources: vec![v1::Source::default()],
        ..Default::default()
    };
    let bytes = prost::Message::encode_to_vec(&batch);
    assert_eq!(decode(&bytes), Err(BatchError::Index { what: "source", index: 3, len: 1 }));
}

#[test]
fn a_batch_without_events_or_with_number_zero_is_refused() {
    let empty = prost::Message::encode_to_vec(&v1::Batch { first_seq: 1, ..Default::default() });
    assert_eq!(check(&empty), Err(BatchError::Sequence));
    let mut zero = v1::Batch { sources: vec![v1::Source::default()], ..Default::default() };
    zero.events.push(v1::Event::default());
    assert_eq!(check(&prost::Message::encode_to_vec(&zero)), Err(BatchError::Sequence));
}

proptest! {
    /// Whatever the bytes are: the walk never panics, and what it accepts prost decodes to as many events.
    #[test]
    fn the_walk_accepts_only_what_prost_decodes(flips in proptest::collection::vec((0_usize..4000, any::<u8>()), 0..6), cut in 0_usize..4000) {
        let mut bytes = steady_stream(40).bytes.to_vec();
        for (at, byte) in flips {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        bytes.truncate(cut.max(1));
        if let Ok(head) = check(&bytes) && let Ok(batch) = <v1::Batch as prost::Message>::decode(&bytes[..]) {
            prop_assert_eq!(head.event_count, batch.events.len() as u64);
            prop_assert_eq!(head.first_seq, batch.first_seq);
        }
    }
}
