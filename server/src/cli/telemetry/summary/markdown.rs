//! A summary in Markdown: tables as GitHub has them.

use std::fmt::Write;

use history::summary::Summary;

use super::figures::{COLUMNS, columns, compared, lines, range};

pub(super) fn written(summary: &Summary) -> String {
    let mut text = format!("## Telemetry, {}\n\n| | | change |\n|---|---|---|\n", range(summary));
    for line in lines(summary) {
        // Writing to memory cannot fail.
        let _ = writeln!(text, "| {} | {} | {} |", line.label, escaped(&line.value), line.change);
    }
    if let Some(compared) = compared(summary) {
        let _ = write!(text, "\n({compared})\n");
    }
    let Some(by) = summary.by else { return text };
    let _ = write!(text, "\n| {by} | {} |\n|---|{}\n", COLUMNS.join(" | "), "---:|".repeat(COLUMNS.len()));
    for group in &summary.groups {
        let name = escaped(group.name.as_deref().unwrap_or("(not known)"));
        let _ = writeln!(text, "| {name} | {} |", columns(&group.figures).join(" | "));
    }
    if let Some(others) = &summary.others {
        let _ = writeln!(text, "| ({} others) | {} |", others.groups, columns(&others.figures).join(" | "));
    }
    text
}

/// A name is text: no column, no link, no mark-up, no HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '|' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '@' | '!' => {
                escaped.extend(['\\', character])
            }
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            other if other.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}
