use super::trace::TraceParent;
use super::*;

fn ci_of(variables: &[(&str, &str)]) -> Option<ci::Ci> {
    ci::of(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
}

#[test]
fn each_ci_system_is_known_by_its_own_variables_and_no_secret_is_read() {
    let secrets =
        [("GITHUB_TOKEN", "canary"), ("CI_JOB_TOKEN", "canary"), ("BUILDKITE_AGENT_ACCESS_TOKEN", "canary")];
    for (variables, provider, repository, branch) in [
        (
            vec![
                ("GITHUB_ACTIONS", "true"),
                ("GITHUB_REPOSITORY", "acme/shop"),
                ("GITHUB_HEAD_REF", ""),
                ("GITHUB_REF_NAME", "main"),
                ("GITHUB_RUN_ID", "77"),
            ],
            "github",
            "shop",
            "main",
        ),
        (
            vec![
                ("GITLAB_CI", "true"),
                ("CI_PROJECT_NAME", "shop"),
                ("CI_COMMIT_REF_NAME", "fix/x"),
                ("CI_PIPELINE_ID", "77"),
            ],
            "gitlab",
            "shop",
            "fix/x",
        ),
        (
            vec![
                ("JENKINS_URL", "https://ci.example/"),
                ("GIT_URL", "https://user:canary@git.example/acme/shop.git"),
                ("GIT_BRANCH", "origin/main"),
                ("BUILD_ID", "77"),
            ],
            "jenkins",
            "shop",
            "main",
        ),
        (
            vec![
                ("BUILDKITE", "true"),
                ("BUILDKITE_REPO", "git@git.example:acme/shop.git"),
                ("BUILDKITE_BRANCH", "main"),
                ("BUILDKITE_BUILD_ID", "77"),
            ],
            "buildkite",
            "shop",
            "main",
        ),
    ] {
        let variables: Vec<_> = variables.into_iter().chain(secrets).collect();
        let ci = ci_of(&variables).expect(provider);
        assert_eq!((ci.repository.as_str(), ci.branch.as_str()), (repository, branch), "{provider}");
        assert_eq!(ci.attributes, [("ci.provider", provider.to_owned()), ("ci.run_id", "77".to_owned())]);
        assert!(!format!("{ci:?}").contains("canary"));
    }
    assert_eq!(ci_of(&[("CI", "true"), ("GITHUB_ACTIONS", "false")]), None);
}

#[test]
fn a_traceparent_is_passed_on_with_another_span_and_nonsense_is_not() {
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let parent = TraceParent::parse(text).expect("the example of the standard");
    assert_eq!(parent.to_header(), text);
    let child = parent.child(0xabc).to_header();
    assert_eq!(child, "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000abc-01");
    assert!(
        TraceParent::parse(&format!("01{}-future", &text[2..])).is_some(),
        "a later version may have more"
    );
    for wrong in [
        "",
        "00",
        &text[..54],
        &text.to_uppercase(),
        &text.replace("4bf9", "xyz!"),
        &format!("{text}-more"),
        &text.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
        &format!("ff{}", &text[2..]),
    ] {
        assert_eq!(TraceParent::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_command_that_is_not_there_or_may_not_be_started_ends_as_shells_tell_it() {
    for (kind, code) in [(std::io::ErrorKind::NotFound, 127), (std::io::ErrorKind::PermissionDenied, 126)] {
        assert_eq!(end_like(&End::NotStarted(kind.into())), code);
    }
    assert_eq!(end_like(&End::Exited(7)), 7);
}
