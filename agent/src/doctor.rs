//! `agent doctor`: everything an agent needs, checked in the order in which it fails, in words, with what to do.
//!
//! [`gather()`] looks and says what it saw ([`Facts`]); [`judge()`] says what that means, and is a pure function. Nothing is
//! changed: no file is written, no lock taken, nothing but a credential is sent to the collector, and no stream is begun
//! (it is opened without a hello and closed). It works whether an agent runs or not.

mod facts;
mod gather;
mod judge;
mod reach;
#[cfg(test)]
mod tests;
mod versions;
mod watches;

pub use facts::{
    CollectorFacts, ConfigurationFacts, Credential, CredentialAnswer, Facts, PermissionFacts, ProjectFacts,
    Reached, Running, Served, Tls, Unit, WatchFacts,
};
pub use gather::gather;
pub use judge::judge;

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Not looked at, since something before it is in the way or it is not used.
    Skipped,
    /// It works, and somebody should look.
    Warning,
    /// It does not work.
    Failed,
}

/// What is said of one thing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: &'static str,
    /// How it stands.
    pub verdict: Verdict,
    /// One sentence.
    pub words: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

impl Finding {
    fn new(check: &'static str, verdict: Verdict, words: impl Into<String>) -> Self {
        Self { check, verdict, words: words.into(), advice: None }
    }

    fn with(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// The findings as lines for people.
pub fn in_words(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let verdict = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Skipped => "skipped",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
        };
        text.push_str(&format!("{verdict:<9}{:<15}{}\n", finding.check, finding.words));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("{:<24}-> {advice}\n", ""));
        }
    }
    text
}
