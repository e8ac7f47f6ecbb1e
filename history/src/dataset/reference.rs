//! The reference page of the tables, `docs/history.md`.

use std::fmt::Write;

use super::{Column, DataSet, SHARED, Values};

/// The whole page as Markdown.
pub fn reference_page() -> String {
    let mut page = String::from(HEAD);
    page.push_str("\n## Columns\n\nEvery data set begins with these:\n\n");
    table(SHARED, &mut page);
    for set in DataSet::ALL {
        let _ = write!(page, "\n### {set}\n\n{}\n\n", note(set));
        table(set.own_columns(), &mut page);
    }
    page
}

fn table(columns: &[Column], page: &mut String) {
    page.push_str("| name | type | null | what it says |\n|---|---|---|---|\n");
    for column in columns {
        let null = if column.is_nullable { "not known" } else { "never" };
        let _ =
            writeln!(page, "| `{}` | {} | {null} | {} |", column.name, type_name(column.values), column.help);
    }
}

fn type_name(values: Values) -> &'static str {
    match values {
        Values::Time => "timestamp (µs, UTC)",
        Values::Word => "text, dictionary",
        Values::Text => "text",
        Values::Integer => "int64",
        Values::Number => "double",
        Values::Truth => "boolean",
    }
}

fn note(set: DataSet) -> &'static str {
    match set {
        DataSet::Runs => "One row a run of a worker that ended. `sum(weight)` by status is `muster_runs_total`.",
        DataSet::Events => {
            "One row an event that has no data set of its own. `sum(count * weight)` is what the counters count:
`muster_findings_total` of kind `finding`, `muster_file_changes_total` of `file_activity`, and so on. For `time_saved` it
is `sum(duration_us * weight)`. OTLP payloads have one row each and are not looked into."
        }
        DataSet::Sessions => "One row each time that a session's state was told: the newest row of a session is what it is.",
        DataSet::Usage => {
            "One row a piece of work. A piece's cost is the reported one, else the computed one, else not known: never the sum
of both, as in `muster_usage_cost_usd_total` and `muster_usage_cost_unknown_total`."
        }
        DataSet::Samples => {
            "One row a reading of a gauge; readings that were told together have the same `seq`. `disk_io_bytes`,
`parse_errors`, `rescans`, `records_skipped` and `read_errors` are amounts since the reading before."
        }
    }
}

const HEAD: &str = include_str!("history.md");
