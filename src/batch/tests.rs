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

/// One event of every kind, every field set.
fn one_of_each() -> v1::Batch {
    let attribute = |value| v1::Attribute { key: 1, value: Some(value) };
    let kinds = vec![
        run(1, 5),
        Kind::RunStarted(v1::RunStarted { worker: 1, run_id: 2, session: 1, iteration: 4 }),
        Kind::ToolState(v1::ToolState {
            status: 2,
            iteration: 1,
            iteration_max: 9,
            started_time_us: Some(7),
            sessions_live: 1,
            phase: 1,
        }),
        Kind::SessionState(v1::SessionState {
            session: 1,
            exit_code: Some(-3),
            ended_time_us: Some(9),
            ..Default::default()
        }),
        Kind::QueueDepth(v1::QueueDepth { worker: 1, depth: 300 }),
        Kind::TaskCounts(v1::TaskCounts { pending: 1, in_progress: 2, completed: 3, failed: 4, review: 5 }),
        Kind::WorkerCounts(v1::WorkerCounts { active: 1, registered: 2 }),
        Kind::Finding(v1::Finding {
            worker: 1,
            severity: 1,
            change: 1,
            count: 2,
            native_severity: 1,
            file: 1,
        }),
        Kind::ActiveFindings(v1::ActiveFindings { critical: 1, high: 2, medium: 3, low: 4 }),
        Kind::FileActivity(v1::FileActivity { change: 1, count: 2, file: 1 }),
        Kind::FilesWatched(v1::FilesWatched { count: 9 }),
        Kind::PushChecked(v1::PushChecked { gate: 1, allowed: true, prevented_bad_push: true, reason: 1 }),
        Kind::Usage(v1::Usage {
            model: 1,
            reported_cost_microusd: Some(-1),
            reasoning_tokens: 5,
            ..Default::default()
        }),
        Kind::CostTotal(v1::CostTotal { cost_usd: 1.5 }),
        Kind::ToolCall(v1::ToolCall { worker: 1, name: 1, status: 1, duration_us: Some(3) }),
        Kind::ResourceSample(v1::ResourceSample {
            scope: 1,
            cpu_percent: Some(2.5),
            memory_bytes: Some(3),
            processes: 2,
            ..Default::default()
        }),
        Kind::TimeSaved(v1::TimeSaved { kind: 1, saved_us: 2, modelled: true }),
        Kind::SourceHealth(v1::SourceHealth {
            newest_data_time_us: 1,
            parse_errors: 2,
            rescans: 3,
            records_skipped: 4,
            read_errors: 5,
        }),
        Kind::LogRecord(v1::LogRecord {
            name: 1,
            severity: 1,
            attributes: vec![
                attribute(v1::attribute::Value::Text(1)),
                attribute(v1::attribute::Value::Integer(-9)),
                attribute(v1::attribute::Value::Number(0.5)),
                attribute(v1::attribute::Value::Truth(true)),
            ],
            session: 1,
        }),
        Kind::OtlpPayload(v1::OtlpPayload { signal: 1, payload: vec![1, 2, 3].into(), item_count: 1 }),
        Kind::LinesRecorded(v1::LinesRecorded { count: 3 }),
        Kind::BusEvents(v1::BusEvents { count: 1, latency_us: Some(4) }),
        Kind::SourceEnded(v1::SourceEnded {}),
        Kind::BudgetState(v1::BudgetState { limit_usd: Some(5.0), used_usd: Some(1.0), exceeded: true }),
        Kind::ToolSettings(v1::ToolSettings { disabled_metrics: vec![1, 1, 300], sample_rate: 0.5 }),
        Kind::FindingsFixed(v1::FindingsFixed { count: 1 }),
    ];
    let events = kinds.into_iter().map(|kind| v1::Event { kind: Some(kind), ..Default::default() }).collect();
    v1::Batch {
        first_seq: 1,
        base_time_us: NOON.0,
        strings: vec![String::new(), "linter".to_owned()],
        sources: vec![v1::Source { tool: 1, tool_version: 1, ..Default::default() }],
        events,
    }
}

#[test]
fn every_kind_with_every_field_passes_the_check() {
    use prost::Message;
    let batch = one_of_each();
    assert_eq!(decode(&batch.encode_to_vec()), Ok(batch));
}

proptest! {
    /// Whatever the bytes are: the walk never panics, and what it accepts prost decodes to as many events. A batch that is
    /// journaled and then cannot be counted would be lost in spite of its acknowledgement.
    #[test]
    fn the_walk_accepts_only_what_prost_decodes(
        steady in any::<bool>(),
        flips in proptest::collection::vec((0_usize..4000, any::<u8>()), 0..6),
        cut in proptest::option::of(0_usize..4000),
    ) {
        use prost::Message;
        let mut bytes = if steady { steady_stream(40).bytes.to_vec() } else { one_of_each().encode_to_vec() };
        for (at, byte) in flips {
            let len = bytes.len();
            bytes[at % len] = byte;
        }
        bytes.truncate(cut.unwrap_or(usize::MAX));
        if let Ok(head) = check(&bytes) {
            let batch = v1::Batch::decode(&bytes[..]);
            prop_assert!(batch.is_ok(), "accepted what prost refuses: {:?}", batch.err());
            let batch = batch.expect("just looked");
            prop_assert_eq!(head.event_count, batch.events.len() as u64);
            prop_assert_eq!(head.first_seq, batch.first_seq);
        }
    }
}
