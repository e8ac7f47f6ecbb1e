//! A summary as the body of a POST to an incoming webhook of Slack: on one line, since `curl -d @-` takes line ends out.
//!
//! Slack's bounds (docs.slack.dev, "Block Kit"): 50 blocks, 10 fields a section, 2,000 characters a field, 3,000 a text, 150 a
//! header.

use history::summary::Summary;
use serde_json::{Value, json};

use super::figures::{columns, compared, count, lines, percent, range};

const FIELDS_MAX: usize = 10;
const TEXT_CHARS_MAX: usize = 2_900;
/// A message is to be read: the first groups, and how many more there are.
const GROUPS_MAX: usize = 15;

pub(super) fn written(summary: &Summary) -> String {
    let runs = &summary.total.runs;
    let rate = runs.success_rate.map_or_else(String::new, |rate| format!(", {} successful", percent(rate)));
    // What notifications and screen readers have instead of the blocks.
    let text = format!("Telemetry: {} runs{rate}", count(runs.total));
    let mut blocks = vec![
        json!({ "type": "header", "text": { "type": "plain_text", "text": "Telemetry" } }),
        context(&range(summary)),
    ];
    let fields: Vec<Value> = lines(summary)
        .into_iter()
        .map(|line| {
            let change = if line.change.is_empty() { String::new() } else { format!(" _{}_", line.change) };
            mrkdwn(&format!("*{}*\n{}{change}", line.label, escaped(&line.value)))
        })
        .collect();
    blocks.extend(fields.chunks(FIELDS_MAX).map(|fields| json!({ "type": "section", "fields": fields })));
    if let Some(compared) = compared(summary) {
        blocks.push(context(&compared));
    }
    if !summary.groups.is_empty() {
        blocks.push(json!({ "type": "section", "text": mrkdwn(&groups(summary)) }));
    }
    format!("{}\n", json!({ "text": text, "blocks": blocks }))
}

fn groups(summary: &Summary) -> String {
    let mut text = summary.by.map_or_else(String::new, |by| format!("*by {by}*"));
    let mut shown = 0;
    for group in summary.groups.iter().take(GROUPS_MAX) {
        let [runs, rate, p95, findings, cost] = columns(&group.figures);
        let name = escaped(group.name.as_deref().unwrap_or("(not known)"));
        let line =
            format!("\n• {name}: {runs} runs, {rate} successful, p95 {p95}, {findings} findings, {cost}");
        if text.chars().count() + line.chars().count() > TEXT_CHARS_MAX - 100 {
            break;
        }
        text += &line;
        shown += 1;
    }
    let hidden =
        (summary.groups.len() - shown) as u64 + summary.others.as_ref().map_or(0, |others| others.groups);
    if hidden > 0 {
        text += &format!("\n… and {} more", count(hidden));
    }
    text
}

fn context(text: &str) -> Value {
    json!({ "type": "context", "elements": [mrkdwn(text)] })
}

fn mrkdwn(text: &str) -> Value {
    json!({ "type": "mrkdwn", "text": text })
}

/// Slack's three characters (docs.slack.dev, "Formatting text"): a name can neither link nor call a channel.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
