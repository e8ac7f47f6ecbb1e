//! Deliveries that stop and go on.

use super::influx::{influx, to_influx};
use super::*;

fn what(destination: &impl Destination) -> What {
    What {
        source: "here".to_owned(),
        destination: destination.describe(),
        query: "runs".to_owned(),
        from_us: 0,
        to_us: 1,
    }
}

/// Delivers over and over with `--resume` until the end, as an operator would; returns how often it stopped.
fn deliver_with_resumes(make: impl Fn() -> Influx, batches: &[RecordBatch], path: &Path) -> usize {
    let mut stops = 0;
    let mut resumed = None;
    loop {
        let mut destination = make();
        let state = match &resumed {
            None => StateFile::new(path.to_owned(), what(&destination)),
            Some((state, _)) => Clone::clone(state),
        };
        let from = resumed.take().map(|(_, position)| position);
        // The rows begin at the time of the position.
        let ended = deliver(&mut destination, DataSet::Runs, batches, from, Some(&state));
        let Err(stopped) = ended else {
            state.remove().unwrap();
            return stops;
        };
        stops += 1;
        assert!(stops < 200, "{stopped}");
        assert!(path.exists() == stopped.can_resume, "{stopped}");
        if stopped.can_resume {
            assert!(stopped.to_string().contains("--resume"), "{stopped}");
            resumed = Some(StateFile::resume(path.to_owned(), what(&destination)).unwrap());
        }
    }
}

#[test]
fn a_delivery_that_dies_at_any_request_goes_on_without_doubling_or_losing() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = support::seeded("a_delivery_that_dies_at_any_request");
    // Rows without a name too: many of the same time that only their number tells apart.
    let mut rows = crowded_runs(30_000);
    for row in rows.iter_mut().filter(|_| random.u8(..) < 60) {
        ["agent_id", "epoch", "seq"].iter().for_each(|name| drop(row.remove(name)));
    }
    let nameless = |row: &Row| !row.contains_key("agent_id");
    let time = |row: &Row| if let Value::Integer(us) = row["time"] { us } else { 0 };
    rows.sort_by_key(|row| (time(row), !nameless(row)));
    let batches = batches(DataSet::Runs, &rows, 3_333);
    let mut dice = fastrand::Rng::with_seed(random.u64(..));
    // Refused before it was taken: what was taken is in the ledger.
    let taken_numbers = Arc::new(Mutex::new(Vec::new()));
    let note = taken_numbers.clone();
    let sink = HttpSink::spawn(move |number, _| {
        if dice.u8(..4) == 0 {
            return says(403, "not now");
        }
        note.lock().unwrap().push(number);
        taken()
    });
    let url = sink.url();
    let make = || Influx::new(DataSet::Runs, influx(&url), Arc::new(SystemClock::new())).unwrap();
    let path = folder.path().join("states/delivery.json");
    let mut stops = 0;
    let mut before = 0;
    while stops == 0 {
        before = taken_numbers.lock().unwrap().len();
        stops = deliver_with_resumes(make, &batches, &path);
    }
    assert!(!path.exists(), "nothing is left to resume");
    println!("stopped {stops} times");
    // What the sink has of the delivery that was stopped, against one that never was.
    let received = sink.received();
    let numbers = taken_numbers.lock().unwrap()[before..].to_vec();
    let got: String =
        numbers.iter().map(|number| String::from_utf8(received[*number].plain.clone()).unwrap()).collect();
    let whole = HttpSink::spawn(|_, _| taken());
    to_influx(influx(&whole.url()), DataSet::Runs, &rows).unwrap();
    let whole: String =
        whole.received().iter().map(|request| String::from_utf8(request.plain.clone()).unwrap()).collect();
    assert_eq!(got.lines().count(), 30_000);
    assert_eq!(got.lines().collect::<Vec<_>>(), whole.lines().collect::<Vec<_>>());
}

#[test]
fn every_row_is_taken_exactly_once_by_a_sink_that_dies_at_the_third_request() {
    let folder = tempfile::tempdir().unwrap();
    let rows = crowded_runs(30_000);
    let batches = batches(DataSet::Runs, &rows, 3_333);
    let sink = HttpSink::spawn(|number, _| if number % 3 == 2 { says(400, "no") } else { taken() });
    let url = sink.url();
    let make = || Influx::new(DataSet::Runs, influx(&url), Arc::new(SystemClock::new())).unwrap();
    let stops = deliver_with_resumes(make, &batches, &folder.path().join("delivery.json"));
    assert_eq!(stops, 2, "six requests, each third attempt refused");
    let received = sink.received();
    let accepted =
        received.iter().enumerate().filter(|(number, _)| number % 3 != 2).map(|(_, request)| request);
    let text: String = accepted.map(|request| String::from_utf8(request.plain.clone()).unwrap()).collect();
    assert_eq!(text.lines().count(), 30_000);
    let points: BTreeSet<_> = text
        .lines()
        .map(|line| {
            let (series, rest) = line.split_once(" weight=").unwrap();
            (series, rest.rsplit_once(' ').unwrap().1)
        })
        .collect();
    assert_eq!(points.len(), 30_000, "each a point of its own");
    // The same points as those of a delivery that was never stopped.
    let whole = HttpSink::spawn(|_, _| taken());
    to_influx(influx(&whole.url()), DataSet::Runs, &rows).unwrap();
    let whole: String =
        whole.received().iter().map(|request| String::from_utf8(request.plain.clone()).unwrap()).collect();
    assert_eq!(text, whole);
}

#[test]
fn another_delivery_does_not_go_on_from_this_ones_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("delivery.json");
    let what = |destination: &str, query: &str| What {
        source: "here".to_owned(),
        destination: destination.to_owned(),
        query: query.to_owned(),
        from_us: 1,
        to_us: 2,
    };
    let missing = StateFile::resume(path.clone(), what("a", "b")).unwrap_err();
    assert!(missing.to_string().contains("nothing to resume"), "{missing}");
    let position: Position = serde_json::from_value(serde_json::json!({
        "key": { "time_us": 5, "team": "t", "agent_id": null, "epoch": null, "seq": null }, "of_key": 2, "rows": 9,
    }))
    .unwrap();
    StateFile::new(path.clone(), what("a", "b")).write(&position).unwrap();
    let now = What { from_us: 7, to_us: 8, ..what("a", "b") };
    let (state, from) = StateFile::resume(path.clone(), now).unwrap();
    assert_eq!(from, position);
    assert_eq!(
        (state.what().from_us, state.what().to_us),
        (1, 2),
        "the range of the delivery that it goes on from"
    );
    let words = StateFile::resume(path.clone(), what("x", "b")).unwrap_err().to_string();
    assert!(words.contains("another delivery: the destination was \"a\""), "{words}");
    assert!(StateFile::resume(path.clone(), what("a", "x")).is_err());
    let elsewhere = What { source: "there".to_owned(), ..what("a", "b") };
    let words = StateFile::resume(path.clone(), elsewhere.clone()).unwrap_err().to_string();
    assert!(words.contains("the source was \"here\" and is now \"there\""), "{words}");
    let environment = |_: &str| None;
    let [one, other] = [what("a", "b"), elsewhere].map(|what| default_path(&what, &environment));
    assert_ne!(one, other, "two sources have two files");
    std::fs::write(&path, "{").unwrap();
    let words = StateFile::resume(path, what("a", "b")).unwrap_err().to_string();
    assert!(words.contains("delete it"), "{words}");
}
