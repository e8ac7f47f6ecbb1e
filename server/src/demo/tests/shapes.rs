//! The demo's files against the fixtures, which the real tools wrote: the same keys with the same kinds of values.

use super::*;

/// Kinds of values by path inside a record (`data.issues[].code`).
type Shape = BTreeMap<String, Vec<&'static str>>;

/// Paths whose kinds differ between runs of the real tools too, or of which the demo shows one of several forms.
const VARYING: [&str; 5] = [".line", ".column", ".value", ".error", ".data"];

fn fixture(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(path)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

fn add(shape: &mut Shape, path: &str, value: &Value) {
    let kinds = shape.entry(path.to_owned()).or_default();
    if !kinds.contains(&kind(value)) {
        kinds.push(kind(value));
    }
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                add(shape, &format!("{path}.{key}"), value);
            }
        }
        Value::Array(items) => {
            for item in items {
                add(shape, &format!("{path}[]"), item);
            }
        }
        _ => {}
    }
}

fn shape<'a>(values: impl IntoIterator<Item = &'a Value>) -> Shape {
    let mut shape = Shape::new();
    for value in values {
        add(&mut shape, "", value);
    }
    shape
}

/// Every path that the demo has is one of the real files, with a kind that they have; but for `also`, which the
/// contract gives to later versions of the tool.
fn assert_known(what: &str, demo: &Shape, real: &Shape, also: &[&str]) {
    assert!(demo.len() > 1, "{what} of the demo is empty");
    for (path, kinds) in demo {
        if also.iter().any(|known| path.starts_with(known)) || VARYING.iter().any(|end| path.ends_with(end)) {
            continue;
        }
        let known = real.get(path).unwrap_or_else(|| panic!("{what}: no real file has {path}"));
        for kind in kinds {
            assert!(known.contains(kind), "{what}: {path} is {kind}, in real files {known:?}");
        }
    }
}

/// Keys that every real record has at its top, and that the demo's must have too.
fn assert_complete(what: &str, demo: &[Value], real: &[Value]) {
    for value in demo {
        for key in real[0].as_object().unwrap().keys() {
            assert!(
                real.iter().any(|other| other.get(key).is_none()) || value.get(key).is_some(),
                "{what}: {key}"
            );
        }
    }
}

fn played() -> Stage {
    let mut stage = Stage::new(11);
    stage.ticks(1500);
    stage
}

fn real_lines(paths: &[&str]) -> Vec<Value> {
    paths.iter().flat_map(|path| lines(&fixture(path))).collect()
}

fn payloads(database: &Connection) -> BTreeMap<String, Vec<Value>> {
    let mut query = database.prepare("SELECT type, payload FROM events").unwrap();
    let rows = query.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    let mut by_type: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for row in rows {
        let (kind, payload) = row.unwrap();
        by_type.entry(kind).or_default().push(serde_json::from_str(&payload).unwrap());
    }
    by_type
}

#[test]
fn rows_of_the_bus_have_the_shapes_of_real_ones() {
    let stage = played();
    let copies = TempDir::new().unwrap();
    let mut real: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for name in ["healthy", "failing"] {
        let copy = copies.path().join(name);
        fs::copy(fixture(&format!("devloop/{name}/.devloop/events.db")), &copy).unwrap();
        for (kind, payloads) in payloads(&Connection::open(&copy).unwrap()) {
            real.entry(kind).or_default().extend(payloads);
        }
    }
    for (kind, rows) in payloads(&database(&stage.shopapi())) {
        let real = &real[&kind];
        assert_known(&kind, &shape(&rows), &shape(real), &[]);
        assert_complete(&kind, &rows, real);
    }
}

#[test]
fn the_store_has_the_schema_of_a_real_one() {
    let stage = played();
    let copy = stage.folder.path().join("copy.db");
    fs::copy(fixture("devloop/healthy/.devloop/events.db"), &copy).unwrap();
    let schema = |database: &Connection| -> Vec<String> {
        let mut query =
            database.prepare("SELECT COALESCE(sql, name) FROM sqlite_master ORDER BY name").unwrap();
        let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|sql| sql.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    };
    assert_eq!(schema(&database(&stage.shopapi())), schema(&Connection::open(&copy).unwrap()));
}

