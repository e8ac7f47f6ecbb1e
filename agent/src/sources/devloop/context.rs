//! context/*.json: the findings that DevLoop holds ready for a person. Pure.
//!
//! The tiers lie in several ways (contracts/devloop.md section 6.9): the same finding is in them once for each save, a
//! fixed one stays, a restart empties them. So they are a hint: what is in each tier is stated as a log record when it
//! changes, and only where no database has ever been, their distinct findings stand for the active ones.

use std::collections::HashSet;

use muster::v1::{ActiveFindings, LogSeverity, Severity};
use serde_json::Value;

use super::active::place;
use super::issues;
use super::report::{Detail, Report};

/// The tiers, which are also the names of their files.
pub(super) const TIERS: [&str; 4] = ["immediate", "relevant", "background", "auto_fixed"];
/// Largest tier file that is read: DevLoop cuts a tier at 500 findings.
pub(super) const TIER_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Most findings of a tier that are looked at.
const FINDINGS_MAX: usize = 5_000;

/// What a tier holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tier {
    /// Findings with their repetitions.
    pub listed: u64,
    /// Findings with different ids, by Muster's severities: critical, high, medium, low.
    pub distinct: [u64; 4],
}

/// Reads a tier; `None` when it is not one.
pub(super) fn parse(bytes: &[u8]) -> Option<Tier> {
    let document: Value = serde_json::from_slice(bytes).ok()?;
    let findings = document["findings"].as_array()?;
    let mut tier = Tier { listed: findings.len() as u64, distinct: [0; 4] };
    let mut ids = HashSet::new();
    for finding in findings.iter().take(FINDINGS_MAX) {
        if ids.insert(finding["id"].as_str().unwrap_or("")) {
            tier.distinct[place(severity(finding))] += 1;
        }
    }
    Some(tier)
}

/// The finding's severity. Snyk's own survives only in its category.
fn severity(finding: &Value) -> Severity {
    let worker = finding["agent"].as_str().unwrap_or("");
    let category = finding["category"].as_str().unwrap_or("");
    let native = category.strip_prefix("vulnerability-").or(finding["severity"].as_str());
    issues::severity(worker, native.unwrap_or("unknown"))
}

/// States what a tier holds.
pub(super) fn state(name: &str, tier: Tier, report: &mut Report<'_>) {
    let count = |count: u64| Detail::Integer(i64::try_from(count).unwrap_or(i64::MAX));
    let [critical, high, medium, low] = tier.distinct;
    let details = [
        ("tier", Detail::Word(name)),
        ("listed", count(tier.listed)),
        ("distinct", count(tier.distinct.iter().sum())),
        ("critical", count(critical)),
        ("high", count(high)),
        ("medium", count(medium)),
        ("low", count(low)),
    ];
    report.log(report.now, "devloop.context_tier", LogSeverity::Info, &details);
}

/// What stands, going by the tiers alone. What DevLoop fixed by itself does not.
pub(super) fn active(tiers: &[Option<Tier>; 4]) -> Option<ActiveFindings> {
    let [immediate, relevant, background, _auto_fixed] = tiers;
    let mut sums: Option<[u64; 4]> = None;
    for tier in [immediate, relevant, background].into_iter().flatten() {
        let sums = sums.get_or_insert_default();
        for (sum, count) in sums.iter_mut().zip(tier.distinct) {
            *sum += count;
        }
    }
    sums.map(|[critical, high, medium, low]| ActiveFindings { critical, high, medium, low })
}
