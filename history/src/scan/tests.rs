use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMicrosecondType;
use muster::clock::WallTime;

use super::order::windows;
use super::part::GroupTimes;
use super::*;
use crate::query::{Filter, TimeRange};
use crate::reader::Files;
use crate::reader::fake::{Fake, FakeLog, HOUR_US, START, append_events, now, texts};

fn everything() -> TimeRange {
    TimeRange { from: WallTime(0), to: WallTime(u64::MAX) }
}

fn query(data_set: DataSet) -> Query {
    Query { data_set, range: everything(), filter: Filter::default(), columns: None, is_sorted: false }
}

fn rows(scan: Scan) -> Vec<String> {
    scan.flat_map(|batch| texts(&batch.unwrap())).collect()
}

/// What a query must answer, from the fold's rows and without anything of a scan.
fn expected(fake: &Fake, query: &Query) -> Vec<String> {
    let mut found: Vec<(i64, String, String)> = Vec::new();
    for (partition, batch) in fake.truth(query.data_set) {
        if query.filter.team.as_ref().is_some_and(|team| *team != partition.team) {
            continue;
        }
        let wanted = Wanted::new(&Query { columns: None, ..query.clone() }).unwrap();
        let all = wanted.rows(&partition.team, &batch).unwrap();
        let text = |name: &str, row: usize| {
            let column = arrow_cast::cast(batch.column_by_name(name).unwrap(), &arrow_schema::DataType::Utf8);
            let column = column.unwrap();
            let column = column.as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let times = batch.column(0).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            let filter = &query.filter;
            let status = if query.data_set == DataSet::Events { "outcome" } else { "status" };
            let asked = [
                ("worker", &filter.worker),
                ("project", &filter.project),
                ("user", &filter.user),
                ("tool", &filter.tool),
                (status, &filter.status),
            ];
            let time = times.value(row) as u64;
            let is_in = query.range.from.0 <= time && time < query.range.to.0;
            if is_in && asked.iter().all(|(name, value)| value.is_none() || **value == text(name, row)) {
                found.push((
                    times.value(row),
                    partition.team.to_string(),
                    texts(&all.slice(row, 1)).remove(0),
                ));
            }
        }
    }
    // The truth's folders are sorted, and so are the rows of one but for teams of the same microsecond.
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    found.into_iter().map(|(_, _, text)| text).collect()
}

fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort_unstable();
    rows
}

