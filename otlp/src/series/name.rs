//! Metric names and units: `UnderscoreEscapingWithSuffixes` (contracts/otlp.md section 3.1).
//!
//! A name is split into tokens at everything but ASCII letters, digits and colons. The unit's words are added unless the
//! name has them; a counter ends in `total`, exactly once; a gauge of unit `1` ends in `ratio`.

/// Longest name on a page, in bytes. What is longer is no metric name that anybody reads.
const NAME_BYTES_MAX: usize = 256;

/// UCUM units and their words.
const UNITS: [(&str, &str); 27] = [
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tibibytes"),
    // The specification's table has kBy, the translator that everybody uses KBy.
    ("kBy", "kilobytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("%", "percent"),
    ("1", ""),
];

/// Units after a slash.
const PER_UNITS: [(&str, &str); 7] = [
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// What decides about suffixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Suffix {
    /// `_total`: monotonic sums.
    Total,
    /// `_ratio` for unit `1`: gauges.
    Ratio,
    /// None of its own: sums that may fall, histograms, summaries.
    None,
}

/// A name on the page with the unit that it ends in (before `_total`), "" for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PageName {
    pub(super) name: String,
    pub(super) unit: String,
}

/// The page's name of a metric; `None` when nothing of it is left, or too much.
pub(super) fn page_name(name: &str, unit: &str, suffix: Suffix) -> Option<PageName> {
    let is_kept = |character: char| character.is_ascii_alphanumeric() || character == ':';
    let mut tokens: Vec<&str> = name.split(|c| !is_kept(c)).filter(|token| !token.is_empty()).collect();
    let (main, per) = unit_words(unit);
    let mut unit_tokens = Vec::new();
    for words in [&main, &per] {
        if !words.is_empty() && !tokens.contains(&words.as_str()) {
            unit_tokens.push(words.as_str());
        }
    }
    let is_ratio = suffix == Suffix::Ratio && unit == "1";
    tokens.extend(&unit_tokens);
    for (wanted, token) in [(suffix == Suffix::Total, "total"), (is_ratio, "ratio")] {
        if wanted {
            tokens.retain(|other| *other != token);
            tokens.push(token);
        }
    }
    let mut joined = tokens.join("_");
    if joined.starts_with(|first: char| first.is_ascii_digit()) {
        joined.insert(0, '_');
    }
    let is_named = !joined.is_empty() && joined != "total" && joined.len() <= NAME_BYTES_MAX;
    let base = if suffix == Suffix::Total { joined.strip_suffix("_total") } else { Some(joined.as_str()) };
    let unit = if is_ratio { "ratio".to_owned() } else { ending_unit(base.unwrap_or(""), &main, &per) };
    is_named.then_some(PageName { name: joined, unit })
}

/// The unit's words that `base` ends in: UNIT must be the end of the name.
fn ending_unit(base: &str, main: &str, per: &str) -> String {
    let whole = [main, per].iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>().join("_");
    let is_end = base.strip_suffix(whole.as_str()).is_some_and(|before| before.ends_with('_'));
    if !whole.is_empty() && is_end { whole } else { String::new() }
}

/// The words of a unit: the main one and the `per_` one.
fn unit_words(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let word = |unit: &str, table: &[(&str, &str)]| {
        let unit = unit.trim();
        if unit.is_empty() || unit.contains(['{', '}']) {
            return String::new();
        }
        let known = table.iter().find(|(short, _)| *short == unit);
        clean(known.map_or(unit, |(_, word)| word))
    };
    let (main, per) = (word(main, &UNITS), word(per, &PER_UNITS));
    (main, if per.is_empty() { per } else { format!("per_{per}") })
}

/// A unit that is in no table, as tokens.
fn clean(unit: &str) -> String {
    let is_kept = |character: char| character.is_ascii_alphanumeric() || character == ':';
    unit.split(|c| !is_kept(c)).filter(|token| !token.is_empty()).collect::<Vec<_>>().join("_")
}

#[cfg(test)]
mod tests {
    use super::Suffix::{None as Plain, Ratio, Total};
    use super::*;

    fn name(name: &str, unit: &str, suffix: Suffix) -> String {
        page_name(name, unit, suffix).expect("a name").name
    }

