//! PromQL that several dashboards share.

/// The share of `part` in `whole`, both counters with their selectors, for each `by`. Where nothing happened there is no
/// share; where no part happened it is 0.
pub(super) fn share(by: &str, part: &str, whole: &str, window: &str) -> String {
    let part = format!("sum by ({by}) (rate({part}[{window}]))");
    let whole = format!("sum by ({by}) (rate({whole}[{window}]))");
    format!("({part} or 0 * {whole}) / ({whole} > 0)")
}

/// The quantile `q` of the histogram `family` with its selector, for each `by`, which may be empty.
/// Where nothing happened there is none: a rate of nothing gives NaN, which is not at least 0.
pub(super) fn quantile(q: &str, by: &str, family: &str, selector: &str, window: &str) -> String {
    let by = if by.is_empty() { "le".to_owned() } else { format!("{by}, le") };
    format!("histogram_quantile({q}, sum by ({by}) (rate({family}_bucket{{{selector}}}[{window}]))) >= 0")
}

/// The mean of the histogram `family` with its selector, for each `by`.
pub(super) fn mean(by: &str, family: &str, selector: &str, window: &str) -> String {
    let part = |suffix: &str| format!("sum by ({by}) (rate({family}_{suffix}{{{selector}}}[{window}]))");
    format!("{} / ({} > 0)", part("sum"), part("count"))
}
