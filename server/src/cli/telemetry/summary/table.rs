//! A summary for a person at a terminal.

use comfy_table::{CellAlignment, Table, presets};
use history::summary::{By, Summary};

use super::figures::{COLUMNS, columns, compared, lines, range};
use super::spark;

/// Characters of a line over time, and of a bar.
const SPARK_WIDTH: usize = 48;
const BAR_WIDTH: usize = 20;

/// The text. Bars and lines are for a terminal: in a file or a pipe they are in the way.
pub(super) fn written(summary: &Summary, is_terminal: bool) -> String {
    let mut text = format!("{}\n\n", range(summary));
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    for line in lines(summary) {
        table.add_row([line.label.to_owned(), line.value, line.change]);
    }
    text += &format!("{}\n", table.trim_fmt());
    if let Some(compared) = compared(summary) {
        text += &format!("({compared})\n");
    }
    if is_terminal {
        text += &over_time(summary);
    }
    if let Some(by) = summary.by {
        text += &format!("\n{}", groups(summary, by, is_terminal));
    }
    text
}

fn over_time(summary: &Summary) -> String {
    let points = &summary.series.points;
    if points.len() < 2 {
        return String::new();
    }
    let step = match summary.series.step_seconds {
        3_600 => "an hour".to_owned(),
        86_400 => "a day".to_owned(),
        seconds => format!("{seconds} s"),
    };
    let mut text = format!("\nover time, {step} a step\n");
    let kinds: [(&str, Vec<u64>); 4] = [
        ("runs", points.iter().map(|point| point.runs).collect()),
        ("not successful", points.iter().map(|point| point.runs.saturating_sub(point.succeeded)).collect()),
        ("findings", points.iter().map(|point| point.findings).collect()),
        ("known cost", points.iter().map(|point| point.cost_microusd).collect()),
    ];
    for (label, values) in kinds {
        // Nothing but zeros says nothing; that there was nothing stands above.
        if values.iter().any(|value| *value > 0) {
            text += &format!(" {label:<15} {}\n", spark::line(&values, SPARK_WIDTH));
        }
    }
    text
}

fn groups(summary: &Summary, by: By, is_terminal: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    let mut header = vec![by.name().to_owned()];
    header.extend(COLUMNS.map(str::to_owned));
    table.set_header(header);
    let highest = summary.groups.iter().map(|group| group.figures.runs.total).max().unwrap_or(0);
    for group in &summary.groups {
        let mut row = vec![printable(group.name.as_deref().unwrap_or("(not known)"))];
        row.extend(columns(&group.figures));
        if is_terminal {
            row.push(spark::bar(group.figures.runs.total, highest, BAR_WIDTH));
        }
        table.add_row(row);
    }
    if let Some(others) = &summary.others {
        let mut row = vec![format!("({} others)", others.groups)];
        row.extend(columns(&others.figures));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1).take(COLUMNS.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut text = format!("{}\n", table.trim_fmt());
    if summary.groups.iter().any(|group| group.name.is_none()) {
        text += &format!("(not known): what names no {by}\n");
    }
    text
}

/// A name must not move the cursor.
pub(in super::super) fn printable(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