    #[test]
    fn the_eight_of_claude_code_have_the_names_that_dashboards_know() {
        for (metric, unit, expected) in [
            ("claude_code.session.count", "", "claude_code_session_count_total"),
            ("claude_code.lines_of_code.count", "", "claude_code_lines_of_code_count_total"),
            ("claude_code.pull_request.count", "", "claude_code_pull_request_count_total"),
            ("claude_code.commit.count", "", "claude_code_commit_count_total"),
            ("claude_code.cost.usage", "USD", "claude_code_cost_usage_USD_total"),
            ("claude_code.token.usage", "tokens", "claude_code_token_usage_tokens_total"),
            ("claude_code.code_edit_tool.decision", "", "claude_code_code_edit_tool_decision_total"),
            ("claude_code.active_time.total", "s", "claude_code_active_time_seconds_total"),
        ] {
            assert_eq!(name(metric, unit, Total), expected);
        }
        assert_eq!(name("claude_code.session.count", "count", Total), "claude_code_session_count_total");
    }

    #[test]
    fn names_follow_the_translator() {
        for (metric, unit, suffix, expected) in [
            ("system.io", "By", Total, "system_io_bytes_total"),
            ("system.io.bytes", "By", Total, "system_io_bytes_total"),
            ("network.transmitted_bytes_total", "By", Total, "network_transmitted_bytes_total"),
            ("total.requests", "", Total, "requests_total"),
            ("unsupported.metric.temporality", "%", Ratio, "unsupported_metric_temporality_percent"),
            ("system.network.dropped", "{packets}", Total, "system_network_dropped_total"),
            ("broken.metric.speed", "km/h", Ratio, "broken_metric_speed_km_per_hour"),
            ("speed", "m/s", Ratio, "speed_meters_per_second"),
            ("speed", "By/m", Ratio, "speed_bytes_per_minute"),
            ("rate.bytes", "By/s", Ratio, "rate_bytes_per_second"),
            ("errors", "{error}/s", Ratio, "errors_per_second"),
            ("loss", "By/{packet}", Ratio, "loss_bytes"),
            ("per", "w/mo", Plain, "per_w_per_month"),
            ("per", "w/y", Plain, "per_w_per_year"),
            ("per", "1/d", Plain, "per_per_day"),
            ("system.cpu.utilization", "1", Ratio, "system_cpu_utilization_ratio"),
            ("hit.ratio", "1", Ratio, "hit_ratio"),
            ("hits", "1", Total, "hits_total"),
            ("up.down", "1", Plain, "up_down"),
            ("temp", "Cel", Ratio, "temp_celsius"),
            ("2xx.count", "", Total, "_2xx_count_total"),
            ("a__b..c//d", "", Plain, "a_b_c_d"),
            ("job:rate", "", Plain, "job:rate"),
            ("latency", "ms", Plain, "latency_milliseconds"),
            ("disk", "KBy", Plain, "disk_kilobytes"),
            ("disk", "kBy", Plain, "disk_kilobytes"),
            ("größe", "", Plain, "gr_e"),
            ("weird", "a b__c", Plain, "weird_a_b_c"),
        ] {
            assert_eq!(name(metric, unit, suffix), expected, "{metric} in {unit}");
        }
    }

    #[test]
    fn every_unit_has_its_word() {
        for (unit, word) in UNITS.iter().filter(|(_, word)| !word.is_empty()) {
            assert_eq!(name("x", unit, Plain), format!("x_{word}"));
        }
        for (unit, word) in PER_UNITS {
            assert_eq!(name("x", &format!("By/{unit}"), Plain), format!("x_bytes_per_{word}"));
        }
    }

    #[test]
    fn the_unit_is_told_where_the_name_ends_in_it() {
        for (metric, unit, suffix, expected) in [
            ("claude_code.cost.usage", "USD", Total, "USD"),
            ("speed", "m/s", Ratio, "meters_per_second"),
            ("bytes.sent", "By", Total, ""),
            ("cpu", "1", Ratio, "ratio"),
            ("cpu", "1", Total, ""),
        ] {
            assert_eq!(page_name(metric, unit, suffix).expect("a name").unit, expected, "{metric}");
        }
    }

    #[test]
    fn a_metric_of_which_no_name_is_left_has_none() {
        assert_eq!(page_name("ß", "", Plain), None);
        assert_eq!(page_name("", "", Total), None);
        assert_eq!(page_name("...", "", Plain), None);
        assert_eq!(page_name(&"x".repeat(300), "", Plain), None);
    }
}
