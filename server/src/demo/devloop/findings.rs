//! The context tiers, contracts/devloop.md section 1.6: findings are added on every save and never taken out.

use std::collections::BTreeMap;

use muster::clock::WallTime;

use super::workers::Worker;
use crate::demo::files::Tree;
use crate::demo::json::{Json, object};
use crate::demo::{DemoError, stamp};

/// Above this many findings a tier is cut in memory, after the file was written.
const TIER_FINDINGS_MAX: usize = 500;
/// What remains after the cut.
const TIER_FINDINGS_KEPT: usize = 250;

/// A finding before it has a time.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) worker: Worker,
    pub(super) id: String,
    pub(super) file: String,
    pub(super) line: Option<u64>,
    pub(super) column: Option<u64>,
    pub(super) severity: &'static str,
    pub(super) blocking: bool,
    pub(super) category: String,
    pub(super) message: String,
    pub(super) suggestion: String,
    pub(super) auto_fixable: bool,
    pub(super) context: Json,
}

/// The tiers of one process. A new process starts with empty ones and overwrites the files with the first finding.
#[derive(Debug, Default)]
pub(super) struct Tiers {
    immediate: Tier,
    relevant: Tier,
}

#[derive(Debug, Default)]
struct Tier {
    findings: Vec<Entry>,
    on_disk: u64,
}

#[derive(Debug)]
struct Entry {
    json: Json,
    severity: &'static str,
    category: String,
    file: String,
}

impl Finding {
    /// A finding of a worker with everything else at its default.
    pub(super) fn of(worker: Worker, file: &str) -> Self {
        Self {
            worker,
            id: String::new(),
            file: file.to_owned(),
            line: None,
            column: None,
            severity: "info",
            blocking: false,
            category: "general".to_owned(),
            message: String::new(),
            suggestion: String::new(),
            auto_fixable: false,
            context: Json::Object(Vec::new()),
        }
    }

    fn entry(self, now: WallTime) -> Entry {
        // Three workers, three ways to write the time.
        let timestamp = match self.worker {
            Worker::SecurityScanner => format!("{}Z", stamp::micros_offset(now)),
            Worker::PerformanceProfiler => format!("{:?}", now.as_secs_f64()),
            _ => stamp::local_naive(now, ' '),
        };
        let json = object! {
            "id": self.id, "agent": self.worker.name(), "timestamp": timestamp, "file": self.file.as_str(),
            "line": self.line, "column": self.column, "severity": self.severity, "blocking": self.blocking,
            "category": self.category.as_str(), "message": self.message, "detail": "",
            "suggestion": self.suggestion, "auto_fixable": self.auto_fixable, "fix_command": Json::Null,
            "scope_type": "current_file",
            "caused_by_recent_change": self.worker == Worker::SecurityScanner, "is_new": true,
            "relevance_score": 0.5, "disclosure_level": 0, "seen_by_user": false,
            "workflow_hints": object! {}, "context": self.context,
        };
        Entry { json, severity: self.severity, category: self.category, file: self.file }
    }
}

impl Tiers {
    /// Adds a finding, writes its tier and the index.
    pub(super) fn add(&mut self, tree: &Tree, finding: Finding, now: WallTime) -> Result<(), DemoError> {
        let (name, tier) = if finding.blocking {
            ("immediate", &mut self.immediate)
        } else {
            ("relevant", &mut self.relevant)
        };
        tier.findings.push(finding.entry(now));
        tier.write(tree, name)?;
        if tier.findings.len() > TIER_FINDINGS_MAX {
            let over = tier.findings.len() - TIER_FINDINGS_KEPT;
            tier.findings.drain(..over);
        }
        self.write_index(tree, now)
    }

    /// The clean-up every 15 minutes: writes all four tiers as they are in memory.
    pub(super) fn write_all(&mut self, tree: &Tree, now: WallTime) -> Result<(), DemoError> {
        self.immediate.write(tree, "immediate")?;
        self.relevant.write(tree, "relevant")?;
        for name in ["background", "auto_fixed"] {
            Tier::default().write(tree, name)?;
        }
        self.write_index(tree, now)
    }

    /// A new process remembers nothing; the files stay until it writes them.
    pub(super) fn forget(&mut self) {
        self.immediate.findings.clear();
        self.relevant.findings.clear();
    }

    /// Findings in the files.
    pub(super) fn on_disk(&self) -> u64 {
        self.immediate.on_disk + self.relevant.on_disk
    }

    fn write_index(&self, tree: &Tree, now: WallTime) -> Result<(), DemoError> {
        let at = stamp::micros_offset(now);
        let severities = counts(self.immediate.findings.iter().map(|entry| entry.severity));
        let mut files: Vec<&str> = self.immediate.findings.iter().map(|entry| entry.file.as_str()).collect();
        files.sort_unstable();
        files.dedup();
        let categories = counts(self.relevant.findings.iter().map(|entry| entry.category.as_str()));
        let preview =
            if severities.is_empty() { "No immediate issues".to_owned() } else { listed(&severities) };
        let index = object! {
            "last_updated": format!("{at}Z"),
            "check_now": object! {
                "count": self.immediate.findings.len(), "severity_breakdown": numbers(&severities),
                "files": files, "preview": preview,
            },
            "mention_if_relevant": object! {
                "count": self.relevant.findings.len(), "categories": numbers(&categories),
                "summary": listed(&categories).replace('_', " "),
            },
            "deferred": object! { "count": 0, "summary": "0 background items" },
            "auto_fixed": object! { "count": 0, "summary": "0 items auto-fixed" },
        };
        tree.write_renamed("context/index.tmp", "context/index.json", &index.pretty())?;
        tree.write("context/.last_update", &format!("{at}\n"))
    }
}

impl Tier {
    fn write(&mut self, tree: &Tree, name: &str) -> Result<(), DemoError> {
        let findings: Vec<Json> = self.findings.iter().map(|entry| entry.json.clone()).collect();
        let text = object! { "tier": name, "count": findings.len(), "findings": findings };
        let (temporary, file) = (format!("context/{name}.tmp"), format!("context/{name}.json"));
        tree.write_renamed(&temporary, &file, &text.pretty())?;
        self.on_disk = self.findings.len() as u64;
        Ok(())
    }
}

fn counts<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn numbers(counts: &BTreeMap<&str, u64>) -> Json {
    let entries = counts.iter().map(|(&name, &count)| (name.to_owned().into(), count.into()));
    Json::Object(entries.collect())
}

fn listed(counts: &BTreeMap<&str, u64>) -> String {
    let parts: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    parts.join(", ")
}
