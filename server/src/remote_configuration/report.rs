//! What an agent says became of its configuration, checked: its texts are bounded and its hashes are hashes.

use muster::v1;
use muster::v1::configuration_report::State;

use super::SettingsHash;

/// Longest sentence about a rejection that is kept.
pub const PROBLEM_CHARS_MAX: usize = 256;

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// This is in force; `None`: the agent's own file alone.
    InForce(Option<SettingsHash>),
    /// An offer was refused.
    Rejected {
        /// What still is in force; `None`: the agent's own file alone.
        in_force: Option<SettingsHash>,
        /// Which offer; `None` when the agent does not say.
        rejected: Option<SettingsHash>,
        /// Why.
        problem: String,
    },
}

/// Why a report is passed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Not a hash.
    #[error("a hash of {0} bytes is neither empty nor 32 bytes")]
    Hash(usize),
    /// A state that a newer agent may know.
    #[error("state {0} is not known")]
    State(i32),
}

impl Report {
    /// Reads a report as it came. Whether something is in force is told by its hash alone.
    ///
    /// # Errors
    /// It cannot be understood; nothing of it is.
    pub fn read(report: &v1::ConfigurationReport) -> Result<Self, ReportError> {
        let in_force = SettingsHash::told(&report.hash)?;
        let rejected = SettingsHash::told(&report.rejected_hash)?;
        match State::try_from(report.state) {
            Ok(State::Own | State::Applied) => Ok(Self::InForce(in_force)),
            Ok(State::Rejected) => {
                let printable = report.problem.chars().filter(|c| !c.is_control());
                let problem = printable.take(PROBLEM_CHARS_MAX).collect();
                Ok(Self::Rejected { in_force, rejected, problem })
            }
            Ok(State::Unspecified) | Err(_) => Err(ReportError::State(report.state)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(state: i32, hash: usize, rejected: usize, problem: &str) -> v1::ConfigurationReport {
        let (hash, rejected_hash) = (vec![1; hash], vec![2; rejected]);
        v1::ConfigurationReport { state, hash, rejected_hash, problem: problem.to_owned() }
    }

    #[test]
    fn a_hash_is_empty_or_32_bytes_and_everything_else_is_passed_over() {
        for (hash, rejected) in [(1, 0), (31, 0), (33, 0), (0, 20), (32, 64)] {
            let read = Report::read(&report(State::Rejected.into(), hash, rejected, "no"));
            assert!(matches!(read, Err(ReportError::Hash(_))), "{hash}, {rejected}: {read:?}");
        }
        for state in [0, 4, -1, i32::MAX] {
            assert_eq!(Report::read(&report(state, 32, 0, "")), Err(ReportError::State(state)));
        }
    }

    #[test]
    fn what_is_in_force_is_told_by_the_hash_and_a_problem_is_bounded_and_printable() {
        let one = Some(SettingsHash([1; 32]));
        assert_eq!(Report::read(&report(State::Applied.into(), 32, 0, "")), Ok(Report::InForce(one)));
        assert_eq!(Report::read(&report(State::Own.into(), 0, 0, "")), Ok(Report::InForce(None)));
        let said = format!("\u{1b}[31mno\n{}", "ä".repeat(100_000));
        let read = Report::read(&report(State::Rejected.into(), 32, 32, &said));
        let Ok(Report::Rejected { in_force, rejected, problem }) = read else { panic!("{read:?}") };
        assert_eq!((in_force, rejected), (one, Some(SettingsHash([2; 32]))));
        assert!(problem.starts_with("[31mnoä") && problem.chars().count() == PROBLEM_CHARS_MAX);
    }
}
