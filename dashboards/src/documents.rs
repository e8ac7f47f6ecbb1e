//! What the documents say of metrics, held against the catalogue.
//!
//! Read are `README.md`, `CHANGELOG.md` and everything under `docs/`. Every name that begins like ours must be one that is
//! exposed, with the suffix of its type, or the beginning of some where `*` follows; every selector must have labels that
//! the name has; and every PromQL expression in a fenced block (`promql`, or `expr:` in `yaml`) is checked like those of
//! the dashboards. What is said on purpose though it is none of this is in [`EXCEPTIONS`], each with its reason and each
//! in use.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use metrics::catalogue;

use crate::check::check;
use crate::names;

/// Words that look like names or expressions of ours and are not: document, word, why it is right there.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("docs/dashboards.md", "loki_events", "how Datadog's check wants the counter to be listed"),
    ("docs/guides-differences.md", "loki_events", "how Datadog's check wants the counter to be listed"),
    ("docs/telemetry-destinations.md", "muster_runs", "a table's name"),
    ("docs/telemetry-destinations.md", "muster_events", "a table's name"),
    ("docs/telemetry-destinations.md", "muster_sessions", "a table's name"),
    ("docs/telemetry-destinations.md", "muster_usage", "a table's name"),
    ("docs/telemetry-destinations.md", "muster_samples", "a table's name"),
    ("docs/guides-differences.md", "loki_xxx", "the guide's example of a token"),
];

/// Something in a document that must be as the catalogue has it.
struct Claim {
    line: usize,
    text: String,
    faults: Vec<String>,
}