#[test]
fn devloops_other_files_have_the_shapes_of_real_ones() {
    let stage = played();
    let devloop = stage.shopapi().join(".devloop");
    for file in ["events.jsonl", "performance/metrics.jsonl", "feedback/feedback.jsonl"] {
        let ours = lines(&devloop.join(file));
        let theirs = ["healthy", "failing"].map(|name| format!("devloop/{name}/.devloop/{file}"));
        let real = real_lines(&[&theirs[0], &theirs[1]]);
        assert_known(file, &shape(&ours), &shape(&real), &[]);
        assert_complete(file, &ours, &real);
    }
    for file in ["context/relevant.json", "daemon.heartbeat", "agents.json", ".init-manifest.json"] {
        let ours = json(&devloop.join(file));
        let real =
            ["healthy", "failing"].map(|name| json(&fixture(&format!("devloop/{name}/.devloop/{file}"))));
        assert_known(file, &shape([&ours]), &shape(&real), &[]);
    }
    let tree = |name: &str| tree(&fixture(&format!("devloop/{name}/.devloop")));
    let names = |paths: Vec<PathBuf>| -> Vec<String> {
        paths.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    let known = [names(tree("healthy")), names(tree("failing"))].concat();
    for name in names(super::tree(&devloop)) {
        assert!(
            known.contains(&name) || ["background.json", "auto_fixed.json"].contains(&name.as_str()),
            "{name}"
        );
    }
}

#[test]
fn loki_modes_files_have_the_shapes_of_real_ones() {
    const LATER_STATE: [&str; 6] =
        [".qualityGates", ".checklist", ".appRunner", ".playwright", ".context", ".tokens"];
    const OTHER_FORMS: [&str; 5] =
        [".data.reason", ".data.iterations", ".data.provider", ".data.current", ".data.limit"];
    let stage = played();
    let loki = stage.shopapi().join(".loki");
    let trees = ["running", "paused", "stopped", "multi-session"];
    let real = |file: &str| -> Vec<Value> {
        let paths = trees.map(|tree| fixture(&format!("loki/{tree}/.loki/{file}")));
        paths.iter().filter(|path| path.exists()).map(|path| json(path)).collect()
    };
    let known = |file: &str, ours: &str, also: &[&str]| {
        assert_known(file, &shape([&json(&loki.join(ours))]), &shape(&real(file)), also);
    };
    let state_also = [&LATER_STATE[..], &[".notifications", ".council", ".budget", ".tasks"]].concat();
    known("dashboard-state.json", "dashboard-state.json", &state_also);
    known("metrics/efficiency/iteration-1.json", "metrics/efficiency/iteration-1.json", &[]);
    known("metrics/budget.json", "metrics/budget.json", &[".created_at"]);
    known("autonomy-state.json", "autonomy-state.json", &[".iterationCount"]);
    known("state/orchestrator.json", "state/orchestrator.json", &[".complexity"]);
    known("state/resources.json", "state/resources.json", &[]);
    known("pricing.json", "pricing.json", &[".models"]);
    known("queue/current-task.json", "queue/current-task.json", &[]);

    let by_type = |events: Vec<Value>| -> BTreeMap<String, Vec<Value>> {
        let mut by_type: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for event in events {
            let kind = event["type"].as_str().unwrap_or("none").to_owned();
            by_type.entry(kind).or_default().push(event);
        }
        by_type
    };
    let paths = trees.map(|tree| format!("loki/{tree}/.loki/events.jsonl"));
    let real = by_type(paths.iter().flat_map(|path| tolerant_lines(&fixture(path))).collect());
    for (kind, ours) in by_type(lines(&loki.join("events.jsonl"))) {
        // The rest is in the contract's table and in no fixture. Sums are texts in version 5 and numbers later.
        if let Some(real) = real.get(&kind) {
            assert_known(&kind, &shape(&ours), &shape(real), &OTHER_FORMS);
        }
    }
}

/// Lines of a fixture, which may be damaged on purpose.
fn tolerant_lines(path: &Path) -> Vec<Value> {
    text(path).lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
