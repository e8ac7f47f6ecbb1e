//! How long an event takes to be counted: run events (five families each) in batches of 1,000 and of 10, into aggregates
//! that already have 1,000, 100,000 and 1,000,000 series.

mod fleet;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use muster::v1;
use muster::v1::event::Kind;

fn runs(events: usize) -> v1::Batch {
    let workers = ["linter", "formatter", "test-runner", "type-checker", "security-scanner", "profiler"];
    fleet::batch(&["shop"], events, |index, builder| {
        Kind::RunFinished(v1::RunFinished {
            worker: builder.text(workers[index % workers.len()]),
            status: v1::RunStatus::Success.into(),
            duration_us: Some(180_000 + index as u64 * 1_000),
            ..Default::default()
        })
    })
}

fn apply(criterion: &mut Criterion) {
    for series in [1_000, 100_000, 1_000_000] {
        let mut aggregate = fleet::aggregate(series);
        let mut group = criterion.benchmark_group(format!("apply/{series}-series"));
        for events in [10, 1_000] {
            let batch = runs(events);
            group.throughput(Throughput::Elements(events as u64));
            group.bench_function(format!("{events}-event-batch"), |bencher| {
                bencher.iter(|| fleet::apply(&mut aggregate, &batch));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = apply
}
criterion_main!(benches);