#[test]
fn every_metric_and_every_expression_in_the_documents_is_as_the_catalogue_has_it() {
    let mut faults = Vec::new();
    let mut used = BTreeSet::new();
    for (name, text) in documents() {
        for claim in claims(&text).into_iter().filter(|claim| !claim.faults.is_empty()) {
            let excepted = EXCEPTIONS
                .iter()
                .position(|(document, word, _)| *document == name && claim.text.starts_with(word));
            match excepted {
                Some(index) => drop(used.insert(index)),
                None => {
                    faults.push(format!("{name}:{}: {}: {}", claim.line, claim.text, claim.faults.join("; ")))
                }
            }
        }
    }
    for (index, (document, word, _)) in EXCEPTIONS.iter().enumerate() {
        if !used.contains(&index) {
            faults.push(format!("{document}: the exception {word} is not needed any more"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_a_document_has_wrong_is_found_and_what_is_right_is_not() {
    for (text, fault) in [
        ("see `devloop_agent_run_total`", "nothing exposes"),
        ("the `muster_nothing_*` family", "nothing begins"),
        ("`devloop_agent_runs_total{tool=\"x\"}`", "no label"),
        ("```promql\nrate(loki_cost_usd[5m])\n```", "no counter"),
        ("```promql\n# first\nsum(loki_cost_usd)\n\nsum(loki_cost_usd\n```", "cannot be parsed"),
        ("```yaml\n- expr: rate(loki_cost_usd[5m])\n```", "no counter"),
        ("```yaml\nexpr: |-\n  rate(\n    loki_cost_usd[5m])\nfor: 5m\n```", "no counter"),
        ("```text\nsum(rate(loki_events_total[5m]))\n```", "say `promql`"),
    ] {
        let found: Vec<_> = claims(text).into_iter().flat_map(|claim| claim.faults).collect();
        assert!(found.iter().any(|found| found.contains(fault)), "{text}: {found:?}");
    }
    for text in [
        "`muster_server_*`, `muster_agent_.+`, `muster_run_duration_seconds`, `muster_run_duration_seconds_bucket`",
        "`loki_cost_usd{project=\"x\"}` and `devloop_slo:success_rate:5m`",
        "```promql\nsum by (project) (\n  rate(loki_events_total[5m])\n)\n\nsum(loki_cost_usd)\nsum(loki_events_total)\n```",
    ] {
        let found: Vec<_> = claims(text).into_iter().flat_map(|claim| claim.faults).collect();
        assert!(found.is_empty(), "{text}: {found:?}");
    }
}

/// All that a document says of metrics.
fn claims(text: &str) -> Vec<Claim> {
    let mut claims: Vec<_> =
        text.lines().enumerate().flat_map(|(index, line)| named(index + 1, line)).collect();
    for (line, language, block) in fenced(text) {
        let claim = |(offset, text): (usize, String)| {
            let faults = check(&text).err().unwrap_or_default();
            Claim { line: line + offset, text: text.replace('\n', " "), faults }
        };
        match language {
            "promql" => claims.extend(expressions(&block).into_iter().map(claim)),
            "yaml" | "yml" => claims.extend(yaml_expressions(&block).into_iter().map(claim)),
            "" | "text" => {
                let looks_so = ["rate(", "increase(", "histogram_quantile(", "sum by (", "sum("];
                if let Some(text) = block.iter().find(|text| looks_so.iter().any(|part| text.contains(part)))
                    && names_in(&block.join("\n")).next().is_some()
                {
                    let faults = vec!["looks like PromQL: say `promql` at the fence".to_owned()];
                    claims.push(Claim { line, text: (*text).to_owned(), faults });
                }
            }
            // Another language, whose names are looked at all the same.
            _ => {}
        }
    }
    claims
}

/// The names in a line, and the selectors that follow them.
fn named(line: usize, text: &str) -> Vec<Claim> {
    let claim = |(name, rest): (&str, &str)| {
        let is_prefix = name.ends_with('_') || rest.starts_with('*') || rest.starts_with(".+");
        let mut faults = Vec::new();
        if is_prefix {
            if !known().any(|known| known.starts_with(name)) {
                faults.push("nothing begins so".to_owned());
            }
        } else if names::find(name).is_none() && !known().any(|known| known == name) {
            faults.push("nothing exposes it".to_owned());
        } else if let Some(sample) = names::find(name)
            && let Some((selector, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'))
        {
            let keys = selector.split(',').filter_map(|pair| pair.split_once(['=', '!', '~']));
            let unknown = keys.map(|(key, _)| key.trim()).filter(|key| !sample.labels.contains(key));
            faults.extend(unknown.map(|key| format!("it has no label {key:?}")));
        }
        Claim { line, text: name.to_owned(), faults }
    };
    names_in(text).map(claim).collect()
}

/// Names that begin like ours, and what follows them.
fn names_in(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':');
    let starts = ["muster_", "loki_", "devloop_"].into_iter().flat_map(|prefix| text.match_indices(prefix));
    // Not the end of a longer word, of a path or of an attribute's name.
    let is_start =
        move |start: usize| !text[..start].ends_with(|c: char| is_word(c) || matches!(c, '-' | '/' | '.'));
    starts.filter(move |(start, _)| is_start(*start)).map(move |(start, _)| {
        let end = text[start..].find(|c| !is_word(c)).map_or(text.len(), |length| start + length);
        let name = text[start..end].trim_end_matches(':');
        (name, &text[start + name.len()..])
    })
}

/// Every family, own figure and recorded series.
fn known() -> impl Iterator<Item = &'static str> {
    let own = names::own_figures().map(|figure| figure.name);
    let recorded = crate::prometheus::recorded().iter().map(|recorded| recorded.name);
    catalogue::families().iter().map(|family| family.name).chain(own).chain(recorded)
}

/// Fenced blocks: the first line's number, the language, the lines.
fn fenced(text: &str) -> Vec<(usize, &str, Vec<&str>)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, &str, Vec<&str>)> = None;
    for (index, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some((index + 2, language.trim(), Vec::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some((_, _, lines))) => lines.push(line),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// Expressions, which blank lines and comments part; lines that are none together are one each.
fn expressions(block: &[&str]) -> Vec<(usize, String)> {
    let mut parts: Vec<(usize, Vec<&str>)> = Vec::new();
    let mut is_new = true;
    for (index, line) in block.iter().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            is_new = true;
            continue;
        }
        match parts.last_mut() {
            Some((_, lines)) if !is_new => lines.push(line),
            _ => parts.push((index, vec![line])),
        }
        is_new = false;
    }
    let one_or_each = |(index, lines): (usize, Vec<&str>)| -> Vec<(usize, String)> {
        let whole = lines.join("\n");
        if promql_parser::parser::parse(&whole).is_ok() {
            return vec![(index, whole)];
        }
        lines.into_iter().enumerate().map(|(n, line)| (index + n, line.to_owned())).collect()
    };
    parts.into_iter().flat_map(one_or_each).collect()
}

/// The values of `expr`, on its line or indented below it.
fn yaml_expressions(block: &[&str]) -> Vec<(usize, String)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut found = Vec::new();
    for (index, line) in block.iter().enumerate() {
        let Some((before, value)) = line.split_once("expr:") else { continue };
        let value = value.trim();
        if !before.trim().trim_start_matches('-').trim().is_empty() {
            continue;
        }
        if value.is_empty() || value.starts_with(['|', '>']) {
            let own = before.len();
            let below =
                block[index + 1..].iter().take_while(|line| line.trim().is_empty() || indent(line) > own);
            found.push((index + 1, below.copied().collect::<Vec<_>>().join("\n")));
        } else {
            found.push((index, value.trim_matches(['\'', '"']).to_owned()));
        }
    }
    found
}

/// All documents by their paths from the root of the repository.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths: Vec<PathBuf> = ["README.md", "CHANGELOG.md"].map(|name| root.join(name)).into();
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the documents can be read") {
            let path = entry.expect("the documents can be read").path();
            match path.extension() {
                _ if path.is_dir() => folders.push(path),
                Some(extension) if extension == "md" => paths.push(path),
                _ => {}
            }
        }
    }
    paths.sort();
    let named = |path: PathBuf| {
        let name = path.strip_prefix(&root).expect("it was found there").to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(&path).expect("the documents can be read");
        (name, text)
    };
    paths.into_iter().map(named).collect()
}
