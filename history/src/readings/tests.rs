use super::*;
use crate::reader::fake::{Fake, HOUR_US, START, append_runs_and_samples};

fn query(range: TimeRange) -> Query {
    Query { data_set: DataSet::Runs, range, filter: Filter::default(), columns: None, is_sorted: false }
}

fn everything() -> TimeRange {
    TimeRange { from: WallTime(0), to: WallTime(u64::MAX) }
}

/// A row as (key, time, name, value) of samples or (key, time, "", 0) of runs.
fn truth(fake: &Fake, set: DataSet) -> Vec<(String, i64, String, f64)> {
    let mut rows = Vec::new();
    for (partition, batch) in fake.truth(set) {
        let wanted = Wanted::new(&Query { data_set: set, ..query(everything()) }).unwrap();
        let batch = wanted.rows(&partition.team, &batch).unwrap();
        let (keys, names, scopes) = (Keys::of(&batch), Words::of(&batch, "name"), Words::of(&batch, "scope"));
        for (row, time) in times(&batch).iter().enumerate() {
            let mut key = String::new();
            keys.write(row, &mut key);
            let text = |words: &Option<Words<'_>>| {
                words.as_ref().and_then(|words| words.get(row)).unwrap_or_default().to_owned()
            };
            if set == DataSet::Runs || text(&scopes) == "worker" {
                let value = values(&batch).map_or(0.0, |values| values.value(row));
                rows.push((key, *time, text(&names), value));
            }
        }
    }
    rows.sort_by(|a, b| a.1.cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    rows
}

#[test]
fn a_run_has_the_nearest_reading_of_its_own_worker_and_no_other() {
    let mut with_reading = 0;
    for seed in 0..4 {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let fake = Fake::new();
        (0..30).for_each(|record| append_runs_and_samples(rng, &fake.log, record));
        fake.files.flush(&fake.log, journal::Position(12));
        fake.files.flush(&fake.log, journal::Position(20));
        let samples = truth(&fake, DataSet::Samples);
        let runs = truth(&fake, DataSet::Runs);
        let scan = fake.history.runs_with_readings(&query(everything())).unwrap();
        let mut got = 0;
        for batch in scan {
            let batch = batch.unwrap();
            let keys = Keys::of(&batch);
            let reading = |name: &str, row: usize| {
                let column = batch.column_by_name(name).unwrap().as_primitive::<Float64Type>();
                column.is_valid(row).then(|| column.value(row))
            };
            for (row, time) in times(&batch).iter().enumerate() {
                let mut key = String::new();
                keys.write(row, &mut key);
                let nearest = |name: &str| {
                    samples
                        .iter()
                        .filter(|(of, at, what, _)| {
                            *of == key && what == name && (at - time).abs() <= NEAR_US
                        })
                        .min_by_key(|(_, at, _, _)| (at - time).abs())
                        .map(|(.., value)| *value)
                };
                assert_eq!(reading(CPU_PERCENT, row), nearest("cpu_percent"), "seed {seed} {key} {time}");
                let memory = nearest("memory_bytes").map(|bytes| bytes / MIB);
                assert_eq!(reading(MEMORY_MB, row), memory, "seed {seed} {key} {time}");
                with_reading += usize::from(memory.is_some());
                got += 1;
            }
        }
        assert_eq!(got, runs.len(), "seed {seed}");
    }
    assert!(with_reading > 100, "{with_reading} runs with readings prove little");
}

#[test]
fn a_reading_just_outside_of_the_range_still_counts_and_columns_are_those_asked_for() {
    let rng = &mut fastrand::Rng::with_seed(9);
    let fake = Fake::new();
    (0..30).for_each(|record| append_runs_and_samples(rng, &fake.log, record));
    fake.files.flush(&fake.log, journal::Position(15));
    let half = WallTime(START.0 + HOUR_US / 2);
    let range = |from, to| TimeRange { from, to };
    let count = |range| {
        let asked = Query { columns: Some(vec!["worker"]), ..query(range) };
        let scan = fake.history.runs_with_readings(&asked).unwrap();
        let names: Vec<String> = scan.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["time", "team", "worker", CPU_PERCENT, MEMORY_MB]);
        let batches: Vec<RecordBatch> = scan.map(Result::unwrap).collect();
        let known = |batch: &RecordBatch| batch.num_rows() - batch.column(3).null_count();
        (batches.iter().map(RecordBatch::num_rows).sum::<usize>(), batches.iter().map(known).sum::<usize>())
    };
    let (all, early, late) =
        (count(everything()), count(range(WallTime(0), half)), count(range(half, WallTime(u64::MAX))));
    assert_eq!((all.0, all.1), (early.0 + late.0, early.1 + late.1));
    assert!(early.1 > 10 && late.1 > 10, "{early:?} {late:?}");
}
