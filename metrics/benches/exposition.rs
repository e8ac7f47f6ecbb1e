//! How long a page takes, a snapshot and a restart; and how many bytes a series has in memory.

mod fleet;

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use metrics::{Aggregate, AggregateConfig, Format, PageRequest};

fn exposition(criterion: &mut Criterion) {
    for series in [1_000, 100_000, 1_000_000] {
        let before = resident_bytes();
        let mut aggregate = fleet::aggregate(series);
        report_memory(&aggregate, resident_bytes().saturating_sub(before));
        let mut group = criterion.benchmark_group(format!("exposition/{series}-series"));
        group.throughput(Throughput::Elements(series as u64));
        let mut page = Vec::new();
        for (name, format) in [("text", Format::Text004), ("openmetrics", Format::OpenMetrics100)] {
            let request = PageRequest { format, ..Default::default() };
            group.bench_function(name, |bencher| {
                bencher.iter(|| {
                    page.clear();
                    aggregate.render(&request, fleet::NOON, &mut page);
                });
            });
        }
        group.bench_function("expire", |bencher| bencher.iter(|| fleet::expire(&mut aggregate)));
        let snapshot = aggregate.snapshot();
        group.bench_function("snapshot", |bencher| bencher.iter(|| aggregate.snapshot()));
        drop(aggregate);
        group.bench_function("restore", |bencher| {
            bencher.iter(|| Aggregate::restore(AggregateConfig::collector(), &snapshot).map(drop));
        });
        group.finish();
    }
}

#[expect(clippy::print_stderr, reason = "criterion has no place for a size")]
fn report_memory(aggregate: &Aggregate, resident: u64) {
    let stats = aggregate.stats();
    let each = |bytes: u64| bytes / stats.series.max(1) as u64;
    eprintln!(
        "memory: {} series, {} bytes each resident, {} estimated",
        stats.series,
        each(resident),
        each(stats.bytes_estimate as u64)
    );
}

/// Resident memory of this process, 0 where the system does not tell.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0);
    pages * 4096
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = exposition
}
criterion_main!(benches);
