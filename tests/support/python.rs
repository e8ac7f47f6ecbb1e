//! Foreign judges of our pages: Python's `prometheus_client` and `promtool`, both installed by `scripts/test`.

use std::io::Write;
use std::process::{Command, Stdio};

pub use super::tool::tool;

const PARSE: &str = r#"
import sys
from prometheus_client.parser import text_string_to_metric_families as text
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
parse = openmetrics if sys.argv[1] == "openmetrics" else text
page = sys.stdin.buffer.read().decode("utf-8", "strict")
seen = set()
for family in parse(page):
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in seen, f"twice: {key}"
        seen.add(key)
        float(sample.value)
print(len(seen))
"#;

/// Which of the two parsers reads a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Text,
    OpenMetrics,
}

/// Parses a page with Python; returns how many samples it has. Panics with the parser's words.
#[track_caller]
pub fn parse_page(page: &[u8], format: Format) -> Option<usize> {
    let python = tool("MUSTER_TEST_PYTHON")?;
    let format = if format == Format::OpenMetrics { "openmetrics" } else { "text" };
    let mut command = Command::new(python);
    command.args(["-c", PARSE, format]);
    let (ok, out) = run(command, page);
    assert!(ok, "prometheus_client's {format} parser refuses the page:\n{out}");
    Some(out.trim().parse().expect("the script prints a count"))
}

/// `promtool check metrics`: its complaints, one a line. An error in the page panics.
#[track_caller]
pub fn promtool_check(page: &[u8]) -> Option<Vec<String>> {
    let mut command = Command::new(tool("MUSTER_TEST_PROMTOOL")?);
    command.args(["check", "metrics"]);
    let (_, out) = run(command, page);
    assert!(!out.contains("error while linting"), "promtool cannot read the page:\n{out}");
    Some(out.lines().map(str::to_owned).collect())
}

fn run(mut command: Command, input: &[u8]) -> (bool, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the tool starts");
    let mut pipe = child.stdin.take().expect("stdin is piped");
    let input = input.to_vec();
    let feed = std::thread::spawn(move || pipe.write_all(&input));
    let output = child.wait_with_output().expect("the tool ends");
    let _ = feed.join();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