#[test]
fn a_scan_has_every_row_of_files_and_journal_once() {
    for seed in 0..4 {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let fake = Fake::with_events(rng, 60, 50, rng.clone().usize(..5));
        (0..seed as usize).for_each(|pick| fake.files.compact(pick * 7));
        for data_set in DataSet::ALL {
            let query = query(data_set);
            assert_eq!(
                sorted(rows(fake.history.scan(&query).unwrap())),
                sorted(expected(&fake, &query)),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn a_filter_and_a_range_leave_out_what_they_say_and_nothing_else() {
    let (mut found, mut asked) = (0, 0);
    for seed in 0..8 {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let fake = Fake::with_events(rng, 60, 30, 2);
        for round in 0..8 {
            let is_sorted = round % 2 == 0;
            let from = START.0 + rng.u64(..20 * HOUR_US);
            let range = TimeRange { from: WallTime(from), to: WallTime(from + rng.u64(1..20 * HOUR_US)) };
            let pick = |rng: &mut fastrand::Rng, texts: &[&str]| {
                (rng.u8(..3) == 0).then(|| texts[rng.usize(..texts.len())].to_owned())
            };
            let filter = Filter {
                team: (rng.u8(..3) == 0).then(|| "platform".parse().unwrap()),
                worker: pick(rng, &["linter", "formatter", "nobody"]),
                tool: pick(rng, &["devloop", "loki"]),
                user: pick(rng, &["ann"]),
                project: pick(rng, &["project-0", "project-4"]),
                status: pick(rng, &["success", "failure"]),
            };
            let query = Query { range, filter, is_sorted, ..query(DataSet::Runs) };
            let (rows, expected) = (rows(fake.history.scan(&query).unwrap()), expected(&fake, &query));
            found += rows.len();
            asked += usize::from(!rows.is_empty());
            assert_eq!(sorted(rows), sorted(expected), "seed {seed} {query:?}");
        }
    }
    assert!(found > 1000 && asked > 15, "{found} rows of {asked} queries prove little");
}

#[test]
fn a_sorted_scan_is_in_the_order_of_time_and_then_of_who_said_it() {
    for seed in 0..2 {
        let rng = &mut fastrand::Rng::with_seed(seed);
        let fake = Fake::with_events(rng, 100, 60, 2);
        for data_set in DataSet::ALL {
            let query = Query { is_sorted: true, ..query(data_set) };
            let got = rows(fake.history.scan(&query).unwrap());
            let expected = expected(&fake, &query);
            assert_eq!(got.len(), expected.len(), "seed {seed} {data_set}");
            for (row, (got, expected)) in got.iter().zip(&expected).enumerate() {
                // The columns after time and team are in the order of the sort: agent, epoch, seq.
                assert_eq!(got.split('|').next(), expected.split('|').next(), "seed {seed} row {row}");
            }
            let keys = |rows: &[String]| {
                let key = |row: &String| -> (String, String, Option<String>, Option<String>, Option<i64>) {
                    let mut cells = row.split('|').map(str::to_owned);
                    let mut cell = || cells.next().unwrap();
                    let known = |text: String| (text != "-").then_some(text);
                    let (time, team, agent, epoch) = (cell(), cell(), known(cell()), known(cell()));
                    (time, team, agent, epoch, cell().parse().ok())
                };
                rows.iter().map(key).collect::<Vec<_>>()
            };
            assert!(keys(&got).is_sorted(), "seed {seed} {data_set}");
            assert_eq!(sorted(got), sorted(expected), "seed {seed}");
        }
    }
}

#[test]
fn small_windows_and_halved_ones_give_the_same_rows_forward_and_backward() {
    let rng = &mut fastrand::Rng::with_seed(5);
    let fake = Fake::with_events(rng, 60, 30, 2);
    let query = query(DataSet::Runs);
    let forward = rows(fake.history.scan(&Query { is_sorted: true, ..query.clone() }).unwrap());
    for window_rows in [7, 100, 1_000_000] {
        let wanted = Wanted::new(&query).unwrap();
        let cut = Cut::take(&fake.history, std::slice::from_ref(&wanted)).unwrap();
        let mut backward = rows(Scan::backward(&fake.history, &wanted, &cut, window_rows).unwrap());
        backward.reverse();
        assert_eq!(backward, forward, "{window_rows}");
    }
}

#[test]
fn windows_hold_all_times_of_their_groups_and_do_not_overlap() {
    for seed in 0..500 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let day = Span { from: 1000, to: 1000 + rng.i64(1..100_000) };
        let mut groups = Vec::new();
        for _ in 0..rng.usize(..6) {
            let first = match rng.u8(..10) {
                0 => i64::MIN,
                _ => rng.i64(..120_000),
            };
            let last = if rng.u8(..10) == 0 { i64::MAX } else { first.saturating_add(rng.i64(..50_000)) };
            groups.push(GroupTimes { first, last, rows: rng.u64(..100_000) });
        }
        let windows = windows(day, &groups, rng.u64(1..10_000));
        assert!(windows.iter().all(|window| window.from < window.to), "seed {seed} {windows:?}");
        assert!(windows.windows(2).all(|pair| pair[0].to == pair[1].from), "seed {seed} {windows:?}");
        for group in groups.iter().filter(|group| group.rows > 0 && day.meets(group.first, group.last)) {
            let (first, last) = (group.first.max(day.from), group.last.min(day.to - 1));
            let is_in = |time| windows.iter().any(|window| window.has(time));
            assert!(is_in(first) && is_in(last), "seed {seed} {group:?} {windows:?}");
        }
    }
}

#[test]
fn columns_that_were_not_asked_for_are_not_there_and_those_that_are_not_there_are_refused() {
    let fake = Fake::with_events(&mut fastrand::Rng::with_seed(1), 30, 30, 1);
    for is_sorted in [false, true] {
        let columns = Some(vec!["duration_us", "worker"]);
        let scan = fake.history.scan(&Query { columns, is_sorted, ..query(DataSet::Runs) }).unwrap();
        let names = |schema: &SchemaRef| schema.fields().iter().map(|f| f.name().clone()).collect::<Vec<_>>();
        assert_eq!(names(scan.schema()), ["time", "team", "worker", "duration_us"]);
        for batch in scan {
            assert_eq!(names(&batch.unwrap().schema()), ["time", "team", "worker", "duration_us"]);
        }
    }
    let unknown = Query { columns: Some(vec!["worker"]), ..query(DataSet::Sessions) };
    assert!(matches!(fake.history.scan(&unknown), Err(ScanError::NoColumn { column: "worker", .. })));
    let filter = Filter { status: Some("success".to_owned()), ..Filter::default() };
    let unknown = Query { filter, ..query(DataSet::Usage) };
    let error = fake.history.scan(&unknown).unwrap_err().to_string();
    assert_eq!(error, "usage have no column status: leave it out, or ask another data set");
    let empty = Query { range: TimeRange { from: START, to: START }, ..query(DataSet::Runs) };
    assert!(matches!(fake.history.scan(&empty), Err(ScanError::EmptyRange)));
}

#[test]
fn a_damaged_file_is_set_aside_and_named_and_the_rest_is_served() {
    let mut served_in_part = 0;
    for seed in 0..30 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let fake = Fake::with_events(&mut rng, 20, 5, 1);
        let is_sorted = rng.bool();
        let query = Query { is_sorted, ..query(DataSet::Runs) };
        let all = sorted(expected(&fake, &query));
        let files = fake.files.files();
        let runs: Vec<_> = files.iter().filter(|file| file.partition.data_set == DataSet::Runs).collect();
        let victim = runs[rng.usize(..runs.len())];
        fake.files.damage(victim, |mut bytes| {
            match rng.u8(..4) {
                0 => bytes.truncate(rng.usize(..bytes.len())),
                1 => bytes.iter_mut().for_each(|byte| *byte = rng.u8(..)),
                _ => (0..rng.usize(1..20)).for_each(|_| {
                    let at = rng.usize(..bytes.len());
                    bytes[at] ^= 1 << rng.u8(..8);
                }),
            }
            bytes
        });
        let mut scan = fake.history.scan(&query).unwrap();
        let got: Vec<String> = scan.by_ref().flat_map(|batch| texts(&batch.unwrap())).collect();
        let is_aside = !fake.files.aside().is_empty();
        assert_eq!(is_aside, !scan.notices().is_empty(), "seed {seed}");
        if is_aside {
            assert_eq!(fake.files.aside(), [victim.path.to_string()], "seed {seed}");
            let notice = scan.notices()[0].to_string();
            assert!(notice.contains(victim.path.as_ref()), "{notice}");
            served_in_part += usize::from(!got.is_empty() && got.len() < all.len());
        }
    }
    assert!(served_in_part > 10, "{served_in_part} damaged files prove little");
}

#[test]
fn a_missing_file_is_named_and_the_rest_is_served() {
    let fake = Fake::with_events(&mut fastrand::Rng::with_seed(3), 60, 10, 3);
    let files = fake.files.files();
    let victim = files.iter().find(|file| file.partition.data_set == DataSet::Runs).unwrap();
    use object_store::ObjectStoreExt;
    now(fake.files.objects.delete(&victim.path)).unwrap();
    let mut scan = fake.history.scan(&query(DataSet::Runs)).unwrap();
    assert!(scan.by_ref().all(|batch| batch.is_ok()));
    assert_eq!(
        scan.notices(),
        [Notice::FileSetAside { path: victim.path.to_string(), why: "it is gone".to_owned() }]
    );
}

#[test]
fn records_that_are_gone_are_told_and_those_that_went_into_files_are_read_there() {
    let fake = Fake::with_events(&mut fastrand::Rng::with_seed(4), 60, 10, 2);
    let all = sorted(expected(&fake, &query(DataSet::Runs)));
    // The store has them by the time that they are missed.
    let covered = Files::covered_to(&*fake.files);
    fake.log.cut_back(covered);
    let scan = fake.history.scan(&query(DataSet::Runs)).unwrap();
    assert_eq!(scan.notices(), []);
    assert_eq!(sorted(rows(scan)), all);
    // Nobody has them.
    fake.log.cut_back(Position(covered.0 + 5));
    let scan = fake.history.scan(&query(DataSet::Runs)).unwrap();
    assert_eq!(
        scan.notices(),
        [Notice::RecordsMissing {
            from: covered.next(),
            to: Position(covered.0 + 5),
            reason: GapReason::Retention
        }]
    );
}

/// Appends, flushes, compacts and cuts the journal back in one thread while another scans: whatever was appended when a
/// scan began is there, once, and what is there was appended.
#[test]
fn nothing_is_missing_or_doubled_while_files_are_written_and_compacted() {
    let fake = Fake::new();
    let rng = &mut fastrand::Rng::with_seed(11);
    append_events(rng, &fake.log, 0, 5);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let rng = &mut fastrand::Rng::with_seed(12);
            for record in 1..150 {
                append_events(rng, &fake.log, record, 5);
                match rng.u8(..8) {
                    0 => {
                        let to = fake.history.position();
                        fake.files.flush(&fake.log, to);
                        fake.log.cut_back(to);
                    }
                    1 => fake.files.compact(rng.usize(..100)),
                    _ => {}
                }
            }
        });
        let mut scans = 0;
        while !writer.is_finished() || scans == 0 {
            let before = fake.history.position();
            let data_set = DataSet::ALL[scans % 5];
            let query = Query { is_sorted: scans % 2 == 0, ..query(data_set) };
            let mut scan = fake.history.scan(&query).unwrap();
            let got = sorted(scan.by_ref().flat_map(|batch| texts(&batch.unwrap())).collect());
            let after = fake.history.position();
            assert_eq!(scan.notices(), [], "scan {scans}");
            let (least, most) = (prefix(&fake.log, before, data_set), prefix(&fake.log, after, data_set));
            assert!(is_part(&least, &got), "scan {scans}: rows are missing");
            assert!(is_part(&got, &most), "scan {scans}: rows are doubled");
            scans += 1;
        }
        assert!(scans > 5, "only {scans} scans");
    });
}

/// The rows of the records up to `to`, sorted.
fn prefix(log: &FakeLog, to: Position, data_set: DataSet) -> Vec<String> {
    let mut fold = crate::fold::Fold::new();
    log.items()[..to.0 as usize].iter().for_each(|item| fold.take(item).unwrap());
    let wanted = Wanted::new(&query(data_set)).unwrap();
    let folders = fold.finish().into_iter().filter(|(partition, _)| partition.data_set == data_set);
    sorted(
        folders.flat_map(|(partition, rows)| texts(&wanted.rows(&partition.team, &rows).unwrap())).collect(),
    )
}

/// Whether each of `part` is in `whole` as often. Both are sorted.
fn is_part(part: &[String], whole: &[String]) -> bool {
    let mut whole = whole.iter();
    part.iter().all(|row| whole.any(|other| other == row))
}
