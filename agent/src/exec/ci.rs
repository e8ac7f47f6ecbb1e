//! What a continuous integration system says in its variables. Pure: variables in, words out.
//!
//! Only names and numbers of the repository, branch and run are read; tokens, addresses and messages of commits have
//! no name here. Addresses are cut to the repository's name, as with git's remotes.

use crate::project::repository_name;

/// A run of a CI system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ci {
    /// The repository's name, "" when it is not told.
    pub repository: String,
    /// The branch, "" when it is not told.
    pub branch: String,
    /// `ci.provider`, `ci.run_id`, `ci.run_number` and the like, those that are told.
    pub attributes: Vec<(&'static str, String)>,
}

/// One system: how it is known, and which of its variables say what. The first variable that is set counts.
struct System {
    provider: &'static str,
    known_by: (&'static str, Option<&'static str>),
    repository: &'static [&'static str],
    branch: &'static [&'static str],
    attributes: &'static [(&'static str, &'static [&'static str])],
}

const SYSTEMS: &[System] = &[
    System {
        provider: "github",
        known_by: ("GITHUB_ACTIONS", Some("true")),
        repository: &["GITHUB_REPOSITORY"],
        branch: &["GITHUB_HEAD_REF", "GITHUB_REF_NAME"],
        attributes: &[
            ("ci.run_id", &["GITHUB_RUN_ID"]),
            ("ci.run_number", &["GITHUB_RUN_NUMBER"]),
            ("ci.attempt", &["GITHUB_RUN_ATTEMPT"]),
            ("ci.workflow", &["GITHUB_WORKFLOW"]),
            ("ci.job", &["GITHUB_JOB"]),
            ("ci.event", &["GITHUB_EVENT_NAME"]),
        ],
    },
    System {
        provider: "gitlab",
        known_by: ("GITLAB_CI", Some("true")),
        repository: &["CI_PROJECT_NAME", "CI_PROJECT_PATH"],
        branch: &["CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_COMMIT_REF_NAME"],
        attributes: &[
            ("ci.run_id", &["CI_PIPELINE_ID"]),
            ("ci.run_number", &["CI_PIPELINE_IID"]),
            ("ci.workflow", &["CI_JOB_STAGE"]),
            ("ci.job", &["CI_JOB_NAME"]),
            ("ci.job_id", &["CI_JOB_ID"]),
            ("ci.event", &["CI_PIPELINE_SOURCE"]),
        ],
    },
    System {
        provider: "buildkite",
        known_by: ("BUILDKITE", Some("true")),
        repository: &["BUILDKITE_REPO"],
        branch: &["BUILDKITE_BRANCH"],
        attributes: &[
            ("ci.run_id", &["BUILDKITE_BUILD_ID"]),
            ("ci.run_number", &["BUILDKITE_BUILD_NUMBER"]),
            ("ci.attempt", &["BUILDKITE_RETRY_COUNT"]),
            ("ci.workflow", &["BUILDKITE_PIPELINE_SLUG"]),
            ("ci.job", &["BUILDKITE_STEP_KEY"]),
            ("ci.event", &["BUILDKITE_SOURCE"]),
        ],
    },
    System {
        provider: "jenkins",
        known_by: ("JENKINS_URL", None),
        repository: &["GIT_URL"],
        branch: &["CHANGE_BRANCH", "BRANCH_NAME", "GIT_BRANCH"],
        attributes: &[
            ("ci.run_id", &["BUILD_ID"]),
            ("ci.run_number", &["BUILD_NUMBER"]),
            ("ci.workflow", &["JOB_NAME"]),
            ("ci.job", &["STAGE_NAME"]),
        ],
    },
];

/// What the environment says; `None` outside of CI.
pub fn of(environment: &dyn Fn(&str) -> Option<String>) -> Option<Ci> {
    let system = SYSTEMS.iter().find(|system| {
        let (variable, value) = system.known_by;
        environment(variable).is_some_and(|set| value.map_or(!set.is_empty(), |value| set == value))
    })?;
    let first = |variables: &[&str]| {
        variables.iter().find_map(|variable| environment(variable).filter(|value| !value.trim().is_empty()))
    };
    let branch = first(system.branch).unwrap_or_default();
    let mut ci = Ci {
        repository: repository_name(&first(system.repository).unwrap_or_default()).to_owned(),
        // Jenkins's git plugin names the remote with it.
        branch: branch.strip_prefix("origin/").unwrap_or(&branch).to_owned(),
        attributes: vec![("ci.provider", system.provider.to_owned())],
    };
    for (name, variables) in system.attributes {
        ci.attributes.extend(first(variables).map(|value| (*name, value)));
    }
    Some(ci)
}
